import type { AuditAction, AuditEvent } from '../../audit.ts';
import {
  type Checkpoint,
  chainHash,
  formatCheckpoint,
  GENESIS_HASH,
  hex,
  parseCheckpoint,
} from '../../audit-chain.ts';
import type { AuditPage, AuditQuery, ChainedEvent } from '../../audit-trail.ts';
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
  hash: Buffer;
  previous_hash: Buffer | null;
}

/** Rows one search looks at: some 10 ms of the event loop. */
const MAX_SEARCHED_ROWS = 20_000;

/** Rows one act deletes: some 10 ms of the event loop. */
const MAX_PRUNED_ROWS = 10_000;

/** Greater than every sequence number. */
const PAST_THE_END = Number.MAX_SAFE_INTEGER;

const withPrevious = (rows: string) => `
  SELECT found.*, previous.hash AS previous_hash
  FROM (${rows}) AS found LEFT JOIN audit AS previous ON previous.sequence = found.sequence - 1`;

const isAskedFor = `
  (@actor IS NULL OR actor = @actor) AND (@action IS NULL OR action = @action)
  AND (@target IS NULL OR target = @target) AND (@result IS NULL OR result = @result)
  AND at_ms >= @fromMs AND at_ms < @untilMs`;

export type AuditStatements = ReturnType<typeof auditStatements>;

/** The statements on the audit trail; each runs at once, in whatever transaction is open. */
export function auditStatements(database: Database) {
  const reading = auditReading(database);
  const insert = database.prepare<unknown[]>(`
    INSERT INTO audit (sequence, at_ms, actor, address, action, target, result, request_id, token_id, hash)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
  const last = database
    .prepare<[], [sequence: number, hash: Buffer]>(
      'SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1',
    )
    .raw();
  const lastAtMs = database
    .prepare<[], number>('SELECT at_ms FROM audit ORDER BY sequence DESC LIMIT 1')
    .pluck();
  const firstKept = database
    .prepare<[number, number], number | null>(
      'SELECT min(sequence) FROM (SELECT sequence, at_ms FROM audit ORDER BY sequence LIMIT ?) WHERE at_ms >= ?',
    )
    .pluck();
  const lastLooked = database
    .prepare<[number], number | null>(
      'SELECT max(sequence) FROM (SELECT sequence FROM audit ORDER BY sequence LIMIT ?)',
    )
    .pluck();
  const hashOf = database.prepare<[number], Buffer>('SELECT hash FROM audit WHERE sequence = ?').pluck();
  const remove = database.prepare<[number]>('DELETE FROM audit WHERE sequence <= ?');

  // Of this transaction: between two of them another process may write.
  let known: readonly [sequence: number, hash: Uint8Array] | undefined;

  function insertEvent(event: AuditEvent): void {
    const [before, previous] = known ?? last.get() ?? [0, GENESIS_HASH];
    const sequence = before + 1;
    const hash = chainHash(previous, sequence, event);
    insert.run(
      sequence,
      event.atMs,
      event.actor,
      event.address ?? null,
      event.action,
      event.target ?? null,
      event.result,
      event.requestId ?? null,
      event.tokenId ?? null,
      hash,
    );
    known = [sequence, hash];
  }

  return {
    ...reading,
    /** When the last act was recorded; 0 before the first. */
    lastAtMs: (): number => lastAtMs.get() ?? 0,
    /** Chains the event to the last row. */
    insert: insertEvent,
    /** To be called in each transaction before the first insert, and when an act of it was undone. */
    forgetLast(): void {
      known = undefined;
    },
    /** Deletes rows at the beginning and records up to which: the chain then begins at that hash. */
    prune(beforeMs: number, event: AuditEvent): number {
      const kept = firstKept.get(MAX_PRUNED_ROWS, beforeMs);
      const sequence = typeof kept === 'number' ? kept - 1 : (lastLooked.get(MAX_PRUNED_ROWS) ?? 0);
      const hash = hashOf.get(sequence);
      if (hash === undefined) return 0;
      // First the row that allows it; after it the trail is never empty.
      insertEvent({ ...event, target: formatCheckpoint({ sequence, hash: hex(hash) }) });
      return remove.run(sequence).changes;
    },
  };
}

export type AuditReading = ReturnType<typeof auditReading>;

/** The statements that only read. */
export function auditReading(database: Database) {
  const rowsAfter = 'SELECT * FROM audit WHERE sequence > @after ORDER BY sequence';
  const rowsBefore = 'SELECT * FROM audit WHERE sequence < @after ORDER BY sequence DESC';
  const list = database.prepare<{ after: number; limit: number }, AuditRow>(
    `${withPrevious(`${rowsAfter} LIMIT @limit`)} ORDER BY found.sequence`,
  );
  const search = (rows: string, direction: 'ASC' | 'DESC') =>
    database.prepare<object, AuditRow>(
      `${withPrevious(`
        SELECT * FROM (${rows} LIMIT ${MAX_SEARCHED_ROWS}) WHERE ${isAskedFor}
        ORDER BY sequence ${direction} LIMIT @limit`)} ORDER BY found.sequence ${direction}`,
    );
  const oldest = search(rowsAfter, 'ASC');
  const newest = search(rowsBefore, 'DESC');
  const bounds = database
    .prepare<[], [first: number | null, last: number | null]>(
      'SELECT (SELECT min(sequence) FROM audit), (SELECT max(sequence) FROM audit)',
    )
    .raw();
  const lastRow = database
    .prepare<[], [sequence: number, hash: Buffer]>(
      'SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1',
    )
    .raw();
  const beginning = database
    .prepare<[], string>(
      "SELECT target FROM audit WHERE action = 'audit.prune' ORDER BY sequence DESC LIMIT 1",
    )
    .pluck();

  /** The first row's predecessor is gone; which it was says the last pruning, or nothing where it is row 1. */
  function previousOf(row: AuditRow): string {
    if (row.previous_hash !== null) return hex(row.previous_hash);
    const pruned = parseCheckpoint(beginning.get());
    return pruned?.sequence === row.sequence - 1 ? pruned.hash : hex(GENESIS_HASH);
  }

  const toEvent = (row: AuditRow): ChainedEvent => ({
    sequence: row.sequence,
    atMs: row.at_ms,
    actor: row.actor,
    address: row.address ?? undefined,
    action: row.action,
    target: row.target ?? undefined,
    result: row.result,
    requestId: row.request_id ?? undefined,
    tokenId: row.token_id ?? undefined,
    previousHash: previousOf(row),
    hash: hex(row.hash),
  });

  return {
    list: (after: number, limit: number): ChainedEvent[] => list.all({ after, limit }).map(toEvent),
    search(query: AuditQuery): AuditPage {
      const isNewest = query.order === 'newest';
      const after = query.after ?? (isNewest ? PAST_THE_END : 0);
      const rows = (isNewest ? newest : oldest).all({
        after,
        limit: query.limit,
        actor: query.actor ?? null,
        action: query.action ?? null,
        target: query.target ?? null,
        result: query.result ?? null,
        fromMs: query.fromMs ?? Number.MIN_SAFE_INTEGER,
        untilMs: query.untilMs ?? Number.MAX_SAFE_INTEGER,
      });
      const [first, last] = bounds.get() ?? [];
      // Numbers have no gaps, so where a search ended can be counted.
      const ended = isNewest
        ? Math.min(after, (last ?? 0) + 1) - MAX_SEARCHED_ROWS
        : Math.max(after, (first ?? 1) - 1) + MAX_SEARCHED_ROWS;
      const reached = rows.length === query.limit ? (rows.at(-1)?.sequence ?? ended) : ended;
      const isMore = isNewest ? reached > (first ?? 0) : reached < (last ?? 0);
      return { events: rows.map(toEvent), nextAfter: isMore ? reached : undefined };
    },
    /** Numbers have no gaps. */
    count(): number {
      const [first, last] = bounds.get() ?? [];
      return typeof first === 'number' && typeof last === 'number' ? last - first + 1 : 0;
    },
    /** The last row; unset for an empty trail. */
    checkpoint(): Checkpoint | undefined {
      const row = lastRow.get();
      return row && { sequence: row[0], hash: hex(row[1]) };
    },
  };
}
