import type { AuditEvent } from '../../audit.ts';

/** How the acts of one subject, in a file of their own, reach the database that all share. */
export interface Acts {
  /** Runs a query now. Rejects with FleetgateError `registry_unavailable`. */
  read<T>(query: () => T): Promise<T>;
  /** Runs an act in the next shared transaction; settles after its commit. */
  write<T>(act: () => T): Promise<T>;
  /** Adds an audit event to the act that runs. */
  record(event: AuditEvent): void;
}
