import { type AuditEnd, auditTrail, chained } from '../acts/audit-events.ts';
import { settled } from '../acts/statement.ts';
import type { Store } from '../acts/store.ts';

export interface AuditWriter extends Pick<Store, 'record' | 'flushRecords' | 'lastActMs'> {
  /** To be called in each transaction before the first act, and when an act of it was undone. */
  forgetEnd(): void;
}

/** Writes each event of an act as it is recorded. */
export function auditWriter(): AuditWriter {
  // Of this transaction: between two of them another process may write.
  let known: AuditEnd | undefined;
  // Of this process, whose clock may have been set back since; other processes are known by the last row.
  let latestMs = 0;

  return {
    *record(event) {
      const { end, values } = chained(known ?? (yield* auditTrail.end()), event);
      yield* auditTrail.insert(values);
      latestMs = Math.max(latestMs, event.atMs);
      known = end;
    },
    flushRecords: () => settled(undefined),
    *lastActMs() {
      known ??= yield* auditTrail.end();
      return Math.max(latestMs, known.atMs);
    },
    forgetEnd() {
      known = undefined;
    },
  };
}
