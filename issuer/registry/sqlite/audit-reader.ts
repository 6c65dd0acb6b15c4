import { auditReading } from '../acts/audit-events.ts';
import type { Act } from '../acts/statement.ts';
import type { AuditReader } from '../audit-reader.ts';
import { asRegistryError, openForReading } from './database.ts';
import { refuseMoved } from './moved.ts';
import { actRunner } from './run-act.ts';

/**
 * Opens the database for reading; an issuer may run on it.
 * @throws FleetgateError `registry_unavailable`, `registry_schema_newer`, `registry_moved`
 */
export function openSqliteAuditReader(file: string): AuditReader {
  const database = openForReading(file);
  try {
    // Its trail goes on elsewhere: what it has is true no more.
    refuseMoved(database, file);
  } catch (error) {
    database.close();
    throw error;
  }
  const run = actRunner(database);
  async function read<T>(act: Act<T>): Promise<T> {
    try {
      return run(act);
    } catch (error) {
      throw asRegistryError(error);
    }
  }
  return {
    search: (query) => read(auditReading.search(query)),
    checkpoint: () => read(auditReading.checkpoint()),
    close: async () => void database.close(),
  };
}
