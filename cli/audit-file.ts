import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import type { AuditEvent } from '@fleetgate/broker';
import { FleetgateError } from '@fleetgate/shared';
import { destination, type Logger } from 'pino';

/**
 * Bytes that may wait for the disk: some 20,000 events, so that a disk that stalls for a few seconds in a storm of
 * reconnects loses none. What comes beyond them is lost and counted: the broker does not wait for a disk.
 */
const MAX_WAITING_BYTES = 4_194_304;

/** Of a file that is made: topics and client ids in it are nobody else's business. */
const MODE = 0o600;

export interface AuditFile {
  /** Takes one event; never waits and never throws. */
  readonly write: (event: AuditEvent) => void;
  /** Events that were not written, since the start. */
  lost(): number;
  /**
   * Goes on in a file of the same name, a new one where the old was renamed; what waits is written there.
   * @throws FleetgateError `config_invalid` as when it was opened; the old file stays in use
   */
  reopen(): Promise<void>;
  /** Writes what waits, as far as the disk takes it. */
  close(): Promise<void>;
}

/**
 * Opens a file that events are appended to, a line of JSON each; made with mode 0600.
 * @throws FleetgateError `config_invalid` when it cannot be written, is no file, or others may write to it
 */
export function openAuditFile(path: string, log: Pick<Logger, 'error'>): AuditFile {
  checkAppendable(path);
  return appendEvents(path, log);
}

/** Appends to a file that was looked at. While the disk refuses, events wait, and are written when it takes them again. */
export function appendEvents(
  path: string,
  log: Pick<Logger, 'error'>,
  maxWaitingBytes = MAX_WAITING_BYTES,
): AuditFile {
  const stream = destination({ dest: path, sync: false, mode: MODE, maxLength: maxWaitingBytes });
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
    async reopen() {
      checkAppendable(path);
      await new Promise<void>((resolve, reject) => {
        const settled = (error?: NodeJS.ErrnoException) => {
          for (const name of ['ready', 'close', 'error']) stream.off(name, settled);
          if (error === undefined) return resolve();
          // Left in place, the stream's own would close the same descriptor twice the next time.
          stream.removeAllListeners('ready');
          reject(invalid(path, `cannot be opened (${error.code})`));
        };
        for (const name of ['ready', 'close', 'error']) stream.on(name, settled);
        stream.reopen();
      });
    },
    close: () =>
      new Promise<void>((resolve) => {
        stream.once('close', resolve);
        stream.once('error', () => resolve());
        stream.end();
      }),
  });
}

/** Makes the file where there is none. */
function checkAppendable(path: string): void {
  let descriptor: number;
  try {
    // Opening a pipe would wait for its reader.
    if (statSync(path, { throwIfNoEntry: false })?.isFile() === false) throw invalid(path, 'is not a file');
    descriptor = openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, MODE);
  } catch (error) {
    if (error instanceof FleetgateError) throw error;
    throw invalid(path, `cannot be opened (${(error as NodeJS.ErrnoException).code})`);
  }
  const { mode } = fstatSync(descriptor);
  closeSync(descriptor);
  if ((mode & 0o022) !== 0) throw invalid(path, `can be written by others; run: chmod 600 ${path}`);
}

function invalid(path: string, problem: string): FleetgateError {
  return new FleetgateError('config_invalid', `broker.audit_file: ${path} ${problem}`);
}
