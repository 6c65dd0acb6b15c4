import type { Policy } from '@fleetgate/broker';
import { type RegisteredClient, tokenOf } from './registered-token.ts';
import { judgeOf, plainPublish } from './subject.ts';

/** Who can do what where: a row for each client or group, a column for each topic. */
export interface AccessMatrix {
  readonly by: 'client' | 'group';
  readonly topics: readonly string[];
  readonly rows: readonly AccessRow[];
  /** Clients that no row has room for. */
  readonly leftOut: number;
}

export interface AccessRow {
  readonly name: string;
  /** Clients of it. */
  readonly clients: number;
  readonly cells: readonly AccessCell[];
}

/** How many of the clients of a row may publish there, and be delivered what is published there. */
export interface AccessCell {
  readonly publish: number;
  readonly receive: number;
}

/** Rows of a matrix: what a person can look at. */
export const MAX_ROWS = 2000;

/** Topics of a matrix. */
export const MAX_TOPICS = 200;

/**
 * Decides each publish and each delivery as the broker would. `{client_id}` and `{group}` in a topic are those of the
 * client that is looked at.
 */
export async function accessMatrix(
  policy: Policy,
  clients: AsyncIterable<RegisteredClient>,
  { by, topics = topicsOfPolicy(policy) }: { by: 'client' | 'group'; topics?: readonly string[] | undefined },
): Promise<AccessMatrix> {
  const rows = new Map<string, { clients: number; cells: { publish: number; receive: number }[] }>();
  let leftOut = 0;
  for await (const client of clients) {
    const name = by === 'client' ? client.client_id : (client.group ?? '(no group)');
    let row = rows.get(name);
    if (row === undefined) {
      if (rows.size >= MAX_ROWS) {
        leftOut += 1;
        continue;
      }
      row = { clients: 0, cells: topics.map(() => ({ publish: 0, receive: 0 })) };
      rows.set(name, row);
    }
    row.clients += 1;
    const judge = judgeOf(policy, tokenOf([policy], [], client));
    for (const [i, written] of topics.entries()) {
      const topic = ownTopic(written, client);
      const cell = row.cells[i];
      if (topic === undefined || cell === undefined) continue;
      if (judge.decide(plainPublish(topic)).allowed) cell.publish += 1;
      if (judge.decide({ action: 'receive', topic }).allowed) cell.receive += 1;
    }
  }
  return {
    by,
    topics,
    rows: Array.from(rows, ([name, row]) => ({ name, ...row })).sort((a, b) => (a.name < b.name ? -1 : 1)),
    leftOut,
  };
}

/** A topic for each filter that the policy writes: a level for each wildcard, placeholders as they are. */
function topicsOfPolicy({ scopes }: Policy): string[] {
  const written = Array.from(scopes.values()).flatMap(({ publish, subscribe }) =>
    [...publish, ...subscribe].map(({ rule }) => rule.written),
  );
  const topics = written.map((filter) => filter.replaceAll('+', 'x').replace(/#$/, 'x'));
  return Array.from(new Set(topics)).sort().slice(0, MAX_TOPICS);
}

function ownTopic(
  written: string,
  { client_id, group, metadata = {} }: RegisteredClient,
): string | undefined {
  let topic = written.replaceAll('{client_id}', client_id);
  if (topic.includes('{group}')) {
    if (group == null) return undefined;
    topic = topic.replaceAll('{group}', group);
  }
  topic = topic.replace(/\{claim:([^{}]*)\}/g, (whole, name: string) => {
    const value = metadata[name];
    return typeof value === 'string' ? value : whole;
  });
  return topic.includes('{') ? undefined : topic;
}

/** Rows for a table or CSV: `P` for publish, `R` for receive, with how many of a group where it is not all. */
export function matrixRows({ topics, rows }: AccessMatrix): Record<string, string | number>[] {
  return rows.map(({ name, clients, cells }) => ({
    name,
    clients,
    ...Object.fromEntries(cells.map((cell, i) => [topics[i] as string, cellText(cell, clients)])),
  }));
}

export function cellText({ publish, receive }: AccessCell, clients: number): string {
  const part = (letter: string, count: number) =>
    count === 0 ? '' : count === clients ? letter : `${letter}${count}`;
  return part('P', publish) + part('R', receive);
}
