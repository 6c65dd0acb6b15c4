import type { Policy } from '@fleetgate/broker/policy';
import { UsageError } from '../exit.ts';
import { isMatrixTopic, ownTopic, writtenTopics } from './matrix-topics.ts';
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
  /** A client for each outcome there is among them, by its letters as in {@link cellText}; `-` where it may nothing. */
  readonly examples: Readonly<Record<string, string>>;
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
  /** Default: {@link MAX_ROWS}. */
  readonly maxRows?: number;
}

/**
 * Decides each publish, subscribe and delivery as the broker would. Placeholders in a topic are those of the client that is
 * looked at. Reads the clients once, and once before for the topics where none are given.
 * @throws UsageError for a topic that is none
 */
export async function accessMatrix(
  policy: Policy,
  clients: () => AsyncIterable<RegisteredClient>,
  options: MatrixOptions,
): Promise<AccessMatrix> {
  const { by, topics: given, tokenClaims = [], maxRows = MAX_ROWS } = options;
  const all = given ?? (await writtenTopics(policy, clients()));
  checkTopics(all);
  const topics = all.slice(0, MAX_TOPICS);
  const rows = new Map<string, GrowingRow>();
  const decide = cellDecider(policy, topics, tokenClaims);
  let leftOut = 0;
  for await (const client of clients()) {
    const name = by === 'client' ? client.client_id : (client.group ?? '(no group)');
    const row = rows.get(name) ?? growingRow(topics.length);
    if (!rows.has(name)) {
      if (rows.size >= maxRows) {
        leftOut += 1;
        continue;
      }
      rows.set(name, row);
    }
    row.add(client.client_id, decide(client));
  }
  return {
    by,
    topics,
    rows: Array.from(rows, ([name, row]) => ({ name, clients: row.clients, cells: row.cells })).sort(
      (a, b) => (a.name < b.name ? -1 : 1),
    ),
    leftOut,
    topicsLeftOut: all.length - topics.length,
  };
}

interface GrowingRow extends Omit<AccessRow, 'name'> {
  /** @param outcomes of the client, a byte for each topic */
  add(clientId: string, outcomes: Uint8Array): void;
}

function growingRow(topics: number): GrowingRow {
  const cells = Array.from({ length: topics }, () => ({
    publish: 0,
    subscribe: 0,
    receive: 0,
    examples: {} as Record<string, string>,
  }));
  // A bit for each outcome that has an example.
  const seen = new Uint8Array(topics);
  const row = {
    clients: 0,
    cells,
    add(clientId: string, outcomes: Uint8Array) {
      row.clients += 1;
      for (const [i, cell] of cells.entries()) {
        const outcome = outcomes[i] ?? 0;
        if (outcome & MAY_PUBLISH) cell.publish += 1;
        if (outcome & MAY_SUBSCRIBE) cell.subscribe += 1;
        if (outcome & IS_DELIVERED) cell.receive += 1;
        const mark = 1 << outcome;
        if (((seen[i] ?? 0) & mark) !== 0) continue;
        seen[i] = (seen[i] ?? 0) | mark;
        cell.examples[outcomeText(outcome)] = clientId;
      }
    },
  };
  return row;
}

const MAY_PUBLISH = 1;
const MAY_SUBSCRIBE = 2;
const IS_DELIVERED = 4;

function outcomeText(outcome: number): string {
  const [publish, subscribe, receive] = [MAY_PUBLISH, MAY_SUBSCRIBE, IS_DELIVERED].map((bit) =>
    (outcome & bit) === 0 ? 0 : 1,
  ) as [number, number, number];
  return cellText({ publish, subscribe, receive }, 1) || '-';
}

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
    if (!isMatrixTopic(topic)) throw new UsageError(`--topic takes a topic or a filter, not '${topic}'`);
  }
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
export function cellText(
  { publish, subscribe, receive }: Omit<AccessCell, 'examples'>,
  clients: number,
): string {
  const part = (letter: string, count: number) =>
    count === 0 ? '' : count === clients ? letter : `${letter}${count}`;
  return part('P', publish) + part('S', subscribe) + (receive > subscribe ? part('R', receive) : '');
}
