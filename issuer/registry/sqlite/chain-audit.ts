import type { AuditAction } from '../../audit.ts';
import { chainHash, GENESIS_HASH } from '../../audit-chain.ts';
import type { Database } from './database.ts';

/** Rows read at once. Ours: some megabytes. */
const PAGE_ROWS = 10_000;

interface UnchainedRow {
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

/** The audit trail with a hash in each row. Rows from before are chained as they are found. */
export function chainAudit(database: Database): void {
  database.exec(`
    CREATE TABLE chained_audit (
      -- Without gaps: the number is part of what is hashed.
      sequence INTEGER PRIMARY KEY,
      at_ms INTEGER NOT NULL,
      actor TEXT NOT NULL,
      address TEXT,
      action TEXT NOT NULL,
      target TEXT,
      result TEXT NOT NULL,
      request_id TEXT,
      token_id TEXT,
      hash BLOB NOT NULL CHECK (length(hash) = 32)
    ) STRICT;`);
  copyChained(database);
  database.exec(`
    DROP TABLE audit;
    ALTER TABLE chained_audit RENAME TO audit;
    -- Few rows: what has been deleted is found without a look at all others.
    CREATE INDEX audit_prunes ON audit (sequence) WHERE action = 'audit.prune';
    CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
    BEGIN
      SELECT RAISE(ABORT, 'audit rows are never changed');
    END;
    CREATE TRIGGER audit_is_deleted_by_retention_only BEFORE DELETE ON audit
    WHEN OLD.sequence > ifnull(
      (SELECT CAST(target AS INTEGER) FROM audit WHERE action = 'audit.prune' ORDER BY sequence DESC LIMIT 1), 0)
    BEGIN
      SELECT RAISE(ABORT, 'audit rows are deleted by retention only');
    END;`);
}

function copyChained(database: Database): void {
  const page = database.prepare<[number, number], UnchainedRow>(
    'SELECT * FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?',
  );
  const insert = database.prepare<unknown[]>(
    'INSERT INTO chained_audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
  );
  let previous: Uint8Array = GENESIS_HASH;
  let sequence = 0;
  for (let rows = page.all(0, PAGE_ROWS); rows.length > 0; rows = page.all(sequence, PAGE_ROWS)) {
    for (const row of rows) {
      sequence = row.sequence;
      previous = chainHash(previous, sequence, {
        atMs: row.at_ms,
        actor: row.actor,
        address: row.address ?? undefined,
        action: row.action,
        target: row.target ?? undefined,
        result: row.result,
        requestId: row.request_id ?? undefined,
        tokenId: row.token_id ?? undefined,
      });
      insert.run(...Object.values(row), previous);
    }
  }
}
