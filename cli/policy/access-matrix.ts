import type { Policy } from '@fleetgate/broker';
import { isTopicFilter } from '@fleetgate/shared';
import { UsageError } from '../exit.ts';
import { directFilters, namedWords, writtenFilters } from './named-words.ts';
import { shapeScope } from './principals.ts';
import { type RegisteredClient, tokenOf } from './registered-token.ts';
import { judgeOf, plainPublish, type Subject } from './subject.ts';

/** Who can do what where: a row for each client or group, a column for each topic. */
export interface AccessMatrix {
  readonly by: 'client' | 'group';
  readonly topics: readonly string[];
  readonly rows: readonly AccessRow[];
  /** Clients that no row has room for. */
  readonly leftOut: number;
  /** Topics that no column has room for. */
  readonly topicsLeftOut: number;
}

export interface AccessRow {
  readonly name: string;
  /** Clients of it. */
  readonly clients: number;
  readonly cells: readonly AccessCell[];
}

/** How many of the clients of a row may publish there, subscribe to it, and be delivered what is published there. */
export interface AccessCell {
  readonly publish: number;
  readonly subscribe: number;
  readonly receive: number;
}

/** Rows of a matrix: what a person can look at. */
export const MAX_ROWS = 2000;

/** Topics of a matrix. */
export const MAX_TOPICS = 200;

export interface MatrixOptions {
  readonly by: 'client' | 'group';
  /** Default: one for each filter of the policy and of the clients' direct scopes. */
  readonly topics?: readonly string[] | undefined;
  /** Fields of metadata that the issuer copies into tokens. Default: none. */
  readonly tokenClaims?: readonly string[];
}

/**
 * Decides each publish, subscribe and delivery as the broker would. Placeholders in a topic are those of the client that is
 * looked at. Reads the clients once, and once before for the topics where none are given.
 * @throws UsageError for a topic that is none
 */
export async function accessMatrix(
  policy: Policy,
  clients: () => AsyncIterable<RegisteredClient>,
  { by, topics: given, tokenClaims = [] }: MatrixOptions,
): Promise<AccessMatrix> {
  const all = given ?? (await writtenTopics(policy, clients()));
  checkTopics(all);
  const topics = all.slice(0, MAX_TOPICS);
  type Cells = { -readonly [Key in keyof AccessCell]: number }[];
  const rows = new Map<string, { clients: number; cells: Cells }>();
  const decide = cellDecider(policy, topics, tokenClaims);
  let leftOut = 0;
  for await (const client of clients()) {
    const name = by === 'client' ? client.client_id : (client.group ?? '(no group)');
    let row = rows.get(name);
    if (row === undefined) {
      if (rows.size >= MAX_ROWS) {
        leftOut += 1;
        continue;
      }
      row = { clients: 0, cells: topics.map(() => ({ publish: 0, subscribe: 0, receive: 0 })) };
      rows.set(name, row);
    }
    row.clients += 1;
    for (const [i, bits] of decide(client).entries()) {
      const cell = row.cells[i];
      if (cell === undefined) continue;
      if (bits & MAY_PUBLISH) cell.publish += 1;
      if (bits & MAY_SUBSCRIBE) cell.subscribe += 1;
      if (bits & IS_DELIVERED) cell.receive += 1;
    }
  }
  return {
    by,
    topics,
    rows: Array.from(rows, ([name, row]) => ({ name, ...row })).sort((a, b) => (a.name < b.name ? -1 : 1)),
    leftOut,
    topicsLeftOut: all.length - topics.length,
  };
}

const MAY_PUBLISH = 1;
const MAY_SUBSCRIBE = 2;
const IS_DELIVERED = 4;

/** Kinds of clients whose decisions are remembered: a byte for each topic. */
const MAX_REMEMBERED = 20_000;

/** What is decided of each topic. Clients that are registered alike are decided of once, but those that a filter names. */
function cellDecider(
  policy: Policy,
  topics: readonly string[],
  tokenClaims: readonly string[],
): (client: RegisteredClient) => Uint8Array {
  const remembered = new Map<string, Uint8Array>();
  const written = [...writtenFilters(policy), ...topics];
  const wordsOf = new Map<string, ReadonlySet<string>>();
  return (client) => {
    const scope = shapeScope(client);
    const words = wordsOf.get(scope) ?? namedWords([...written, ...directFilters(scope)]);
    if (wordsOf.size < MAX_REMEMBERED) wordsOf.set(scope, words);
    const subject = tokenOf([policy], tokenClaims, client);
    const own = words.has(subject.clientId) ? subject.clientId : undefined;
    const key = JSON.stringify([scope, subject.group, subject.claims, own]);
    const known = remembered.get(key);
    if (known !== undefined) return known;
    const decided = decideCells(policy, topics, subject);
    if (remembered.size < MAX_REMEMBERED) remembered.set(key, decided);
    return decided;
  };
}

function decideCells(policy: Policy, topics: readonly string[], subject: Subject): Uint8Array {
  const judge = judgeOf(policy, subject);
  return Uint8Array.from(topics, (written) => {
    const topic = ownTopic(written, subject);
    if (topic === undefined) return 0;
    return (
      (judge.decide(plainPublish(topic)).allowed ? MAY_PUBLISH : 0) |
      (judge.decide({ action: 'subscribe', filter: topic, qos: 0 }).allowed ? MAY_SUBSCRIBE : 0) |
      (judge.decide({ action: 'receive', topic }).allowed ? IS_DELIVERED : 0)
    );
  });
}

function checkTopics(topics: readonly string[]): void {
  for (const topic of topics) {
    if (isTopicFilter(topic.replace(placeholderPattern, 'x'))) continue;
    throw new UsageError(`--topic takes a topic or a filter, not '${topic}'`);
  }
}

/** Topics that are remembered while they are looked for: more than have a column are counted, not shown. */
const MAX_FOUND = 10_000;

/** A topic for each filter that the policy and direct scopes write: a level for each wildcard, placeholders as they are. */
async function writtenTopics(
  { scopes }: Policy,
  clients: AsyncIterable<RegisteredClient>,
): Promise<string[]> {
  const written = Array.from(scopes.values()).flatMap(({ publish, subscribe }) =>
    [...publish, ...subscribe].map(({ rule }) => rule.written),
  );
  const ofPolicy = new Set(written.map(exampleOf));
  const ofScopes = new Set<string>();
  const seen = new Set<string>();
  for await (const client of clients) {
    if (!client.scope.includes('mqtt:')) continue;
    const scope = shapeScope(client);
    if (seen.has(scope) || seen.size > MAX_FOUND) continue;
    seen.add(scope);
    for (const topic of directFilters(scope).map(exampleOf)) if (!ofPolicy.has(topic)) ofScopes.add(topic);
  }
  return [...Array.from(ofPolicy).sort(), ...Array.from(ofScopes).sort()];
}

function exampleOf(filter: string): string {
  return filter
    .split('/')
    .map((level) => (level === '+' || level === '#' ? 'x' : level))
    .join('/');
}

const placeholderPattern = /\{([^{}]*)\}/g;

/** Unset where the client has no value for a placeholder: it has no such topic. */
function ownTopic(written: string, { clientId, group, claims }: Subject): string | undefined {
  let isWhole = true;
  const topic = written.replace(placeholderPattern, (_hole, name: string) => {
    const value =
      name === 'client_id' ? clientId : name === 'group' ? group : claims[name.slice('claim:'.length)];
    isWhole &&= typeof value === 'string';
    return String(value);
  });
  return isWhole ? topic : undefined;
}

/** A line for each row, for a table or CSV: its name, how many clients, and a cell for each topic. */
export function matrixLines({ rows }: AccessMatrix): (string | number)[][] {
  return rows.map(({ name, clients, cells }) => [
    name,
    clients,
    ...cells.map((cell) => cellText(cell, clients)),
  ]);
}

/**
 * `P` for publish, `S` for subscribe, with how many of a group where it is not all; `R` where more are delivered what is
 * published there than may subscribe to it alone.
 */
export function cellText({ publish, subscribe, receive }: AccessCell, clients: number): string {
  const part = (letter: string, count: number) =>
    count === 0 ? '' : count === clients ? letter : `${letter}${count}`;
  return part('P', publish) + part('S', subscribe) + (receive > subscribe ? part('R', receive) : '');
}
