import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { FleetgateError } from '@fleetgate/shared';
import Sqlite from 'better-sqlite3';
import type { Checkpoint } from '../../audit-chain.ts';
import { auditReading } from '../acts/audit-events.ts';
import { asRegistryError, type Database, openForReading } from './database.ts';
import { refuseMoved } from './moved.ts';
import { actRunner } from './run-act.ts';

/** Pages copied in one go. Ours: 256 KiB, about a millisecond. */
const STEP_PAGES = 64;

export interface BackupProgress {
  readonly totalPages: number;
  readonly remainingPages: number;
}

export interface BackupReport {
  readonly bytes: number;
  readonly clients: number;
  /** Last row of its audit trail; unset for an empty one. */
  readonly checkpoint: Checkpoint | undefined;
}

/**
 * Copies a database to one file, mode 0600, while an issuer may write to it: what was committed when it begins is in
 * it. The copy is checked page by page before it takes the place of `target`. The key that encrypts the signing keys
 * is not in it.
 * @throws FleetgateError `registry_unavailable`, `registry_schema_newer`, `registry_moved`, `backup_failed`
 */
export async function backupDatabase(
  file: string,
  target: string,
  onProgress?: (progress: BackupProgress) => void,
): Promise<BackupReport> {
  const source = openForReading(file, { mayBeOlder: true });
  const temporary = temporaryBeside(target);
  try {
    refuseSame(file, target);
    refuseMoved(source, file);
    await copyDatabase(source, temporary, onProgress);
    const report = checkCopy(temporary);
    renameSync(temporary, target);
    syncDirectory(dirname(target));
    return report;
  } catch (error) {
    throw asBackupError(target, error);
  } finally {
    source.close();
    removeDatabase(temporary);
  }
}

/** Copies what `source` sees into a new file, mode 0600, in one consistent state. */
export async function copyDatabase(
  source: Database,
  file: string,
  onProgress?: (progress: BackupProgress) => void,
): Promise<void> {
  closeSync(openSync(file, 'wx', 0o600));
  // With a read transaction open, what others write meanwhile is not seen; without, each such write begins it anew.
  source.exec('BEGIN');
  try {
    source.prepare('SELECT count(*) FROM sqlite_schema').get();
    await source.backup(file, {
      progress: (progress) => {
        onProgress?.(progress);
        return STEP_PAGES;
      },
    });
  } finally {
    source.exec('COMMIT');
  }
}

/** A name for a file that is to take the place of `target`. */
export function temporaryBeside(target: string): string {
  return join(dirname(target), `.${basename(target)}.${randomBytes(8).toString('hex')}`);
}

/** Removes a database with its -wal and -shm, if it is there. */
export function removeDatabase(file: string): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${file}${suffix}`, { force: true });
}

export function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** @throws FleetgateError `backup_failed` when the pages of the database are not whole */
export function checkPagesOf(database: Database, file: string): void {
  if (database.pragma('integrity_check(1)', { simple: true }) === 'ok') return;
  throw new FleetgateError('backup_failed', `${file} is damaged`);
}

function checkCopy(file: string): BackupReport {
  const copy = new Sqlite(file);
  try {
    // One file: nothing of it in a -wal.
    copy.pragma('journal_mode = DELETE');
    checkPagesOf(copy, file);
    const clients = copy.prepare<[], number>('SELECT count(*) FROM clients').pluck().get() as number;
    const hasChain = copy.prepare("SELECT 1 FROM pragma_table_info('audit') WHERE name = 'hash'").get();
    const checkpoint = hasChain === undefined ? undefined : actRunner(copy)(auditReading.checkpoint());
    return { bytes: statSync(file).size, clients, checkpoint };
  } finally {
    copy.close();
    const descriptor = openSync(file, 'r+');
    fsyncSync(descriptor);
    closeSync(descriptor);
  }
}

function refuseSame(file: string, target: string): void {
  const there = statSync(target, { throwIfNoEntry: false });
  if (there === undefined) return;
  const source = statSync(file);
  if (there.isFile() && !(there.ino === source.ino && there.dev === source.dev)) return;
  throw new FleetgateError('backup_failed', `${target} is not a file to write a backup to; name another`);
}

function asBackupError(target: string, error: unknown): unknown {
  if (error instanceof FleetgateError) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code === undefined) return asRegistryError(error);
  return new FleetgateError('backup_failed', `cannot write the backup ${target} (${code})`, { cause: error });
}
