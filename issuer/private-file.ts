import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { FleetgateError, privateFileProblem } from '@fleetgate/shared';

/** Bytes a key file may have. Ours: the longest is a line of base64url. */
const MAX_KEY_FILE_BYTES = 4096;

/**
 * The content of a file that holds a key, or `undefined` when there is no such file.
 * @throws FleetgateError `key_file_invalid` when others than its owner may touch it (the message has the chmod to
 *   run), or it cannot be read
 */
export function readPrivateFile(file: string): Buffer | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw new FleetgateError('key_file_invalid', `cannot read ${file} (${code})`);
  }
  try {
    // Asked of the open file, so that no other can be put in its place between the check and the read.
    const status = fstatSync(descriptor);
    if (!status.isFile() || status.size > MAX_KEY_FILE_BYTES) {
      throw new FleetgateError('key_file_invalid', `${file} is not a key file`);
    }
    const problem = privateFileProblem(file, status);
    if (problem !== undefined) throw new FleetgateError('key_file_invalid', problem);
    return readFileSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Makes a file with mode 0600 unless there is one: whole and on the disk, or not at all. Of two processes that start
 * at once one makes it, and the other reads it.
 * @throws FleetgateError `key_file_invalid` when it cannot be written
 */
export function createPrivateFile(file: string, content: Uint8Array | string): void {
  const temporary = join(dirname(file), `.${basename(file)}.${randomBytes(8).toString('hex')}`);
  try {
    writeFileSync(temporary, content, { mode: 0o600, flag: 'wx', flush: true });
    linkSync(temporary, file);
    syncDirectory(dirname(file));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') throw new FleetgateError('key_file_invalid', `cannot write ${file} (${code})`);
  } finally {
    rmSync(temporary, { force: true });
  }
}

// The name of the file, too, must survive a power loss: without the key what it encrypts is lost.
function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
