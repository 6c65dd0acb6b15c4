import type { ClientFilter } from '../client-changes.ts';
import type { ClientRow } from './clients.ts';
import { type Act, type Statement, sql } from './statement.ts';

interface ClientPage {
  readonly after: string;
  readonly limit: number;
  readonly filter: ClientFilter;
}

type ListStatement = Statement<[Record<string, string | number>], ClientRow>;

const known = new Map<string, ListStatement>();

/** Pages of clients, ordered by id: each combination of filters is one statement, led by an index. */
export function* clientList({ after, limit, filter }: ClientPage): Act<ClientRow[]> {
  const text = `SELECT clients.* FROM clients ${listConditions(filter)}`;
  const statement: ListStatement = known.get(text) ?? sql(text);
  known.set(text, statement);
  return yield* statement.all({
    after,
    limit,
    ...(filter.group === undefined ? {} : { group: filter.group }),
    ...(filter.name === undefined ? {} : { clientName: filter.name }),
    ...(filter.label === undefined ? {} : { name: filter.label.name, value: filter.label.value }),
  });
}

function listConditions({ group, name, label, isQuarantined }: ClientFilter): string {
  // The label leads where there is one: its index holds the ids in order.
  const order = label === undefined ? 'clients.client_id' : 'label.client_id';
  const conditions = [
    `${order} > @after`,
    ...(group === undefined ? [] : ['clients.client_group = @group']),
    ...(name === undefined ? [] : ['clients.name = @clientName']),
    ...(isQuarantined === undefined
      ? []
      : [`clients.quarantined_at_ms IS ${isQuarantined ? 'NOT NULL' : 'NULL'}`]),
  ];
  const labels =
    label === undefined
      ? ''
      : 'JOIN client_labels AS label ON label.registration = clients.registration AND label.name = @name AND label.value = @value';
  return `${labels} WHERE ${conditions.join(' AND ')} ORDER BY ${order} LIMIT @limit`;
}
