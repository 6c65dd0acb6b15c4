import { FleetgateError } from '@fleetgate/shared';
import type pg from 'pg';
import { auditEvent, operatorActor } from '../../audit.ts';
import { type Checkpoint, formatCheckpoint } from '../../audit-chain.ts';
import type { ChainedEvent } from '../../audit-trail.ts';
import { verifyChain } from '../../audit-verify.ts';
import { auditReading } from '../acts/audit-events.ts';
import { TURN } from '../postgres/audit-journal.ts';
import { asRegistryError, openClient, openPool } from '../postgres/connection.ts';
import { migrate } from '../postgres/migrations.ts';
import { type PostgresPlace, parsePostgresUrl } from '../postgres/place.ts';
import { readAct } from '../postgres/read-act.ts';
import { openPostgresRegistry } from '../postgres/registry.ts';
import { type Database, openAlone } from '../sqlite/database.ts';
import { movedTo, noteMoved } from '../sqlite/moved.ts';
import { actRunner } from '../sqlite/run-act.ts';
import { type CarriedTable, carriedTables } from './tables.ts';

/** Rows of one statement. Ours: some megabytes. */
const BATCH_ROWS = 5000;

/** Rows of the trail that are verified at once. */
const PAGE_EVENTS = 10_000;

/** How many rows there are, and how many of them are there already. */
export interface TransferProgress {
  readonly table: string;
  readonly done: number;
  readonly total: number;
}

export interface TransferReport {
  /** Rows by table; those that an earlier run has carried count. */
  readonly rows: Readonly<Record<string, number>>;
  /** The last row of the trail that was carried; unset for an empty one. */
  readonly checkpoint: Checkpoint | undefined;
  /** Whether an earlier run had begun. */
  readonly isResumed: boolean;
}

/**
 * Carries a registry from a file of SQLite to a schema of PostgreSQL that holds nothing, for when no issuer runs on
 * either: nobody writes to the file meanwhile, and no issuer opens the schema before all is there and was compared, by
 * counts and by the audit chain. What was broken off goes on where it was.
 * @throws FleetgateError `transfer_failed`, `data_directory_in_use`, `registry_unavailable`, `registry_schema_newer`, `config_invalid`
 */
export async function transferToPostgres(
  file: string,
  database: string,
  { nowMs, onProgress }: { readonly nowMs: number; onProgress?(progress: TransferProgress): void },
): Promise<TransferReport> {
  const place = parsePostgresUrl(database);
  const source = openAlone(file);
  const pool = openPool(place, { isPatient: true });
  let turn: Turn | undefined;
  try {
    await migrate(pool, place, { mayBeUnfinished: true });
    turn = await takeTurn(place);
    const isResumed = await begin(pool, place, source);
    const totals = new Map(carriedTables.map(({ name }) => [name, countOf(source, name)]));
    for (const table of carriedTables) {
      const total = totals.get(table.name) ?? 0;
      await carry(source, pool, table, (done) => {
        turn?.mustBeHeld();
        onProgress?.({ table: table.name, done, total });
      });
    }
    await compare(pool, totals);
    const checkpoint = actRunner(source)(auditReading.checkpoint());
    await verify(pool, checkpoint);
    turn.mustBeHeld();
    // Before the schema is open to issuers, so that there is no moment at which both may serve.
    noteMoved(source, place.name, nowMs);
    source.exec('COMMIT');
    await finish(source, pool);
    await turn.end();
    await record(database, checkpoint, nowMs);
    return { rows: Object.fromEntries(totals), checkpoint, isResumed };
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === undefined ? error : asRegistryError(error);
  } finally {
    await turn?.end();
    await pool.end();
    source.close();
  }
}

interface Turn {
  /** @throws FleetgateError `transfer_failed` when its connection was lost, and with it the turn */
  mustBeHeld(): void;
  end(): Promise<void>;
}

/**
 * Takes the turn to write for as long as all takes: nobody else carries to the schema, and an issuer that has opened it
 * before waits. It ends with its connection.
 */
async function takeTurn(place: PostgresPlace): Promise<Turn> {
  const client = openClient(place);
  let isLost = false;
  client.on('error', () => {
    isLost = true;
  });
  client.on('end', () => {
    isLost = true;
  });
  await client.connect();
  try {
    await client.query(`SELECT pg_advisory_lock(${TURN})`);
  } catch (error) {
    await client.end();
    if ((error as NodeJS.ErrnoException).code !== LOCK_NOT_AVAILABLE) throw error;
    throw failed(
      `somebody else writes to ${place.name}, an issuer or another 'fleetgate migrate': end it, and run this again`,
    );
  }
  return {
    mustBeHeld() {
      if (isLost) throw failed(`the connection to ${place.name} was lost; run this again`);
    },
    end: () => client.end().catch(() => {}),
  };
}

/** SQLSTATE of a lock that did not come in time. */
const LOCK_NOT_AVAILABLE = '55P03';

/** Tells one source from another, and from itself after a change. */
function originOf(source: Database): string {
  const checkpoint = actRunner(source)(auditReading.checkpoint());
  return checkpoint === undefined ? 'empty' : formatCheckpoint(checkpoint);
}

const countOf = (source: Database, table: string) =>
  source.prepare<[], number>(`SELECT count(*) FROM ${table}`).pluck().get() ?? 0;

/** Finds how far an earlier run came, or notes that this one begins; whether there was one. */
async function begin(pool: pg.Pool, place: PostgresPlace, source: Database): Promise<boolean> {
  const moved = movedTo(source);
  if (moved !== undefined && moved !== place.name) {
    throw failed(
      `the registry was carried to ${moved}, and goes on there; that is to be copied, not this file`,
    );
  }
  const origin = originOf(source);
  const { rows } = await pool.query<{ origin: string | null }>(
    "SELECT to_regclass('transfer')::text AS origin",
  );
  if (rows[0]?.origin !== null) {
    const known = await pool.query<{ origin: string }>('SELECT origin FROM transfer LIMIT 1');
    if (known.rows[0]?.origin !== origin) {
      throw failed(`${place.name} holds part of another database; name another schema, or drop this one`);
    }
    await forgetUntold(pool);
    return true;
  }
  const used = await pool.query('SELECT 1 FROM audit UNION ALL SELECT 1 FROM clients LIMIT 1');
  if (used.rowCount !== 0) {
    throw failed(
      moved === undefined
        ? `${place.name} is in use; name another schema`
        : `the registry was carried to ${moved} already: nothing is left to do but to set issuer.database`,
    );
  }
  if (moved !== undefined) {
    throw failed(
      `the registry was carried to ${moved}, which is empty now; what was revoked there since is not in this file: ` +
        'restore a backup of it first, which revokes all tokens',
    );
  }
  await inTransaction(pool, async (client) => {
    await client.query(`
      CREATE TABLE transfer (table_name text PRIMARY KEY, origin text NOT NULL, last_key jsonb);
      DELETE FROM coap_sequence; DELETE FROM signing_key_revision`);
    const names = carriedTables.map(({ name }) => name);
    await client.query('INSERT INTO transfer (table_name, origin) SELECT unnest($1::text[]), $2', [
      names,
      origin,
    ]);
  });
  return false;
}

/** An issuer may have run on the file between two runs, and changed what the trail does not tell. */
async function forgetUntold(pool: pg.Pool): Promise<void> {
  await inTransaction(pool, async (client) => {
    for (const { name } of carriedTables.filter(({ isUntold }) => isUntold)) {
      await client.query(`DELETE FROM ${name}`);
      await client.query('UPDATE transfer SET last_key = NULL WHERE table_name = $1', [name]);
    }
  });
}

type Cell = string | number | Buffer | null;
type Row = Record<string, Cell>;

/** Carries the rows that are not there yet, a batch with the note of it in one transaction. */
async function carry(
  source: Database,
  pool: pg.Pool,
  { name, key }: CarriedTable,
  onDone: (done: number) => void,
): Promise<void> {
  const columns = await columnsOf(pool, name);
  const names = columns.map(({ column }) => `"${column}"`).join(', ');
  const order = key.join(', ');
  const marks = key.map(() => '?').join(', ');
  const page = source.prepare<Cell[], Row>(
    `SELECT ${names} FROM ${name} WHERE (${order}) > (${marks}) ORDER BY ${order} LIMIT ${BATCH_ROWS}`,
  );
  const first = source.prepare<[], Row>(`SELECT ${names} FROM ${name} ORDER BY ${order} LIMIT ${BATCH_ROWS}`);
  const insert = `INSERT INTO ${name} (${names}) SELECT * FROM unnest(${columns
    .map(({ type }, i) => `$${i + 1}::${type}[]`)
    .join(', ')})`;
  let last = await lastKeyOf(pool, name);
  let done = await countIn(pool, name);
  for (;;) {
    const rows = last === undefined ? first.all() : page.all(...last);
    onDone(done);
    const end = rows.at(-1);
    if (end === undefined) return;
    last = key.map((column) => end[column] as Cell);
    const values = columns.map(({ column }) => rows.map((row) => row[column]));
    await inTransaction(pool, async (client) => {
      await client.query(insert, values);
      await client.query('UPDATE transfer SET last_key = $2 WHERE table_name = $1', [
        name,
        written(last ?? []),
      ]);
    });
    done += rows.length;
  }
}

/** A key as JSON: bytes as an object. */
const written = (key: readonly Cell[]) =>
  JSON.stringify(key.map((cell) => (Buffer.isBuffer(cell) ? { hex: cell.toString('hex') } : cell)));

async function lastKeyOf(pool: pg.Pool, table: string): Promise<Cell[] | undefined> {
  const { rows } = await pool.query<{ last_key: (Cell | { hex: string })[] | null }>(
    'SELECT last_key FROM transfer WHERE table_name = $1',
    [table],
  );
  return rows[0]?.last_key?.map((cell) =>
    typeof cell === 'object' && cell !== null && 'hex' in cell ? Buffer.from(cell.hex, 'hex') : cell,
  );
}

async function columnsOf(pool: pg.Pool, table: string): Promise<{ column: string; type: string }[]> {
  const { rows } = await pool.query<{ column: string; type: string }>(
    `SELECT column_name AS column, udt_name AS type FROM information_schema.columns
     WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position`,
    [table],
  );
  return rows;
}

async function countIn(pool: pg.Pool, table: string): Promise<number> {
  const { rows } = await pool.query<{ rows: number }>(`SELECT count(*) AS rows FROM ${table}`);
  return rows[0]?.rows ?? 0;
}

async function compare(pool: pg.Pool, totals: ReadonlyMap<string, number>): Promise<void> {
  for (const [table, total] of totals) {
    const rows = await countIn(pool, table);
    if (rows !== total) {
      throw failed(`${table} has ${rows} rows of ${total}; drop the schema, and run this again`);
    }
  }
}

/** That the trail is whole there, and ends where the other does. */
async function verify(pool: pg.Pool, expected: Checkpoint | undefined): Promise<void> {
  async function* events(): AsyncGenerator<ChainedEvent> {
    let after = 0;
    for (;;) {
      const from = after;
      const page = await readAct(pool, () => auditReading.list(from, PAGE_EVENTS));
      yield* page;
      const last = page.at(-1);
      if (last === undefined) return;
      after = last.sequence;
    }
  }
  const verdict = await verifyChain(events(), { expected });
  if (!verdict.isIntact) {
    throw failed(
      `the audit trail is broken at row ${verdict.sequence} (${verdict.problem}): see 'fleetgate audit verify'`,
    );
  }
  if (verdict.last?.hash !== expected?.hash) throw failed('the audit trail does not end where it should');
}

/** Numbers go on behind those that were given out, and the schema is open to issuers. */
async function finish(source: Database, pool: pg.Pool): Promise<void> {
  const given = source.prepare<[string], number>('SELECT seq FROM sqlite_sequence WHERE name = ?').pluck();
  await inTransaction(pool, async (client) => {
    for (const { name, numbered } of carriedTables) {
      if (numbered === undefined) continue;
      const last = given.get(name) ?? 0;
      await client.query(
        `SELECT setval(pg_get_serial_sequence('${name}', '${numbered}'),
           greatest($1::bigint, (SELECT coalesce(max(${numbered}), 0) FROM ${name})) + 1, false)`,
        [last],
      );
    }
    await client.query('UPDATE act_clock SET latest_ms = (SELECT coalesce(max(at_ms), 0) FROM audit)');
    await client.query('DROP TABLE transfer');
  });
}

/** The first row of the trail that the file does not have. */
async function record(database: string, checkpoint: Checkpoint | undefined, atMs: number): Promise<void> {
  const registry = await openPostgresRegistry(database);
  try {
    const target = checkpoint && formatCheckpoint(checkpoint);
    await registry.recordEvent(
      auditEvent({ atMs, actor: operatorActor, action: 'database.migrate', target }),
    );
  } finally {
    await registry.close();
  }
}

async function inTransaction(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<void>): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await work(client);
    await client.query('COMMIT');
    client.release();
  } catch (error) {
    client.release(true);
    throw error;
  }
}

const failed = (message: string) => new FleetgateError('transfer_failed', message);
