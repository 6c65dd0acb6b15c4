import { open, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FleetgateError } from '@fleetgate/shared';

/** Gives each number once, over restarts and to every process that has the file. */
export interface SequenceNumbers {
  /** @throws FleetgateError `credentials_invalid` when the disk does not take what must be written first */
  next(): Promise<number>;
}

/** Numbers taken at once. Ours: a write for so many tokens is nothing to a flash disk. */
const BLOCK = 64;

/** 2020-01-01, in milliseconds since 1970. */
const BEGIN_MS = 1_577_836_800_000;

/**
 * Sequence numbers reserved on disk in blocks before they are used (RFC 8613, Appendix B.1.1): what was reserved and not
 * used is lost. The last number reserved stands in the name of an empty file, `PATH-N`: of two processes one makes it.
 *
 * Where there is none yet it begins with the milliseconds since 2020, so that a device whose file was lost does not use a
 * number twice: that would tell what it encrypts.
 */
export function openSequenceNumbers(path: string, now: () => number = Date.now): SequenceNumbers {
  let nextNumber = 0;
  let reservedUntil = 0;
  let reserving: Promise<void> | undefined;

  async function reserve(): Promise<void> {
    const before = await reservedIn(path);
    const first = before.at(-1) ?? Math.max(0, now() - BEGIN_MS);
    for (let from = first; ; from += BLOCK) {
      if (!(await makeFile(`${path}-${from + BLOCK}`))) continue;
      nextNumber = from;
      reservedUntil = from + BLOCK;
      break;
    }
    // Only now: whoever is cut off here finds the newest all the same.
    for (const number of before) await rm(`${path}-${number}`, { force: true });
  }

  return {
    async next() {
      while (nextNumber >= reservedUntil) {
        reserving ??= reserve()
          .catch(unwritable(path))
          .finally(() => {
            reserving = undefined;
          });
        await reserving;
      }
      nextNumber += 1;
      return nextNumber - 1;
    },
  };
}

/** From small to large. */
async function reservedIn(path: string): Promise<number[]> {
  const prefix = `${basename(path)}-`;
  const names = await readdir(dirname(path));
  return names
    .filter((name) => name.startsWith(prefix) && /^\d{1,15}$/.test(name.slice(prefix.length)))
    .map((name) => Number(name.slice(prefix.length)))
    .sort((a, b) => a - b);
}

/** Whether it was made here; not when another has made it. It is on the disk, with its name, before this resolves. */
async function makeFile(path: string): Promise<boolean> {
  try {
    await using file = await open(path, 'wx', 0o600);
    await file.sync();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
  await using folder = await open(dirname(path), 'r');
  await folder.sync();
  return true;
}

const unwritable = (path: string) => (error: NodeJS.ErrnoException) => {
  throw new FleetgateError(
    'credentials_invalid',
    `${join(dirname(path), '')} must take files beside it for the sequence numbers (${error.code}); ` +
      'name another place in auth.sequence_file of the credentials',
  );
};
