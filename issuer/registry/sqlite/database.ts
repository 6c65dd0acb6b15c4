import { chmodSync, closeSync, existsSync, openSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { FleetgateError } from '@fleetgate/shared';
import Sqlite from 'better-sqlite3';
import { type Migration, migrations } from './migrations.ts';

export type Database = Sqlite.Database;

/** Marks a database file as ours (SQLite file header, offset 68): "FLTG". */
const APPLICATION_ID = 0x464c5447;

/** How long opening and closing wait for another process; nothing is served meanwhile. */
const OPEN_TIMEOUT_MS = 1000;

/**
 * How long a statement waits for another process while we serve. Ours: such a wait stops the event loop, and a commit
 * takes less. Acts wait longer, without stopping it (see `groupCommit`).
 */
const BUSY_TIMEOUT_MS = 20;

/** Tries to open while another process creates the same database. Ours: 100 tries of 50 ms, as a migration is short. */
const OPEN_TRIES = 100;
const OPEN_RETRY_MS = 50;

/** Largest file that is checked page by page at the start. Ours: about 0.1 s; beyond, the check is not cheap. */
const MAX_CHECKED_BYTES = 64 * 1024 * 1024;

/** What to do about a file that is no database. */
const OTHER_DATABASE = 'name another file for issuer.database or restore it from a backup';

/**
 * Opens the database file, made 0600 with its -wal and -shm, with the newest schema.
 * @throws FleetgateError `registry_schema_newer`, or `registry_unavailable` for a file that is damaged, foreign or
 *   cannot be opened; the message names it
 */
export async function openDatabase(file: string): Promise<Database> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return openOnce(file);
    } catch (error) {
      // Two processes that start at once: turning on WAL does not wait for the lock as statements do.
      if (!isLocked(error) || attempt === OPEN_TRIES) throw asOpenError(file, error);
      await sleep(OPEN_RETRY_MS);
    }
  }
}

/**
 * Opens a database of the newest schema, or of one up to it, for reading alone; it is left as it is. `advice` says what
 * to do about a file that is no database.
 * @throws FleetgateError `registry_schema_newer`, `registry_unavailable`
 */
export function openForReading(file: string, { mayBeOlder = false, advice = OTHER_DATABASE } = {}): Database {
  let database: Database | undefined;
  try {
    database = new Sqlite(file, { readonly: true, fileMustExist: true, timeout: OPEN_TIMEOUT_MS });
    refuseForeign(database, file);
    if (versionOf(database) === 0) throw notOurs(file);
    const version = versionOf(database);
    if (version > migrations.length) throw newer(file, version);
    if (version < migrations.length && !mayBeOlder) {
      throw new FleetgateError(
        'registry_unavailable',
        `${file} has schema version ${version}, and this Fleetgate reads ${migrations.length}; start this version on it once`,
      );
    }
    return database;
  } catch (error) {
    database?.close();
    throw asOpenError(file, error, advice);
  }
}

/**
 * Opens a database of the newest schema that nobody else can open meanwhile, in a transaction.
 * @throws FleetgateError `data_directory_in_use`, `registry_schema_newer`, `registry_unavailable`
 */
export function openAlone(file: string): Database {
  openForReading(file).close();
  const database = new Sqlite(file, { fileMustExist: true, timeout: 0 });
  try {
    database.pragma('locking_mode = EXCLUSIVE');
    database.exec('BEGIN IMMEDIATE');
    return database;
  } catch (error) {
    database.close();
    if (!isLocked(error)) throw asOpenError(file, error);
    throw new FleetgateError('data_directory_in_use', `an issuer runs on ${file}; stop it, and start again`);
  }
}

/** Whether another process holds a lock. */
export function isLocked(error: unknown): boolean {
  return error instanceof Sqlite.SqliteError && error.code.startsWith('SQLITE_BUSY');
}

/** Whether the file or its place failed, and not what was to be written to it. */
export function isFault(error: unknown): boolean {
  return error instanceof Sqlite.SqliteError && !error.code.startsWith('SQLITE_CONSTRAINT');
}

/** Forgets what was read from a file that failed, so that one that was mended is seen to be. */
export function forgetPages(database: Database): void {
  if (database.open) database.pragma('shrink_memory');
}

/** A number that changes when another process has written. */
export function dataVersion(database: Database): number {
  return database.pragma('data_version', { simple: true }) as number;
}

/** Writes what changes nothing, to see whether anything can be written. */
export function touch(database: Database): void {
  database.pragma(`application_id = ${APPLICATION_ID}`);
}

/** Any failure of SQLite as `registry_unavailable`; other errors as they are. */
export function asRegistryError(error: unknown): unknown {
  if (!(error instanceof Sqlite.SqliteError)) return error;
  return new FleetgateError('registry_unavailable', `the registry does not answer (${error.code})`, {
    cause: error,
  });
}

function openOnce(file: string): Database {
  makePrivate(file);
  const database = new Sqlite(file, { timeout: OPEN_TIMEOUT_MS });
  try {
    refuseForeign(database, file);
    database.pragma('journal_mode = WAL');
    // WAL's default, NORMAL, may lose the last commits on power loss; an answered act must not be lost.
    database.pragma('synchronous = FULL');
    database.pragma('foreign_keys = ON');
    database.pragma('trusted_schema = OFF');
    migrate(database, file);
    checkPages(database, file);
    database.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

// SQLite gives -wal and -shm the mode of the database file.
function makePrivate(file: string): void {
  closeSync(openSync(file, 'a', 0o600));
  for (const each of [file, `${file}-wal`, `${file}-shm`]) {
    if (existsSync(each) && (statSync(each).mode & 0o077) !== 0) chmodSync(each, 0o600);
  }
}

function refuseForeign(database: Database, file: string): void {
  const id = database.pragma('application_id', { simple: true });
  if (id === APPLICATION_ID) return;
  const tables = database.prepare<[], number>('SELECT count(*) FROM sqlite_schema').pluck().get();
  if (id !== 0 || tables !== 0) {
    throw notOurs(file);
  }
}

function notOurs(file: string): FleetgateError {
  return new FleetgateError(
    'registry_unavailable',
    `${file} is not a database of Fleetgate; name another file`,
  );
}

function migrate(database: Database, file: string): void {
  const newest = migrations.length;
  const version = () => versionOf(database);
  if (version() < newest) {
    // The version is read again inside: another process may have migrated while we waited for the lock.
    database
      .transaction(() => {
        for (let next = version() + 1; next <= newest; next += 1) {
          apply(migrations[next - 1] as Migration, database);
          database.pragma(`user_version = ${next}`);
        }
        database.pragma(`application_id = ${APPLICATION_ID}`);
      })
      .immediate();
  }
  if (version() > newest) throw newer(file, version());
}

function versionOf(database: Database): number {
  return database.pragma('user_version', { simple: true }) as number;
}

function newer(file: string, version: number): FleetgateError {
  return new FleetgateError(
    'registry_schema_newer',
    `${file} has schema version ${version}, this Fleetgate knows versions up to ${migrations.length}; ` +
      'start the newer Fleetgate that wrote it, or restore a backup from before the upgrade',
  );
}

function apply(step: Migration, database: Database): void {
  if (typeof step === 'string') database.exec(step);
  else step(database);
}

/** @throws FleetgateError `registry_unavailable` for a file that is damaged; a large one is not looked at */
export function checkPages(database: Database, file: string): void {
  if (statSync(file).size > MAX_CHECKED_BYTES) return;
  if (database.pragma('quick_check(1)', { simple: true }) !== 'ok') throw damaged(file);
}

function damaged(file: string, cause?: unknown): FleetgateError {
  return new FleetgateError('registry_unavailable', `${file} is damaged; restore it from a backup`, {
    cause,
  });
}

function asOpenError(file: string, error: unknown, advice = OTHER_DATABASE): unknown {
  if (error instanceof FleetgateError) return error;
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? 'unknown';
  if (code.startsWith('SQLITE_CORRUPT')) return damaged(file, error);
  const reason =
    code === 'SQLITE_NOTADB'
      ? `${file} is not a database; ${advice}`
      : `cannot open the database ${file} (${code})`;
  return new FleetgateError('registry_unavailable', reason, { cause: error });
}
