import {
  closeSync,
  existsSync,
  fdatasync,
  fsyncSync,
  ftruncate,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  write,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { FleetgateError } from '@fleetgate/shared';
import type { OutgoingMessage } from './connection.ts';
import {
  doneRecord,
  type Left,
  messageRecord,
  ownerRecord,
  readRecords,
  recordBytes,
} from './queue-records.ts';

/** Messages that outlive the process: each is written unless it is acknowledged soon. */
export interface QueueFile {
  /** Those an earlier process left, in order. */
  readonly recovered: readonly OutgoingMessage[];
  /** On disk within 1 s, unless it is removed before. */
  put(message: OutgoingMessage): void;
  remove(message: OutgoingMessage): void;
  /** Writes what is left. Afterwards nothing is written. */
  close(): Promise<void>;
}

export interface QueueFileOptions {
  /** Whose messages they are; a file of another client is refused. */
  readonly clientId: string;
  /** Told when the file cannot be written, or was damaged; never what is in it. */
  readonly onProblem: (problem: string) => void;
  /** Bytes a file may have that is read; a larger one is refused. */
  readonly maxFileBytes: number;
}

/**
 * Age at which a message is written, in milliseconds, and the time between two writes. A broker that is there
 * acknowledges sooner, so that flash is not worn by what is delivered at once.
 */
const WRITE_AFTER_MS = 500;

/** Bytes of records that mean nothing any more from which the file is written anew, if what is live has fewer. */
const GARBAGE_BYTES = 262_144;

const writeTo = promisify(write);
const truncate = promisify(ftruncate);
const sync = promisify(fdatasync);

interface Entry {
  readonly id: number;
  readonly putAtMs: number;
  /** It is in the file, or about to be. */
  isWritten: boolean;
}

/**
 * Opens or creates the file, 0600. What a process that was killed had half written is cut off: at worst the messages of
 * the last second are missing, or delivered twice.
 * @throws FleetgateError `config_invalid` when it cannot be opened, is too large, or is no queue of this client
 */
export function openQueueFile(path: string, options: QueueFileOptions): QueueFile {
  const { clientId, onProblem } = options;
  const header = ownerRecord(clientId);
  const left = readQueue(path, header, options);
  let fd = left === undefined ? createFile(path, [header]) : openSync(path, 'r+');
  let length = left?.length ?? header.length;
  // A torn record would hide all that is written behind it.
  if (left?.isDamaged) {
    ftruncateSync(fd, length);
    onProblem(`the queue ${path} was damaged at byte ${length}; what was before it is kept`);
  }

  const live = new Map<OutgoingMessage, Entry>();
  let nextId = (left?.lastId ?? 0) + 1;
  let liveBytes = 0;
  for (const [id, message] of left?.messages ?? []) {
    live.set(message, { id, putAtMs: 0, isWritten: true });
    liveBytes += recordBytes(message);
  }

  const unwritten = new Set<OutgoingMessage>();
  let done: number[] = [];
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();
  let isFailing = false;
  let isClosed = false;

  function rewrite(): void {
    const records = [...live].filter(([, { isWritten }]) => isWritten);
    const content = [header, ...records.map(([message, { id }]) => messageRecord(id, message))];
    const before = fd;
    fd = createFile(path, content);
    closeSync(before);
    length = content.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  function schedule(): void {
    if (timer !== undefined || isClosed) return;
    timer = setTimeout(() => {
      timer = undefined;
      writing = writing.then(() => writeDue(performance.now() - WRITE_AFTER_MS));
    }, WRITE_AFTER_MS);
  }

  /** Writes what was put before `beforeMs`, all of it in one go. Never rejects. */
  async function writeDue(beforeMs: number): Promise<void> {
    const due = [...unwritten].filter((message) => (live.get(message)?.putAtMs ?? 0) <= beforeMs);
    // Those of a write that failed are behind newer ones.
    due.sort((one, other) => (live.get(one)?.id ?? 0) - (live.get(other)?.id ?? 0));
    const over = done;
    done = [];
    try {
      if (live.size === unwritten.size && due.length === 0) await clear();
      else await append(due, over);
      isFailing = false;
    } catch (error) {
      done = [...over, ...done];
      const reason = (error as NodeJS.ErrnoException).code ?? 'unknown reason';
      // Once for each time it begins: a full disk may stay so for long.
      if (!isFailing)
        onProblem(`the queue ${path} cannot be written (${reason}); its messages are in memory only`);
      isFailing = true;
    }
    if (unwritten.size > 0 || done.length > 0) schedule();
  }

  /** Nothing in the file is of use. */
  async function clear(): Promise<void> {
    if (length === header.length) return;
    await truncate(fd, header.length);
    length = header.length;
    liveBytes = 0;
  }

  async function append(due: readonly OutgoingMessage[], over: readonly number[]): Promise<void> {
    const records = over.map(doneRecord);
    for (const message of due) {
      const entry = live.get(message);
      if (entry === undefined) continue;
      records.push(messageRecord(entry.id, message));
      mark(message, entry, true);
    }
    if (records.length === 0) return;
    const bytes = Buffer.concat(records);
    try {
      let offset = 0;
      while (offset < bytes.length) {
        const { bytesWritten } = await writeTo(fd, bytes, offset, bytes.length - offset, length + offset);
        offset += bytesWritten;
      }
      await sync(fd);
    } catch (error) {
      await truncate(fd, length).catch(() => undefined);
      for (const message of due) {
        const entry = live.get(message);
        if (entry?.isWritten) mark(message, entry, false);
      }
      throw error;
    }
    length += bytes.length;
    const garbage = length - header.length - liveBytes;
    if (garbage > Math.max(GARBAGE_BYTES, liveBytes)) rewrite();
  }

  function mark(message: OutgoingMessage, entry: Entry, isWritten: boolean): void {
    entry.isWritten = isWritten;
    liveBytes += isWritten ? recordBytes(message) : -recordBytes(message);
    if (isWritten) unwritten.delete(message);
    else unwritten.add(message);
  }

  return Object.freeze({
    recovered: [...live.keys()],
    put(message: OutgoingMessage) {
      live.set(message, { id: nextId, putAtMs: performance.now(), isWritten: false });
      nextId += 1;
      unwritten.add(message);
      schedule();
    },
    remove(message: OutgoingMessage) {
      const entry = live.get(message);
      if (entry === undefined) return;
      live.delete(message);
      unwritten.delete(message);
      if (!entry.isWritten) return;
      liveBytes -= recordBytes(message);
      done.push(entry.id);
      schedule();
    },
    async close() {
      isClosed = true;
      clearTimeout(timer);
      await writing;
      await writeDue(Number.POSITIVE_INFINITY);
      closeSync(fd);
    },
  });
}

/** What is in the file; unset when there is none, or an empty one. */
function readQueue(
  path: string,
  header: Buffer,
  { clientId, maxFileBytes }: QueueFileOptions,
): Left | undefined {
  if (!existsSync(path)) return undefined;
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    return invalid(`the queue ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  if (bytes.length === 0) return undefined;
  if (bytes.length > maxFileBytes)
    invalid(`the queue ${path} has more than ${maxFileBytes} bytes; move it away`);
  // The file came into being by a rename, so its first record is whole. Another's file is not written into.
  if (!bytes.subarray(0, header.length).equals(header)) {
    invalid(`${path} is no queue of client '${clientId}'; name another file`);
  }
  return readRecords(bytes, header.length);
}

/** A file with this content in the place of the one there is, opened for writing. */
function createFile(path: string, content: readonly Buffer[]): number {
  const temporary = `${path}.tmp`;
  let fd: number | undefined;
  try {
    fd = openSync(temporary, 'w', 0o600);
    writeFileSync(fd, Buffer.concat(content));
    fsyncSync(fd);
    renameSync(temporary, path);
    const folder = openSync(dirname(path), 'r');
    fsyncSync(folder);
    closeSync(folder);
    return fd;
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    rmSync(temporary, { force: true });
    return invalid(`the queue ${path} cannot be written (${(error as NodeJS.ErrnoException).code})`);
  }
}

function invalid(message: string): never {
  throw new FleetgateError('config_invalid', message);
}
