import type { AuditEvent } from '../../audit.ts';
import type { Act } from './statement.ts';

/** How the acts of one subject, in a file of their own, reach the store that all share. */
export interface Store {
  /** Runs a query now. Rejects with FleetgateError `registry_unavailable`. */
  read<T>(act: () => Act<T>): Promise<T>;
  /** Runs an act in the next shared transaction; settles after its commit. What was undone may be run again. */
  write<T>(act: () => Act<T>): Promise<T>;
  /** As `write`; where the store is a file, what it deletes is overwritten there. */
  writeOverwriting<T>(act: () => Act<T>): Promise<T>;
  /** Adds an audit event to the act that runs. */
  record(event: AuditEvent): Act<void>;
  /** Writes at once what was recorded in the act that runs. */
  flushRecords(): Act<void>;
  /** When the latest act was recorded, whichever process did, milliseconds since 1970; 0 before the first. */
  lastActMs(): Act<number>;
}
