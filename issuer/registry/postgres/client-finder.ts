import type pg from 'pg';
import { type SecretRow, secretsFromOldToNew } from '../acts/client-secrets.ts';
import { type ClientRow, toClient } from '../acts/clients.ts';
import type { ClientRecord } from '../registry.ts';
import { asRegistryError } from './connection.ts';
import { gather } from './gather.ts';
import { hasNul } from './run-act.ts';

/** A client with one of its secrets; with NULL for those where it has none. */
type JoinedRow = ClientRow & { [Name in keyof SecretRow as `secret_${Name}`]: SecretRow[Name] | null };

const secretColumns = [
  'slot',
  'secret_id',
  'hash',
  'created_at_ms',
  'made_until_ms',
  'expires_at_ms',
  'first_used_at_ms',
  'last_used_at_ms',
  'ends_on_succession',
  'kid',
  'encrypted_context',
] as const satisfies readonly (keyof SecretRow)[];

const findAll = `
  SELECT clients.*, ${secretColumns.map((name) => `secret.${name} AS secret_${name}`).join(', ')}
  FROM clients LEFT JOIN client_secrets AS secret ON secret.registration = clients.registration
  WHERE clients.client_id = ANY ($1::text[])`;

/** Finds clients as each token request needs one, each as it was at one moment, secrets and all. */
export function clientFinder(pool: pg.Pool): (clientId: string) => Promise<ClientRecord | undefined> {
  const find = gather(async (asked: readonly string[]) => {
    const values = [[...new Set(asked)]];
    const { rows } = await pool
      .query<JoinedRow>({ name: 'fleetgate_clients', text: findAll, values })
      .catch((error: unknown) => {
        throw asRegistryError(error);
      });
    const found = Map.groupBy(rows, ({ client_id }) => client_id);
    return asked.map((clientId) => clientOf(found.get(clientId)));
  });
  // One that nobody can have must not be in the query that finds others.
  return async (clientId) => (hasNul(clientId) ? undefined : find(clientId));
}

function clientOf(rows: readonly JoinedRow[] | undefined): ClientRecord | undefined {
  const [row] = rows ?? [];
  if (row === undefined || rows === undefined) return undefined;
  const secrets = rows.filter(({ secret_slot }) => secret_slot !== null).map(secretOf);
  return toClient(row, secretsFromOldToNew(secrets));
}

function secretOf(row: JoinedRow): SecretRow {
  return Object.fromEntries(
    secretColumns.map((name) => [name, row[`secret_${name}`]]),
  ) as unknown as SecretRow;
}
