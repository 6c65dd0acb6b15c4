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
import type { FieldChange } from '../../field-changes.ts';
import { type Act, type Statement, sql, type Value } from './statement.ts';
import type { Store } from './store.ts';

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
  /** JSON. Not there in a schema of PostgreSQL on which no issuer of this version has started. */
  changes?: string | null;
  hash: Buffer;
  previous_hash: Buffer | null;
}

/** Rows one search looks at: some 10 ms. */
const MAX_SEARCHED_ROWS = 20_000;

/** Rows one act deletes: some 10 ms. */
const MAX_PRUNED_ROWS = 10_000;

/** Greater than every sequence number. */
const PAST_THE_END = Number.MAX_SAFE_INTEGER;

const insert = sql<Value[]>(`
  INSERT INTO audit (sequence, at_ms, actor, address, action, target, result, request_id, token_id, changes,
    hash)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
const last = sql<[], { sequence: number; hash: Buffer; at_ms: number }>(
  'SELECT sequence, hash, at_ms FROM audit ORDER BY sequence DESC LIMIT 1',
);
const firstKept = sql<[limit: number, beforeMs: number], { sequence: number | null }>(`
  SELECT min(sequence) AS sequence FROM (SELECT sequence, at_ms FROM audit ORDER BY sequence LIMIT ?) AS looked
  WHERE at_ms >= ?`);
const lastLooked = sql<[limit: number], { sequence: number | null }>(`
  SELECT max(sequence) AS sequence FROM (SELECT sequence FROM audit ORDER BY sequence LIMIT ?) AS looked`);
const hashOf = sql<[sequence: number], { hash: Buffer }>('SELECT hash FROM audit WHERE sequence = ?');
const remove = sql<[sequence: number]>('DELETE FROM audit WHERE sequence <= ?');

/** The last row of the trail, to which the next is chained. */
export interface AuditEnd {
  readonly sequence: number;
  readonly hash: Uint8Array;
  readonly atMs: number;
}

/** Of a trail without rows. */
export const EMPTY_TRAIL: AuditEnd = { sequence: 0, hash: GENESIS_HASH, atMs: 0 };

/** The row after `end`. */
export function chained(
  end: AuditEnd,
  event: AuditEvent,
): { readonly end: AuditEnd; readonly values: Value[] } {
  const sequence = end.sequence + 1;
  const hash = chainHash(end.hash, sequence, event);
  const { atMs, actor, address = null, action, target = null, result } = event;
  const { requestId = null, tokenId = null } = event;
  const changes = event.changes === undefined ? null : JSON.stringify(event.changes);
  return {
    end: { sequence, hash, atMs },
    values: [sequence, atMs, actor, address, action, target, result, requestId, tokenId, changes, hash],
  };
}

/** The audit trail, within an act. */
export const auditTrail = {
  *end(): Act<AuditEnd> {
    const row = yield* last.get();
    return row === undefined ? EMPTY_TRAIL : { sequence: row.sequence, hash: row.hash, atMs: row.at_ms };
  },
  *insert(values: readonly Value[]): Act<void> {
    yield* insert.run(...values);
  },
  /** Deletes rows at the beginning and records up to which: the chain then begins at that hash. */
  *prune(beforeMs: number, event: AuditEvent, { record, flushRecords }: Store): Act<number> {
    const kept = (yield* firstKept.get(MAX_PRUNED_ROWS, beforeMs))?.sequence ?? undefined;
    const looked = (yield* lastLooked.get(MAX_PRUNED_ROWS))?.sequence ?? 0;
    const sequence = kept === undefined ? looked : kept - 1;
    const row = yield* hashOf.get(sequence);
    if (row === undefined) return 0;
    // First the row that allows it; after it the trail is never empty.
    yield* record({ ...event, target: formatCheckpoint({ sequence, hash: hex(row.hash) }) });
    yield* flushRecords();
    return yield* remove.run(sequence);
  },
};

const withPrevious = (rows: string) => `
  SELECT found.*, previous.hash AS previous_hash
  FROM (${rows}) AS found LEFT JOIN audit AS previous ON previous.sequence = found.sequence - 1`;

// The comparison first: by it the store knows what type each is.
const isAskedFor = `
  (actor = @actor OR @actor IS NULL) AND (action = @action OR @action IS NULL)
  AND (target = @target OR @target IS NULL) AND (result = @result OR @result IS NULL)
  AND at_ms >= @fromMs AND at_ms < @untilMs`;

type Search = Statement<[Record<string, Value>], AuditRow>;

const search = (rows: string, direction: 'ASC' | 'DESC'): Search =>
  sql(
    `${withPrevious(`
      SELECT * FROM (${rows} LIMIT ${MAX_SEARCHED_ROWS}) AS looked WHERE ${isAskedFor}
      ORDER BY sequence ${direction} LIMIT @limit`)} ORDER BY found.sequence ${direction}`,
  );

const rowsAfter = 'SELECT * FROM audit WHERE sequence > @after ORDER BY sequence';
const rowsBefore = 'SELECT * FROM audit WHERE sequence < @after ORDER BY sequence DESC';
const list = sql<[{ after: number; limit: number }], AuditRow>(
  `${withPrevious(`${rowsAfter} LIMIT @limit`)} ORDER BY found.sequence`,
);
const oldest = search(rowsAfter, 'ASC');
const newest = search(rowsBefore, 'DESC');
const bounds = sql<[], { first: number | null; last: number | null }>(
  'SELECT (SELECT min(sequence) FROM audit) AS first, (SELECT max(sequence) FROM audit) AS last',
);
const beginning = sql<[], { target: string }>(
  "SELECT target FROM audit WHERE action = 'audit.prune' ORDER BY sequence DESC LIMIT 1",
);

function toEvent(row: AuditRow, previousHash: string): ChainedEvent {
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
    ...(typeof row.changes === 'string' ? { changes: toChanges(row.changes) } : {}),
    previousHash,
    hash: hex(row.hash),
  };
}

/** Of text that is no JSON none, which is never recorded, so that the row does not fit its hash. */
function toChanges(text: string): FieldChange[] {
  try {
    return JSON.parse(text) as FieldChange[];
  } catch {
    return [];
  }
}

/** The first row's predecessor is gone; which it was says the last pruning, or nothing where it is row 1. */
function* toEvents(rows: readonly AuditRow[]): Act<ChainedEvent[]> {
  const isFirstThere = rows.some(({ previous_hash }) => previous_hash === null);
  const pruned = isFirstThere ? parseCheckpoint((yield* beginning.get())?.target) : undefined;
  return rows.map((row) => {
    if (row.previous_hash !== null) return toEvent(row, hex(row.previous_hash));
    return toEvent(row, pruned?.sequence === row.sequence - 1 ? pruned.hash : hex(GENESIS_HASH));
  });
}

/** What only reads the audit trail, within an act. */
export const auditReading = {
  *list(after: number, limit: number): Act<ChainedEvent[]> {
    return yield* toEvents(yield* list.all({ after, limit }));
  },
  *search(query: AuditQuery): Act<AuditPage> {
    const isNewest = query.order === 'newest';
    const after = query.after ?? (isNewest ? PAST_THE_END : 0);
    const rows = yield* (isNewest ? newest : oldest).all({
      after,
      limit: query.limit,
      actor: query.actor ?? null,
      action: query.action ?? null,
      target: query.target ?? null,
      result: query.result ?? null,
      fromMs: query.fromMs ?? Number.MIN_SAFE_INTEGER,
      untilMs: query.untilMs ?? Number.MAX_SAFE_INTEGER,
    });
    const { first = null, last: end = null } = (yield* bounds.get()) ?? {};
    // Numbers have no gaps, so where a search ended can be counted.
    const ended = isNewest
      ? Math.min(after, (end ?? 0) + 1) - MAX_SEARCHED_ROWS
      : Math.max(after, (first ?? 1) - 1) + MAX_SEARCHED_ROWS;
    const reached = rows.length === query.limit ? (rows.at(-1)?.sequence ?? ended) : ended;
    const isMore = isNewest ? reached > (first ?? 0) : reached < (end ?? 0);
    return { events: yield* toEvents(rows), nextAfter: isMore ? reached : undefined };
  },
  /** Numbers have no gaps. */
  *count(): Act<number> {
    const { first = null, last: end = null } = (yield* bounds.get()) ?? {};
    return first === null || end === null ? 0 : end - first + 1;
  },
  /** The last row; unset for an empty trail. */
  *checkpoint(): Act<Checkpoint | undefined> {
    const row = yield* last.get();
    return row && { sequence: row.sequence, hash: hex(row.hash) };
  },
};
