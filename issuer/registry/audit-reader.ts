import type { Checkpoint } from '../audit-chain.ts';
import type { AuditPage, AuditQuery } from '../audit-trail.ts';
import { isPostgresUrl } from './postgres/place.ts';
import { openSqliteAuditReader } from './sqlite/audit-reader.ts';

/** The audit trail of a database, read without the issuer. */
export interface AuditReader {
  search(query: AuditQuery): Promise<AuditPage>;
  /** The last row; unset for an empty trail. */
  checkpoint(): Promise<Checkpoint | undefined>;
  close(): Promise<void>;
}

/**
 * Opens the database, a file or a `postgres://` URL, for reading; an issuer may run on it.
 * @throws FleetgateError `config_invalid`, `registry_unavailable`, `registry_schema_newer`
 */
export async function openAuditReader(database: string): Promise<AuditReader> {
  if (!isPostgresUrl(database)) return openSqliteAuditReader(database);
  const { openPostgresAuditReader } = await import('./postgres/audit-reader.ts');
  return openPostgresAuditReader(database);
}
