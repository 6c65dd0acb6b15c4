import type { Checkpoint } from '../../audit-chain.ts';
import type { AuditPage, AuditQuery } from '../../audit-trail.ts';
import { auditReading } from '../acts/audit-events.ts';
import type { Act } from '../acts/statement.ts';
import { asRegistryError, openForReading } from './database.ts';
import { actRunner } from './run-act.ts';

/** The audit trail of a database file, read without the issuer. */
export interface AuditReader {
  search(query: AuditQuery): Promise<AuditPage>;
  /** The last row; unset for an empty trail. */
  checkpoint(): Promise<Checkpoint | undefined>;
  close(): void;
}

/**
 * Opens the database for reading; an issuer may run on it.
 * @throws FleetgateError `registry_unavailable`, `registry_schema_newer`
 */
export function openAuditReader(file: string): AuditReader {
  const database = openForReading(file);
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
    close: () => void database.close(),
  };
}
