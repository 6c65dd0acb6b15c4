import type { ClientFilter } from '../client-changes.ts';
import type { ClientRow } from './clients.ts';
import type { Database } from './database.ts';

interface ClientPage {
  readonly after: string;
  readonly limit: number;
  readonly filter: ClientFilter;
}

/**
 * Pages of clients, ordered by id: each combination of filters is one statement, led by an index. `select` says which
 * columns, of which tables.
 */
export function clientList(database: Database, select: string): (page: ClientPage) => ClientRow[] {
  const prepared = new Map<string, ReturnType<typeof prepare>>();
  const prepare = (sql: string) => database.prepare<[Record<string, string | number>], ClientRow>(sql);

  return ({ after, limit, filter }) => {
    const sql = `${select} ${listConditions(filter)}`;
    const statement = prepared.get(sql) ?? prepare(sql);
    prepared.set(sql, statement);
    return statement.all({
      after,
      limit,
      ...(filter.group === undefined ? {} : { group: filter.group }),
      ...(filter.name === undefined ? {} : { clientName: filter.name }),
      ...(filter.label === undefined ? {} : { name: filter.label.name, value: filter.label.value }),
    });
  };
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
