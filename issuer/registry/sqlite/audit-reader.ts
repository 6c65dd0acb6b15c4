import type { Checkpoint } from '../../audit-chain.ts';
import type { AuditPage, AuditQuery } from '../../audit-trail.ts';
import { auditReading } from './audit-events.ts';
import { asRegistryError, openForReading } from './database.ts';

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
  const audit = auditReading(database);
  async function read<T>(query: () => T): Promise<T> {
    try {
      return query();
    } catch (error) {
      throw asRegistryError(error);
    }
  }
  return {
    search: (query) => read(() => audit.search(query)),
    checkpoint: () => read(() => audit.checkpoint()),
    close: () => void database.close(),
  };
}
