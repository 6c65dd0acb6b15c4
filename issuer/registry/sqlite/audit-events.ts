import type { AuditAction, AuditEvent, RecordedAuditEvent } from '../../audit.ts';
import type { Database } from './database.ts';

interface AuditRow {
  sequence: number;
  at_ms: number;
  actor: string;
  address: string | null;
  action: AuditAction;
  target: string | null;
  result: string;
  request_id: string | null;
  token_id: string | null;
}

export type AuditStatements = ReturnType<typeof auditStatements>;

/** The statements on the audit trail; each runs at once, in whatever transaction is open. */
export function auditStatements(database: Database) {
  const insert = database.prepare<unknown[]>(`
    INSERT INTO audit (at_ms, actor, address, action, target, result, request_id, token_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)`);
  const list = database.prepare<[number, number], AuditRow>(
    'SELECT * FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?',
  );
  const lastAtMs = database
    .prepare<[], number>('SELECT at_ms FROM audit ORDER BY sequence DESC LIMIT 1')
    .pluck();

  return {
    /** When the last act was recorded; 0 before the first. */
    lastAtMs: (): number => lastAtMs.get() ?? 0,
    insert(event: AuditEvent): void {
      insert.run(
        event.atMs,
        event.actor,
        event.address ?? null,
        event.action,
        event.target ?? null,
        event.result,
        event.requestId ?? null,
        event.tokenId ?? null,
      );
    },
    list: (after: number, limit: number): RecordedAuditEvent[] => list.all(after, limit).map(toEvent),
  };
}

function toEvent(row: AuditRow): RecordedAuditEvent {
  return {
    sequence: row.sequence,
    atMs: row.at_ms,
    actor: row.actor,
    address: row.address ?? undefined,
    action: row.action,
    target: row.target ?? undefined,
    result: row.result,
    requestId: row.request_id ?? undefined,
    tokenId: row.token_id ?? undefined,
  };
}
