import { auditReading } from '../acts/audit-events.ts';
import type { Act } from '../acts/statement.ts';
import type { AuditReader } from '../audit-reader.ts';
import { openPool } from './connection.ts';
import { parsePostgresUrl } from './place.ts';
import { readAct } from './read-act.ts';

/** The audit trail of a schema. What is not there is not made. */
export function openPostgresAuditReader(database: string): AuditReader {
  const pool = openPool(parsePostgresUrl(database));
  const read = <T>(act: Act<T>) => readAct(pool, () => act);
  return {
    search: (query) => read(auditReading.search(query)),
    checkpoint: () => read(auditReading.checkpoint()),
    close: () => pool.end(),
  };
}
