import type { Logger } from 'pino';
import { auditEvent, issuerActor } from './audit.ts';
import type { AuditTrail } from './audit-trail.ts';

const DAY_MS = 86_400_000;

/** Between two looks for rows that are old enough. Ours: each that finds some adds a row of its own. */
const PRUNE_INTERVAL_MS = 6 * 3_600_000;

export interface AuditRetentionOptions {
  readonly trail: Pick<AuditTrail, 'pruneEvents'>;
  /** 0 keeps all. */
  readonly retentionDays: number;
  readonly now: () => number;
  readonly log?: Logger | undefined;
  readonly intervalMs?: number;
}

export interface AuditRetention {
  /** Deletes what is too old, in small acts. How many rows. */
  prune(): Promise<number>;
  close(): void;
}

/** Deletes audit rows by age, at once and from then on. A failure is logged, and the next time tries again. */
export function keepAudit(options: AuditRetentionOptions): AuditRetention {
  const { trail, retentionDays, now, log, intervalMs = PRUNE_INTERVAL_MS } = options;
  let isClosed = false;

  async function prune(): Promise<number> {
    if (retentionDays === 0) return 0;
    const beforeMs = now() - retentionDays * DAY_MS;
    let rows = 0;
    for (let pruned = -1; pruned !== 0 && !isClosed; rows += pruned) {
      const event = auditEvent({ atMs: now(), actor: issuerActor, action: 'audit.prune' });
      pruned = await trail.pruneEvents(beforeMs, event);
    }
    return rows;
  }

  function pruneAndLog(): void {
    prune().then(
      (rows) => {
        if (rows > 0) log?.info({ event: 'audit_pruned', rows }, 'audit rows past their retention deleted');
      },
      (error: unknown) => {
        if (!isClosed) log?.warn({ event: 'audit_not_pruned', err: error }, 'audit rows were not deleted');
      },
    );
  }

  const timer = setInterval(pruneAndLog, intervalMs).unref();
  pruneAndLog();
  return {
    prune,
    close() {
      isClosed = true;
      clearInterval(timer);
    },
  };
}
