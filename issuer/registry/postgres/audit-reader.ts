import { FleetgateError } from '@fleetgate/shared';
import { auditReading } from '../acts/audit-events.ts';
import type { Act } from '../acts/statement.ts';
import type { AuditReader } from '../audit-reader.ts';
import { openPool } from './connection.ts';
import { asOpenError } from './open-error.ts';
import { parsePostgresUrl } from './place.ts';
import { readAct } from './read-act.ts';

/**
 * The audit trail of a schema. What is not there is not made.
 * @throws FleetgateError `registry_unavailable`, `config_invalid`
 */
export async function openPostgresAuditReader(database: string): Promise<AuditReader> {
  const place = parsePostgresUrl(database);
  const pool = openPool(place);
  try {
    const { rows } = await pool.query(
      "SELECT to_regclass('audit') AS audit, to_regclass('transfer') AS transfer",
    );
    if (rows[0]?.audit === null) {
      throw new FleetgateError('registry_unavailable', `there is no registry in ${place.name}`);
    }
    if (rows[0]?.transfer !== null) {
      throw new FleetgateError(
        'registry_unavailable',
        `${place.name} does not hold all yet: finish 'fleetgate migrate' first`,
      );
    }
  } catch (error) {
    await pool.end();
    throw asOpenError(place.name, error);
  }
  const read = <T>(act: Act<T>) => readAct(pool, () => act);
  return {
    search: (query) => read(auditReading.search(query)),
    checkpoint: () => read(auditReading.checkpoint()),
    close: () => pool.end(),
  };
}
