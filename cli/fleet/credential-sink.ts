import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Credentials,
  FleetgateError,
  formatCredentials,
  isIdentifier,
  privateFileProblem,
} from '@fleetgate/shared';
import { UsageError } from '../exit.ts';
import type { Encrypt } from './encryption.ts';

/** Where credentials go. */
export interface CredentialSink {
  /** On the disk when it settles. Answers how long the output is then; 0 for one that is no single file. */
  write(credentials: readonly Credentials[]): Promise<number>;
  close(): Promise<void>;
}

/** Files that are written at once. */
const CONCURRENT_FILES = 16;

/**
 * A file with a line for each device (JSONL), 0600. What lies behind `bytes` is cut off: it is of rows that come again.
 * @throws UsageError
 */
export async function lineSink(out: string, bytes: number, encrypt?: Encrypt): Promise<CredentialSink> {
  const file = await openAt(out, bytes);
  let length = bytes;
  return {
    async write(credentials) {
      const lines = await Promise.all(credentials.map((one) => lineOf(one, encrypt)));
      length += await append(file, length, lines.join(''));
      return length;
    },
    close: () => file.close(),
  };
}

/**
 * A file for each device, `CLIENT_ID.json` or, encrypted, `CLIENT_ID.jwe`; 0600 in a directory of 0700.
 * @throws UsageError
 */
export async function directorySink(out: string, encrypt?: Encrypt): Promise<CredentialSink> {
  try {
    await mkdir(out, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw unwritable(out, error);
  }
  async function writeOne(credentials: Credentials): Promise<void> {
    checkName(credentials);
    const text = formatCredentials(credentials);
    const [name, content] =
      encrypt === undefined
        ? [`${credentials.client_id}.json`, text]
        : [`${credentials.client_id}.jwe`, `${await encrypt(text)}\n`];
    const temporary = join(out, `.${name}.new`);
    // What a killed job left, or somebody else put there: written through it would be theirs.
    await rm(temporary, { force: true });
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, join(out, name));
  }
  return {
    async write(credentials) {
      for (let i = 0; i < credentials.length; i += CONCURRENT_FILES) {
        await Promise.all(credentials.slice(i, i + CONCURRENT_FILES).map(writeOne));
      }
      const directory = await open(out, 'r');
      await directory.sync().finally(() => directory.close());
      return 0;
    },
    async close() {},
  };
}

/**
 * A file opened for appending at a length that is known; what is behind it is cut off. It is no link, and its owner's
 * alone: who put it there before us would read it.
 * @throws UsageError
 */
export async function openAt(path: string, bytes: number): Promise<FileHandle> {
  try {
    const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    try {
      const { size, uid, mode } = await file.stat();
      const problem =
        uid === process.geteuid?.() ? privateFileProblem(path, { uid, mode }) : `${path} is another user's`;
      if (problem !== undefined) throw new UsageError(problem);
      if (size < bytes) {
        throw new UsageError(`${path} is shorter than it was when the job stopped; it cannot go on there`);
      }
      await file.truncate(bytes);
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  } catch (error) {
    throw unwritable(path, error);
  }
}

/** Writes text at a position; on the disk when it settles. How many bytes it has. */
export async function append(file: FileHandle, position: number, text: string): Promise<number> {
  if (text === '') return 0;
  const bytes = Buffer.from(text);
  let written = 0;
  while (written < bytes.length) {
    written += (await file.write(bytes, written, bytes.length - written, position + written)).bytesWritten;
  }
  await file.datasync();
  return bytes.length;
}

/** It becomes a name on the disk, whoever answered. */
export function checkName({ client_id }: Pick<Credentials, 'client_id'>): void {
  if (isIdentifier(client_id as unknown)) return;
  throw new FleetgateError('server_error', 'the issuer answered with a client id that is none');
}

async function lineOf(credentials: Credentials, encrypt: Encrypt | undefined): Promise<string> {
  const line = JSON.stringify(credentials);
  if (encrypt === undefined) return `${line}\n`;
  return `${JSON.stringify({ client_id: credentials.client_id, jwe: await encrypt(line) })}\n`;
}

function unwritable(path: string, error: unknown): Error {
  const { code } = error as NodeJS.ErrnoException;
  if (error instanceof UsageError || code === undefined) return error as Error;
  return new UsageError(`cannot write ${path} (${code}); name another with --out`);
}
