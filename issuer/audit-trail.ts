import type { AuditEvent, RecordedAuditEvent } from './audit.ts';

/** Events on one page. Ours: about half a megabyte of JSON. */
export const MAX_PAGE_EVENTS = 1000;

/** A row with its place in the chain: hashes as 64 hexadecimal digits. */
export interface ChainedEvent extends RecordedAuditEvent {
  /** Of the row before; of 32 zero bytes for the first. */
  readonly previousHash: string;
  readonly hash: string;
}

/** Which events are asked for. What is unset is not looked at. */
export interface AuditQuery {
  /** Default `oldest`. */
  readonly order?: 'oldest' | 'newest' | undefined;
  /** Those after the event of this number in that order. */
  readonly after?: number | undefined;
  readonly limit: number;
  readonly actor?: string | undefined;
  readonly action?: string | undefined;
  readonly target?: string | undefined;
  readonly result?: string | undefined;
  /** At this moment or later, milliseconds since 1970. */
  readonly fromMs?: number | undefined;
  /** Before this moment. */
  readonly untilMs?: number | undefined;
}

/** A page may hold fewer events than asked for, or none, and others follow: so many rows are looked at in one go. */
export interface AuditPage {
  readonly events: readonly ChainedEvent[];
  /** The event after which the next page begins; unset when there is none. */
  readonly nextAfter: number | undefined;
}

/** The audit trail as a registry keeps it. */
export interface AuditTrail {
  /** Records an event that changes nothing else, such as a refusal. */
  recordEvent(event: AuditEvent): Promise<void>;
  /** Audit events in the order they were recorded, those after sequence number `after`. */
  listEvents(page: { readonly after?: number; readonly limit: number }): Promise<ChainedEvent[]>;
  searchEvents(query: AuditQuery): Promise<AuditPage>;
  /**
   * Deletes some of the oldest events, those before the first that is not older than `beforeMs`, and records with
   * `event` up to which. How many; 0 when none is left.
   */
  pruneEvents(beforeMs: number, event: AuditEvent): Promise<number>;
}
