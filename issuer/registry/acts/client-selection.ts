import { putBounded } from '@fleetgate/shared';
import type { Selector, SubjectField, ValueCondition } from '../../fleet/selector.ts';
import { isTimeCondition, timeLeads, timeSql } from './client-times.ts';
import type { ClientRow } from './clients.ts';
import { type Act, type Statement, sql } from './statement.ts';

/** Rows of the leading index that one look goes through: some 10 ms of the event loop. */
const MAX_LOOKED_AT = 10_000;

/** Statements that are kept; each shape of a selector is one. */
const MAX_PREPARED = 100;

const columns: Readonly<Record<SubjectField, string>> = {
  client_id: 'clients.client_id',
  group: 'clients.client_group',
  state: "CASE WHEN clients.quarantined_at_ms IS NULL THEN 'active' ELSE 'quarantined' END",
  auth_method: 'clients.auth_method',
  template: 'clients.template',
  job: 'clients.job_id',
  enrollment: 'clients.enrollment_id',
};

/** Fields that have an index of (field, client id). */
const indexed: readonly SubjectField[] = ['group', 'template', 'job', 'enrollment'];

/** What one look found. */
export interface Selection {
  readonly rows: ClientRow[];
  readonly reached: string | undefined;
}

interface Look {
  readonly selector: Selector;
  readonly after: string;
  readonly nowMs: number;
}

type Parameters = Record<string, string | number>;

const known = new Map<string, Statement<[Parameters], unknown>>();

function statement<Row>(text: string): Statement<[Parameters], Row> {
  const one = known.get(text) ?? sql<[Parameters], unknown>(text, { isVarying: true });
  putBounded(known, text, one, MAX_PREPARED);
  return one as Statement<[Parameters], Row>;
}

/** Where the look ends: unset when it goes to the end. */
function* endOf(window: string, parameters: Parameters): Act<string | undefined> {
  const row = yield* statement<{ looked: number; last: string | null }>(
    `SELECT count(*) AS looked, max(client_id) AS last FROM (SELECT client_id FROM ${window}) AS looked`,
  ).get(parameters);
  return row === undefined || row.looked < MAX_LOOKED_AT ? undefined : (row.last ?? undefined);
}

/**
 * Clients by a selector, in the order of their ids. The condition with the best index leads; what it leads to is gone
 * through a bounded part at a time, so that a rare combination among a million holds up nobody. An index of times has
 * another order than that of ids: it leads where all it leads to is within the bound. Where it is not, those wanted are
 * not rare, and the walk by ids meets them.
 */
export const clientSelection = {
  *page({ limit, ...look }: Look & { readonly limit: number }): Act<Selection> {
    const { window, windowParameters, looked, where, parameters } = yield* queryOf(look);
    const rows = yield* statement<ClientRow>(
      `SELECT clients.* FROM ${looked.clients} WHERE ${where} ORDER BY ${looked.clientId} LIMIT @limit`,
    ).all({ ...parameters, limit });
    if (rows.length === limit) return { rows, reached: rows.at(-1)?.client_id };
    return { rows, reached: yield* endOf(window, windowParameters) };
  },
  *count(look: Look): Act<{ count: number; reached: string | undefined }> {
    const { window, windowParameters, looked, where, parameters } = yield* queryOf(look);
    const row = yield* statement<{ found: number }>(
      `SELECT count(*) AS found FROM ${looked.clients} WHERE ${where}`,
    ).get(parameters);
    return { count: row?.found ?? 0, reached: yield* endOf(window, windowParameters) };
  },
};

/** The part that is gone through, and what of it is wanted. */
function* queryOf({ selector, after, nowMs }: Look) {
  const lead = yield* leadingTable(selector, nowMs);
  const { from, leading } = lead;
  const windowParameters: Parameters = { after, ...lead.parameters };
  const parameters: Parameters = { ...windowParameters };
  const conditions = selector.map((condition, i) =>
    isTimeCondition(condition)
      ? timeSql(condition, `c${i}`, parameters, nowMs)
      : conditionSql(condition, `c${i}`, parameters),
  );
  const window = `${from} WHERE ${leading} client_id > @after ORDER BY client_id LIMIT ${MAX_LOOKED_AT}`;
  return {
    ...{ window, windowParameters, parameters, where: conditions.join(' AND ') || 'TRUE' },
    // Joined to itself, PostgreSQL may walk through all clients for one that few are like.
    looked:
      from === 'clients'
        ? { clients: `(SELECT * FROM ${window}) AS clients`, clientId: 'clients.client_id' }
        : {
            clients: `(SELECT client_id FROM ${window}) AS looked
              JOIN clients ON clients.client_id = looked.client_id`,
            clientId: 'looked.client_id',
          },
  };
}

interface Lead {
  readonly from: string;
  /** A condition with AND behind it, or nothing. */
  readonly leading: string;
  readonly parameters: Parameters;
}

function* leadingTable(selector: Selector, nowMs: number): Act<Lead> {
  const values = selector.flatMap((condition) => (isTimeCondition(condition) ? [] : condition));
  const isNamed = values.some(({ subject, operator }) => subject === 'client_id' && operator === 'in');
  for (const { rows, clientIds, parameters } of isNamed ? [] : timeLeads(selector, nowMs, MAX_LOOKED_AT)) {
    const found = yield* statement<{ found: number }>(`SELECT count(*) AS found FROM ${rows}`).get(
      parameters,
    );
    if ((found?.found ?? 0) >= MAX_LOOKED_AT) continue;
    return { from: `(SELECT ${clientIds} FROM ${rows}) AS few`, leading: '', parameters };
  }
  if (selector.some(({ subject, operator }) => subject === 'last_seen' && operator === 'absent')) {
    return { from: 'clients', leading: 'last_seen_at_ms = 0 AND', parameters: {} };
  }
  const lead = leadOf(values);
  const parameters: Parameters = {};
  const [from, leading] = lead === undefined ? ['clients', ''] : leadSql(lead, parameters);
  return { from, leading, parameters };
}

/** The condition that fewest clients can be expected to fulfil, of those with an index. */
function leadOf(selector: readonly ValueCondition[]): ValueCondition | undefined {
  const one = (fits: (condition: ValueCondition) => boolean) => selector.find(fits);
  return (
    one(({ subject, operator }) => subject === 'client_id' && (operator === 'in' || operator === 'prefix')) ??
    one(({ subject, operator, values }) => {
      if (operator !== 'in' || values.length !== 1) return false;
      return typeof subject !== 'string' || indexed.includes(subject) || isQuarantined(subject, values);
    })
  );
}

const isQuarantined = (subject: SubjectField, values: readonly string[]) =>
  subject === 'state' && values[0] === 'quarantined';

/** The leading condition as its index has it. */
function leadSql(
  { subject, operator, values }: ValueCondition,
  parameters: Parameters,
): readonly [from: string, condition: string] {
  const [value = ''] = values;
  if (typeof subject !== 'string') {
    Object.assign(parameters, { leadName: subject.label, lead: value });
    return ['client_labels', 'name = @leadName AND value = @lead AND'];
  }
  if (subject === 'state') return ['clients', 'quarantined_at_ms IS NOT NULL AND'];
  if (operator === 'prefix') {
    parameters['lead'] = value;
    // Every character of an id is smaller than ~.
    return ['clients', "client_id >= @lead AND client_id < @lead || '~' AND"];
  }
  if (subject === 'client_id') return ['clients', `client_id IN (${list('lead', values, parameters)}) AND`];
  parameters['lead'] = value;
  return ['clients', `${columns[subject].slice('clients.'.length)} = @lead AND`];
}

function conditionSql(
  { subject, operator, values }: ValueCondition,
  name: string,
  parameters: Parameters,
): string {
  if (typeof subject !== 'string') {
    parameters[`${name}name`] = subject.label;
    const inList = values.length === 0 ? '' : ` AND label.value IN (${list(name, values, parameters)})`;
    const isNegated = operator === 'not_in' || operator === 'absent';
    return `${isNegated ? 'NOT ' : ''}EXISTS (SELECT 1 FROM client_labels AS label
      WHERE label.registration = clients.registration AND label.name = @${name}name${inList})`;
  }
  const column = columns[subject];
  switch (operator) {
    case 'present':
      return `${column} IS NOT NULL`;
    case 'absent':
      return `${column} IS NULL`;
    case 'in':
      return `${column} IN (${list(name, values, parameters)})`;
    case 'not_in':
      return `(${column} IS NULL OR ${column} NOT IN (${list(name, values, parameters)}))`;
    case 'prefix':
      parameters[name] = values[0] ?? '';
      return `(${column} >= @${name} AND ${column} < @${name} || '~')`;
  }
}

function list(name: string, values: readonly string[], parameters: Parameters): string {
  return values
    .map((value, i) => {
      parameters[`${name}_${i}`] = value;
      return `@${name}_${i}`;
    })
    .join(', ');
}
