import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import type { AuditEvent } from '@fleetgate/broker';
import { FleetgateError } from '@fleetgate/shared';
import { destination, type Logger } from 'pino';

/**
 * Bytes that may wait for the disk: some 20,000 events, so that a disk that stalls for a few seconds in a storm of
 * reconnects loses none. What comes beyond them is lost and counted: the broker does not wait for a disk.
 */
const MAX_WAITING_BYTES = 4_194_304;

export interface AuditFile {
  /** Takes one event; never waits and never throws. */
  readonly write: (event: AuditEvent) => void;
  /** Events that were not written, since the start. */
  lost(): number;
  /** Writes what waits, as far as the disk takes it. */
  close(): Promise<void>;
}

/**
 * Opens a file that events are appended to, a line of JSON each; made with mode 0600.
 * @throws FleetgateError `config_invalid` when it cannot be written, is no file, or others may write to it
 */
export function openAuditFile(path: string, log: Pick<Logger, 'error'>): AuditFile {
  return appendEvents(openForAppending(path), path, log);
}

/** Appends to what is open. While the disk refuses, events wait, and are written when it takes them again. */
export function appendEvents(
  descriptor: number,
  path: string,
  log: Pick<Logger, 'error'>,
  maxWaitingBytes = MAX_WAITING_BYTES,
): AuditFile {
  const stream = destination({ dest: descriptor, sync: false, maxLength: maxWaitingBytes });
  let lost = 0;
  let hasFailed = false;

  stream.on('drop', lose);
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (hasFailed) return;
    hasFailed = true;
    log.error(
      { event: 'audit_file_failed', file: path, code: error.code },
      'the audit file cannot be written',
    );
  });
  stream.on('drain', () => {
    hasFailed = false;
  });

  function lose(): void {
    lost += 1;
    if (lost > 1) return;
    log.error({ event: 'audit_events_lost', file: path }, 'audit events are lost; /metrics counts them');
  }

  return Object.freeze({
    write(event: AuditEvent) {
      try {
        stream.write(`${JSON.stringify(event)}\n`);
      } catch {
        // Closed already.
        lose();
      }
    },
    lost: () => lost,
    close: () =>
      new Promise<void>((resolve) => {
        stream.once('close', resolve);
        stream.once('error', () => resolve());
        stream.end();
      }),
  });
}

function openForAppending(path: string): number {
  let descriptor: number;
  try {
    // Opening a pipe would wait for its reader.
    if (statSync(path, { throwIfNoEntry: false })?.isFile() === false) throw invalid(path, 'is not a file');
    descriptor = openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o600);
  } catch (error) {
    if (error instanceof FleetgateError) throw error;
    throw invalid(path, `cannot be opened (${(error as NodeJS.ErrnoException).code})`);
  }
  if ((fstatSync(descriptor).mode & 0o022) === 0) return descriptor;
  closeSync(descriptor);
  throw invalid(path, `can be written by others; run: chmod 600 ${path}`);
}

function invalid(path: string, problem: string): FleetgateError {
  return new FleetgateError('config_invalid', `broker.audit_file: ${path} ${problem}`);
}
