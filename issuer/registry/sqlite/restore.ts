import { existsSync, linkSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { FleetgateError } from '@fleetgate/shared';
import Sqlite from 'better-sqlite3';
import { auditEvent, operatorActor } from '../../audit.ts';
import { type Checkpoint, formatCheckpoint } from '../../audit-chain.ts';
import { expiring } from '../../revocation.ts';
import { auditReading, auditTrail } from '../acts/audit-events.ts';
import { revocations } from '../acts/revocations.ts';
import { auditWriter } from './audit-writer.ts';
import { checkPagesOf, copyDatabase, removeDatabase, syncDirectory, temporaryBeside } from './backup.ts';
import { carryOver, compareClients } from './carry-over.ts';
import { type Database, openDatabase, openForReading } from './database.ts';
import { forgetMoved, movedTo } from './moved.ts';
import { actRunner } from './run-act.ts';

/** Names in a list of the report; beyond them only the number is told. */
export const MAX_REPORTED_NAMES = 100;

/** Names of clients, the first of them, and how many there are. */
export interface NamedClients {
  readonly count: number;
  readonly names: readonly string[];
}

export interface RestoreReport {
  /** When the last act in the backup was recorded, milliseconds since 1970; 0 for none. */
  readonly backupAtMs: number;
  /** Where the trail of the backup ended. */
  readonly checkpoint: Checkpoint | undefined;
  /**
   * What was known of the time after the backup: `all`, from the database that was replaced; `some`, from one that does
   * not continue the backup; `nothing`.
   */
  readonly known: 'all' | 'some' | 'nothing';
  readonly carriedRevocations: number;
  /** Unless all was known: every token issued before this moment is revoked, seconds since 1970. */
  readonly revokedBefore: number | undefined;
  /** Deleted since the backup, and there again; registered since, and gone; changed since, and as they were. */
  readonly back: NamedClients;
  readonly gone: NamedClients;
  readonly changed: NamedClients;
  /** Where the database that was replaced is now. */
  readonly asideFile: string | undefined;
}

/**
 * Puts a backup in the place of a database on which nothing runs. No token that was revoked is alive after it: the
 * revocations made since are taken from the database that is replaced, if its trail continues that of the backup;
 * else every token issued so far is revoked. The audit trail goes on from the backup's with the restore.
 * @throws FleetgateError `data_directory_in_use`, `backup_failed`, `registry_unavailable`, `registry_schema_newer`
 */
export async function restoreDatabase(backup: string, file: string, nowMs: number): Promise<RestoreReport> {
  const temporary = temporaryBeside(file);
  try {
    await copyBackup(backup, temporary);
    const hasPrevious = settlePrevious(file);
    const restored = await openDatabase(temporary);
    const hasMoved = movedTo(restored) !== undefined || (hasPrevious && isMoved(file));
    forgetMoved(restored);
    let report: Omit<RestoreReport, 'asideFile'>;
    try {
      report = restore(restored, { previousFile: hasPrevious ? file : undefined, hasMoved }, nowMs);
    } finally {
      restored.close();
    }
    return { ...report, asideFile: swap(temporary, file, nowMs) };
  } finally {
    removeDatabase(temporary);
  }
}

function isMoved(file: string): boolean {
  let database: Database | undefined;
  try {
    database = openForReading(file, { mayBeOlder: true });
    return movedTo(database) !== undefined;
  } catch {
    // What cannot be read is no source of what is known either.
    return false;
  } finally {
    database?.close();
  }
}

async function copyBackup(backup: string, temporary: string): Promise<void> {
  if (!existsSync(backup)) {
    throw new FleetgateError('registry_unavailable', `there is no backup ${backup}; name another file`);
  }
  const source = openForReading(backup, {
    mayBeOlder: true,
    advice: "name one that 'fleetgate backup' wrote",
  });
  try {
    checkPagesOf(source, backup);
    await copyDatabase(source, temporary);
  } finally {
    source.close();
  }
}

/**
 * Brings the database that is to be replaced into its one file. Whether it can be read.
 * @throws FleetgateError `data_directory_in_use` when another process has it open
 */
function settlePrevious(file: string): boolean {
  if (!existsSync(file)) return false;
  let previous: Database | undefined;
  try {
    previous = new Sqlite(file, { fileMustExist: true, timeout: 0 });
    // Takes the whole file, which another process that has it open does not let go.
    previous.pragma('locking_mode = EXCLUSIVE');
    previous.exec('BEGIN IMMEDIATE; COMMIT');
    previous.pragma('wal_checkpoint(TRUNCATE)');
    return previous.pragma('quick_check(1)', { simple: true }) === 'ok';
  } catch (error) {
    if (error instanceof Sqlite.SqliteError && error.code.startsWith('SQLITE_BUSY')) {
      throw new FleetgateError(
        'data_directory_in_use',
        `another process uses ${file}; stop it, and restore again`,
      );
    }
    return false;
  } finally {
    closeQuietly(previous);
  }
}

function closeQuietly(database: Database | undefined): void {
  try {
    database?.close();
  } catch {
    // A damaged one; it is put aside as it is.
  }
}

function restore(
  restored: Database,
  { previousFile, hasMoved }: { readonly previousFile: string | undefined; readonly hasMoved: boolean },
  nowMs: number,
): Omit<RestoreReport, 'asideFile'> {
  const run = actRunner(restored);
  const audit = auditWriter();
  const checkpoint = run(auditReading.checkpoint());
  const { atMs: backupAtMs } = run(auditTrail.end());
  const previous = previousFile === undefined ? undefined : attach(restored, previousFile);
  const lastBefore = previous?.checkpoint;
  // Of a registry that went on elsewhere nobody here knows what was revoked there.
  const isContinued = !hasMoved && previous !== undefined && holds(restored, checkpoint);
  const known = isContinued ? 'all' : previous === undefined ? 'nothing' : 'some';
  try {
    return restored
      .transaction(() => {
        const carriedRevocations = previous === undefined ? 0 : carryOver(restored, nowMs);
        const act = { atMs: nowMs, actor: operatorActor } as const;
        const target = lastBefore && formatCheckpoint(lastBefore);
        run(audit.record(auditEvent({ ...act, action: 'database.restore', target })));
        let revokedBefore: number | undefined;
        if (known !== 'all') {
          // Also what was issued in this very second.
          revokedBefore = Math.floor(nowMs / 1000) + 1;
          const revocation = { kind: 'issued_before', atSeconds: revokedBefore } as const;
          run(revocations.insert(expiring(revocation, revokedBefore), nowMs));
          run(audit.record(auditEvent({ ...act, action: 'issued_before.revoke' })));
        }
        const clients = compareClients(restored, isContinued);
        return { backupAtMs, checkpoint, known, carriedRevocations, revokedBefore, ...clients } as const;
      })
      .immediate();
  } finally {
    if (previous !== undefined) restored.exec('DETACH previous');
  }
}

/** Makes the tables of the replaced database readable as `previous.…`; unset when it is none of ours. */
function attach(restored: Database, file: string): { checkpoint: Checkpoint | undefined } | undefined {
  const probe = openPrevious(file);
  if (probe === undefined) return undefined;
  const checkpoint = actRunner(probe)(auditReading.checkpoint());
  probe.close();
  restored.prepare('ATTACH ? AS previous').run(file);
  return { checkpoint };
}

function openPrevious(file: string): Database | undefined {
  try {
    return openForReading(file);
  } catch {
    return undefined;
  }
}

/** Whether the replaced database has the last row of the backup, and so all that came after it. */
function holds(restored: Database, checkpoint: Checkpoint | undefined): boolean {
  if (checkpoint === undefined) return false;
  const hash = restored
    .prepare<[number], Buffer>('SELECT hash FROM previous.audit WHERE sequence = ?')
    .pluck()
    .get(checkpoint.sequence);
  return hash?.toString('hex') === checkpoint.hash;
}

/** Where the replaced database is now. At each moment one of the two is in place. */
function swap(temporary: string, file: string, nowMs: number): string | undefined {
  let aside: string | undefined;
  if (statSync(file, { throwIfNoEntry: false }) !== undefined) {
    const moment = new Date(nowMs).toISOString().replaceAll(/[:.]/g, '-');
    aside = `${file}.before-restore-${moment}`;
    linkSync(file, aside);
    for (const suffix of ['-wal', '-shm']) {
      // Only of a damaged database; the new one must not find them.
      if (existsSync(`${file}${suffix}`)) renameSync(`${file}${suffix}`, `${aside}${suffix}`);
    }
  }
  renameSync(temporary, file);
  syncDirectory(dirname(file));
  return aside;
}
