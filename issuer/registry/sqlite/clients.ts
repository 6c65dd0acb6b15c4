import { type ClientAuthParameters, clientAuthParametersOf } from '../../client-auth/parameters.ts';
import type { Selector } from '../../fleet/selector.ts';
import type { ClientSecret } from '../../secrets.ts';
import type { ClientFilter } from '../client-changes.ts';
import type { SelectedClients } from '../fleet-registry.ts';
import {
  type ClientOrigin,
  type ClientRecord,
  MAX_COUNTED_CLIENTS,
  type NewClientRecord,
} from '../registry.ts';
import { clientList } from './client-list.ts';
import type { ClientSecretStatements } from './client-secrets.ts';
import { clientSelection } from './client-selection.ts';
import type { Database } from './database.ts';

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
}

const selectClients = 'SELECT clients.* FROM clients';

interface SelectorPage {
  readonly selector: Selector;
  readonly after?: string | undefined;
}

export type ClientStatements = ReturnType<typeof clientStatements>;

/** The statements on clients; each runs at once, in whatever transaction is open. */
export function clientStatements(database: Database, secrets: ClientSecretStatements) {
  const find = database.prepare<[string], ClientRow>(`${selectClients} WHERE clients.client_id = ?`);
  const ofJob = database.prepare<[string, number], ClientRow>(
    `${selectClients} WHERE clients.job_id = ? AND clients.job_row = ?`,
  );
  const list = clientList(database, selectClients);
  const selection = clientSelection(database);
  const revision = database
    .prepare<[number], number>('SELECT revision FROM clients WHERE registration = ?')
    .pluck();
  const registrationOf = database
    .prepare<[string], number>('SELECT registration FROM clients WHERE client_id = ?')
    .pluck();
  const countChange = database.prepare<[number]>(
    'UPDATE clients SET revision = revision + 1 WHERE registration = ?',
  );
  const remove = database.prepare<[string]>('DELETE FROM clients WHERE client_id = ?');
  const lastIssued = database
    .prepare<[string], number>('SELECT ifnull(issued_ahead_at, 0) FROM clients WHERE client_id = ?')
    .pluck();
  const setIssuedAhead = database.prepare<[number, number]>(
    'UPDATE clients SET issued_ahead_at = max(ifnull(issued_ahead_at, 0), ?) WHERE registration = ?',
  );
  const insert = database.prepare<unknown[]>(`
    INSERT INTO clients (client_id, name, scope, audience, auth_method, grant_types, client_group, labels, metadata,
      token_lifetime_seconds, supertokens, created_at_ms, updated_at_ms, auth_parameters, template, template_version,
      job_id, job_row, enrollment_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (client_id) DO NOTHING`);
  const removeLabels = database.prepare<[number]>('DELETE FROM client_labels WHERE registration = ?');
  const insertLabel = database.prepare<unknown[]>(
    'INSERT INTO client_labels (registration, name, value, client_id) VALUES (?, ?, ?, ?)',
  );

  // By the index that holds these and no others.
  const countQuarantined = database
    .prepare<[], number>(
      `SELECT count(*) FROM (SELECT 1 FROM clients WHERE quarantined_at_ms IS NOT NULL LIMIT ${MAX_COUNTED_CLIENTS})`,
    )
    .pluck();

  const toClient = (row: ClientRow): ClientRecord => asClient(row, secrets.ofClient(row.registration));

  function insertLabels(
    registration: number | bigint,
    { labels, clientId }: Pick<ClientRecord, 'labels' | 'clientId'>,
  ): void {
    for (const [name, value] of Object.entries(labels)) insertLabel.run(registration, name, value, clientId);
  }

  return {
    find(clientId: string): ClientRecord | undefined {
      const row = find.get(clientId);
      return row === undefined ? undefined : toClient(row);
    },
    /** Every client id is greater than the empty string. */
    list: (after: string, limit: number, filter: ClientFilter = {}): ClientRecord[] =>
      list({ after, limit, filter }).map(toClient),
    select({ selector, after = '', limit }: SelectorPage & { readonly limit: number }): SelectedClients {
      const { rows, reached } = selection.page({ selector, after, limit });
      return { clients: rows.map(toClient), reached };
    },
    count: ({ selector, after = '' }: SelectorPage) => selection.count({ selector, after }),
    /** What a row of a provisioning job has made. */
    findOfJob(jobId: string, row: number): ClientRecord | undefined {
      const found = ofJob.get(jobId, row);
      return found === undefined ? undefined : toClient(found);
    },
    countQuarantined: (): number => countQuarantined.get() ?? 0,
    registrationOf: (clientId: string): number | undefined => registrationOf.get(clientId),
    /** Counts a change of the client that is not in its own row. */
    countChange(registration: number): void {
      countChange.run(registration);
    },
    /** How often the registration was changed; unset when it has ended. */
    revision: (registration: number): number | undefined => revision.get(registration),
    /** Replaces the labels by which the client is found. */
    setLabels(registration: number, client: Pick<ClientRecord, 'labels' | 'clientId'>): void {
      removeLabels.run(registration);
      insertLabels(registration, client);
    },
    remove: (clientId: string): boolean => remove.run(clientId).changes > 0,
    /** Latest `iat` ahead of the clock that a token of this client was given, 0 for none; unset for no such client. */
    issuedAhead: (clientId: string): number | undefined => lastIssued.get(clientId),
    setIssuedAhead(registration: number, issuedAtSeconds: number): void {
      setIssuedAhead.run(issuedAtSeconds, registration);
    },
    insert(client: NewClientRecord): boolean {
      const { changes, lastInsertRowid } = insert.run(
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
      );
      if (changes === 0) return false;
      for (const secret of client.secrets) secrets.insert(Number(lastInsertRowid), secret);
      insertLabels(lastInsertRowid, client);
      return true;
    },
  };
}

function asClient(row: ClientRow, secrets: readonly ClientSecret[]): ClientRecord {
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
