import { type ClientAuthParameters, clientAuthParametersOf } from '../../client-auth/parameters.ts';
import type { Selector } from '../../fleet/selector.ts';
import { type ClientSecret, LAST_USE_GRANULARITY_MS } from '../../secrets.ts';
import type { ClientFilter } from '../client-changes.ts';
import type { SelectedClients } from '../fleet-registry.ts';
import {
  type ClientOrigin,
  type ClientRecord,
  MAX_COUNTED_CLIENTS,
  type NewClientRecord,
} from '../registry.ts';
import { clientList } from './client-list.ts';
import { clientSecrets } from './client-secrets.ts';
import { clientSelection } from './client-selection.ts';
import { type Act, sql, type Value } from './statement.ts';

export interface ClientRow {
  registration: number;
  client_id: string;
  name: string | null;
  scope: string;
  audience: string;
  auth_method: string;
  auth_parameters: string;
  grant_types: string;
  client_group: string | null;
  labels: string;
  metadata: string;
  token_lifetime_seconds: number | null;
  supertokens: string;
  created_at_ms: number;
  updated_at_ms: number;
  template: string | null;
  template_version: number | null;
  job_id: string | null;
  job_row: number | null;
  enrollment_id: string | null;
  revision: number;
  quarantined_at_ms: number | null;
  quarantine_reason: string | null;
  last_seen_at_ms: number;
}

const find = sql<[clientId: string], ClientRow>('SELECT * FROM clients WHERE client_id = ?');
const ofJob = sql<[jobId: string, row: number], ClientRow>(
  'SELECT * FROM clients WHERE job_id = ? AND job_row = ?',
);
const revision = sql<[registration: number], { revision: number }>(
  'SELECT revision FROM clients WHERE registration = ?',
);
const registrationOf = sql<[clientId: string], { registration: number }>(
  'SELECT registration FROM clients WHERE client_id = ?',
);
const countChange = sql<[registration: number]>(
  'UPDATE clients SET revision = revision + 1 WHERE registration = ?',
);
const remove = sql<[clientId: string]>('DELETE FROM clients WHERE client_id = ?');
const issuedAhead = sql<[clientId: string], { at: number }>(
  'SELECT coalesce(issued_ahead_at, 0) AS at FROM clients WHERE client_id = ?',
);
const issuedAheadOfAll = sql<[], { at: number }>(
  'SELECT coalesce(max(issued_ahead_at), 0) AS at FROM clients',
);
const issuedAtOrAfter = sql<[at: number], { client_id: string; at: number }>(
  'SELECT client_id, issued_ahead_at AS at FROM clients WHERE issued_ahead_at >= ?',
);
const setIssuedAhead = sql<[{ at: number; registration: number }]>(`
  UPDATE clients SET issued_ahead_at = @at
  WHERE registration = @registration AND coalesce(issued_ahead_at, 0) < @at`);
const setLastSeen = sql<[{ at: number; registration: number }]>(`
  UPDATE clients SET last_seen_at_ms = @at WHERE registration = @registration AND last_seen_at_ms < @at`);
const insert = sql<Value[], { registration: number }>(`
  INSERT INTO clients (client_id, name, scope, audience, auth_method, grant_types, client_group, labels, metadata,
    token_lifetime_seconds, supertokens, created_at_ms, updated_at_ms, auth_parameters, template, template_version,
    job_id, job_row, enrollment_id)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (client_id) DO NOTHING RETURNING registration`);
const removeLabels = sql<[registration: number]>('DELETE FROM client_labels WHERE registration = ?');
const insertLabel = sql<[registration: number, name: string, value: string, clientId: string]>(
  'INSERT INTO client_labels (registration, name, value, client_id) VALUES (?, ?, ?, ?)',
);
// By the index that holds these and no others.
const countQuarantined = sql<[], { clients: number }>(`
  SELECT count(*) AS clients
  FROM (SELECT 1 AS one FROM clients WHERE quarantined_at_ms IS NOT NULL LIMIT ${MAX_COUNTED_CLIENTS}) AS counted`);

interface SelectorPage {
  readonly selector: Selector;
  readonly nowMs: number;
  readonly after?: string | undefined;
}

type Labelled = Pick<ClientRecord, 'labels' | 'clientId'>;

const labelValues = (
  registration: number,
  { labels, clientId }: Labelled,
): [registration: number, name: string, value: string, clientId: string][] =>
  Object.entries(labels).map(([name, value]) => [registration, name, value, clientId]);

function* toClients(rows: readonly ClientRow[]): Act<ClientRecord[]> {
  const secrets = yield* clientSecrets.ofEach(rows.map(({ registration }) => registration));
  return rows.map((row, i) => toClient(row, secrets[i] ?? []));
}

/** Clients, within an act. */
export const clients = {
  *find(clientId: string): Act<ClientRecord | undefined> {
    const row = yield* find.get(clientId);
    return row && toClient(row, yield* clientSecrets.ofClient(row.registration));
  },
  /** Every client id is greater than the empty string. */
  *list(after: string, limit: number, filter: ClientFilter = {}): Act<ClientRecord[]> {
    return yield* toClients(yield* clientList({ after, limit, filter }));
  },
  *select({ after = '', ...page }: SelectorPage & { readonly limit: number }): Act<SelectedClients> {
    const { rows, reached } = yield* clientSelection.page({ ...page, after });
    return { clients: yield* toClients(rows), reached };
  },
  count: ({ after = '', ...look }: SelectorPage) => clientSelection.count({ ...look, after }),
  /** What each of these rows of a provisioning job has made. */
  *findOfJob(jobId: string, rows: readonly number[]): Act<(ClientRecord | undefined)[]> {
    const found = yield* ofJob.allOfEach(rows.map((row) => [jobId, row]));
    const made = yield* toClients(found.flat());
    return found.map(([row]) => (row === undefined ? undefined : made.shift()));
  },
  *countQuarantined(): Act<number> {
    return (yield* countQuarantined.get())?.clients ?? 0;
  },
  *registrationOf(clientId: string): Act<number | undefined> {
    return (yield* registrationOf.get(clientId))?.registration;
  },
  /** Counts a change of the client that is not in its own row. */
  *countChange(registration: number): Act<void> {
    yield* countChange.run(registration);
  },
  /** How often the registration was changed; unset when it has ended. */
  *revision(registration: number): Act<number | undefined> {
    return (yield* revision.get(registration))?.revision;
  },
  /** Replaces the labels by which the client is found. */
  *setLabels(registration: number, client: Labelled): Act<void> {
    yield* removeLabels.run(registration);
    yield* insertLabel.runEach(labelValues(registration, client));
  },
  *remove(clientId: string): Act<boolean> {
    return (yield* remove.run(clientId)) > 0;
  },
  /** Latest `iat` ahead of the clock that a token of this client was given, 0 for none; unset for no such client. */
  *issuedAhead(clientId: string): Act<number | undefined> {
    return (yield* issuedAhead.get(clientId))?.at;
  },
  /** The latest of all clients, 0 for none. Reads every client. */
  *issuedAheadOfAll(): Act<number> {
    return (yield* issuedAheadOfAll.get())?.at ?? 0;
  },
  /** Those with a token of that `iat` or a later one, ahead of the clock when it was issued. Reads every client. */
  *issuedAtOrAfter(atSeconds: number): Act<{ readonly clientId: string; readonly at: number }[]> {
    const rows = yield* issuedAtOrAfter.all(atSeconds);
    return rows.map(({ client_id: clientId, at }) => ({ clientId, at }));
  },
  *setIssuedAhead(registration: number, issuedAtSeconds: number): Act<void> {
    yield* setIssuedAhead.run({ at: issuedAtSeconds, registration });
  },
  /** Remembers the day of a token: to be called for each that is recorded, and writes for few. */
  *setLastSeen(
    { registration, lastSeenAtMs = 0 }: Pick<ClientRecord, 'registration' | 'lastSeenAtMs'>,
    atMs: number,
  ): Act<void> {
    if (atMs - lastSeenAtMs >= LAST_USE_GRANULARITY_MS) yield* setLastSeen.run({ at: atMs, registration });
  },
  /** Of each, its registration; unset, with nothing written, where the id is taken. */
  *insert(records: readonly NewClientRecord[]): Act<(number | undefined)[]> {
    const rows = yield* insert.allOfEach(records.map(insertValues));
    const registrations = rows.map(([row]) => row?.registration);
    const inserted = records.flatMap((client, i) => {
      const registration = registrations[i];
      return registration === undefined ? [] : [{ client, registration }];
    });
    yield* clientSecrets.insertAll(
      inserted.flatMap(({ client, registration }) =>
        client.secrets.map((secret, slot) => ({ registration, slot, secret })),
      ),
    );
    yield* insertLabel.runEach(
      inserted.flatMap(({ client, registration }) => labelValues(registration, client)),
    );
    return registrations;
  },
};

function insertValues(client: NewClientRecord): Value[] {
  return [
    client.clientId,
    client.name ?? null,
    client.scope,
    JSON.stringify(client.audience),
    client.authMethod,
    JSON.stringify(client.grantTypes),
    client.group ?? null,
    JSON.stringify(client.labels),
    JSON.stringify(client.metadata),
    client.tokenLifetimeSeconds ?? null,
    JSON.stringify(client.supertokens),
    client.createdAtMs,
    client.updatedAtMs,
    JSON.stringify(clientAuthParametersOf(client)),
    client.origin?.template ?? null,
    client.origin?.templateVersion ?? null,
    client.origin?.job?.id ?? null,
    client.origin?.job?.row ?? null,
    client.origin?.enrollment ?? null,
  ];
}

/** A client as the registry gives it. */
export function toClient(row: ClientRow, secrets: readonly ClientSecret[]): ClientRecord {
  return {
    registration: row.registration,
    clientId: row.client_id,
    name: row.name ?? undefined,
    scope: row.scope,
    audience: JSON.parse(row.audience) as string[],
    authMethod: row.auth_method,
    ...(JSON.parse(row.auth_parameters) as ClientAuthParameters),
    grantTypes: JSON.parse(row.grant_types) as string[],
    group: row.client_group ?? undefined,
    labels: JSON.parse(row.labels) as Record<string, string>,
    metadata: JSON.parse(row.metadata) as Record<string, unknown>,
    tokenLifetimeSeconds: row.token_lifetime_seconds ?? undefined,
    secrets,
    supertokens: JSON.parse(row.supertokens) as Record<string, unknown>,
    origin: originOf(row),
    revision: row.revision,
    quarantine:
      row.quarantined_at_ms === null
        ? undefined
        : { atMs: row.quarantined_at_ms, reason: row.quarantine_reason ?? '' },
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
    lastSeenAtMs: row.last_seen_at_ms === 0 ? undefined : row.last_seen_at_ms,
  };
}

function originOf(row: ClientRow): ClientOrigin | undefined {
  const { template, template_version: templateVersion, job_id: id, job_row: number } = row;
  if (template === null || templateVersion === null) return undefined;
  return {
    template,
    templateVersion,
    job: id === null || number === null ? undefined : { id, row: number },
    enrollment: row.enrollment_id ?? undefined,
  };
}
