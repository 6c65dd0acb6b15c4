import { FleetgateError } from '@fleetgate/shared';
import type pg from 'pg';
import { TURN } from './audit-journal.ts';
import { asOpenError } from './open-error.ts';
import type { PostgresPlace } from './place.ts';
import { schema } from './schema.ts';

/** Steps of the schema, by number: step n makes version n out of version n - 1. A published step is never edited. */
const migrations: readonly string[] = [
  schema,
  'ALTER TABLE audit ADD COLUMN changes TEXT',
  // When a token was issued to a client last, as in SQLite.
  `
  ALTER TABLE clients ADD COLUMN last_seen_at_ms BIGINT NOT NULL DEFAULT 0;
  UPDATE clients SET last_seen_at_ms = used.last_ms
  FROM (SELECT registration, max(last_used_at_ms) AS last_ms FROM client_secrets
    WHERE last_used_at_ms IS NOT NULL GROUP BY registration) AS used
  WHERE used.registration = clients.registration;
  CREATE INDEX clients_by_last_seen ON clients (last_seen_at_ms, client_id);
  `,
];

/**
 * Makes the schema, or brings it to the newest version. Of issuers that start at once one does, and the others wait.
 * @throws FleetgateError `registry_schema_newer`, `registry_unavailable`
 */
export async function migrate(
  pool: pg.Pool,
  { schema: name, name: place }: PostgresPlace,
  { mayBeUnfinished = false, mayMake = true } = {},
): Promise<void> {
  let client: pg.PoolClient | undefined;
  try {
    client = await pool.connect();
    await client.query('BEGIN');
    // Also against one who makes the same schema at this moment. Not the turn to write: `fleetgate migrate` may have it
    // for hours, and who starts meanwhile is to be told so.
    await client.query("SELECT pg_advisory_xact_lock($1, hashtext('migrate ' || $2))", [0x464c5447, name]);
    const known = await client.query('SELECT 1 FROM pg_namespace WHERE nspname = $1', [name]);
    if (known.rowCount === 0 && !mayMake) {
      throw new FleetgateError('registry_unavailable', `there is no ${place}`);
    }
    if (known.rowCount === 0) await client.query(`CREATE SCHEMA ${name}`);
    await client.query('CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)');
    const { rows } = await client.query<{ version: number }>('SELECT version FROM schema_version');
    const version = rows[0]?.version ?? 0;
    if (version > migrations.length) {
      throw new FleetgateError(
        'registry_schema_newer',
        `${place} has schema version ${version}, and this Fleetgate knows ${migrations.length}; use the newer Fleetgate`,
      );
    }
    const unfinished = await client.query<{ name: string | null }>("SELECT to_regclass('transfer') AS name");
    if (unfinished.rows[0]?.name !== null && !mayBeUnfinished) {
      throw new FleetgateError(
        'registry_unavailable',
        `${place} does not hold all yet: finish 'fleetgate migrate' first`,
      );
    }
    // Of an issuer of an older version that runs.
    if (version < migrations.length) await client.query(`SELECT pg_advisory_xact_lock(${TURN})`);
    for (const step of migrations.slice(version)) await client.query(step);
    if (version === 0) await client.query('INSERT INTO schema_version VALUES ($1)', [migrations.length]);
    else await client.query('UPDATE schema_version SET version = $1', [migrations.length]);
    await client.query('COMMIT');
    client.release();
  } catch (error) {
    client?.release(true);
    throw asOpenError(place, error);
  }
}
