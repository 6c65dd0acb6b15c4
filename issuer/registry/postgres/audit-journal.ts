import type pg from 'pg';
import type { AuditEvent } from '../../audit.ts';
import { type AuditEnd, chained, EMPTY_TRAIL } from '../acts/audit-events.ts';
import { settled, sql, type Value } from '../acts/statement.ts';
import type { Store } from '../acts/store.ts';
import { asRegistryError } from './connection.ts';
import { hasNul } from './run-act.ts';

/** The advisory lock that is the turn of all who write to the schema. */
export const TURN = `${0x464c5447}, hashtext(current_schema())`;

/**
 * Opens a transaction and takes the turn: of all issuers on this schema one writes at a time. So a row that is numbered
 * later is committed later, which cursors and the audit chain rest on; what it reads is the newest there is.
 */
const begin = `
  BEGIN;
  SELECT pg_advisory_xact_lock(${TURN});
  SELECT clock.latest_ms, last.sequence, last.hash, last.at_ms FROM act_clock AS clock
  LEFT JOIN (SELECT sequence, hash, at_ms FROM audit ORDER BY sequence DESC LIMIT 1) AS last ON true`;

const columns =
  'sequence, at_ms, actor, address, action, target, result, request_id, token_id, changes, hash';
const insertAll = `
  WITH clock AS (UPDATE act_clock SET latest_ms = greatest(latest_ms, $12))
  INSERT INTO audit (${columns})
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::text[], $9::text[], $10::text[], $11::bytea[])`;
const insertRows = sql<Value[]>(`INSERT INTO audit (${columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);

export interface AuditJournal extends Pick<Store, 'record' | 'flushRecords' | 'lastActMs'> {
  begin(client: pg.ClientBase): Promise<void>;
  /** Adds an event to the transaction that is open. */
  add(event: AuditEvent): void;
  /** Writes what was recorded and commits; `false` when the database has not. */
  commit(client: pg.ClientBase): Promise<boolean>;
}

/** The audit events of the transaction that is open: they are written together, at its end. */
export function auditJournal(): AuditJournal {
  let end: AuditEnd = EMPTY_TRAIL;
  let latestMs = 0;
  let rows: Value[][] = [];

  function add(asked: AuditEvent): void {
    const event = withoutNul(asked);
    const next = chained(end, event);
    end = next.end;
    latestMs = Math.max(latestMs, event.atMs);
    rows.push(next.values);
  }

  async function writeRows(client: pg.ClientBase): Promise<void> {
    if (rows.length === 0) return;
    const values = columns.split(', ').map((_, column) => rows.map((row) => row[column]));
    rows = [];
    await client.query({ name: 'fleetgate_audit', text: insertAll, values: [...values, latestMs] });
  }

  return {
    add,
    async begin(client) {
      rows = [];
      try {
        const results = (await client.query(begin)) as unknown as pg.QueryResult[];
        const [row] = results.at(-1)?.rows ?? [];
        latestMs = row.latest_ms;
        end =
          row.sequence === null ? EMPTY_TRAIL : { sequence: row.sequence, hash: row.hash, atMs: row.at_ms };
      } catch (error) {
        throw asRegistryError(error);
      }
    },
    async commit(client) {
      try {
        const [, { command }] = await Promise.all([writeRows(client), client.query('COMMIT')]);
        return command === 'COMMIT';
      } catch (error) {
        throw asRegistryError(error);
      }
    },
    record: (event) => settled(add(event)),
    *flushRecords() {
      const now = rows;
      rows = [];
      yield* insertRows.runEach(now);
    },
    lastActMs: () => settled(latestMs),
  };
}

/** What a caller is called in the trail may be anything that came by the network. */
function withoutNul(event: AuditEvent): AuditEvent {
  if (!Object.values(event).some(hasNul)) return event;
  const replaced = Object.entries(event).map(([name, value]) => [
    name,
    typeof value === 'string' ? value.replaceAll('\0', '\uFFFD') : value,
  ]);
  return Object.fromEntries(replaced) as unknown as AuditEvent;
}
