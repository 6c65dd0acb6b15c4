import { open, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { FleetgateError, MAX_SEQUENCE_NUMBER } from '@fleetgate/shared';

/** Gives each number once, over restarts and to every process that has the file. */
export interface SequenceNumbers {
  /**
   * @throws FleetgateError `credentials_invalid` when the disk does not take what must be written first, when the clock
   *   is too far ahead to begin with, or when the numbers of the context are used up
   */
  next(): Promise<number>;
}

/** Numbers taken at once. Ours: a write for so many tokens is nothing to a flash disk. */
const BLOCK = 64;

/** Before another try where several processes take numbers at once: some times what a try takes. */
const MAX_PAUSE_MS = 50;

/** 2020-01-01, in milliseconds since 1970. */
const BEGIN_MS = 1_577_836_800_000;

/** Half of the numbers there are, reached in 2037: a clock that is ahead of that leaves too few. */
const LAST_FIRST = MAX_SEQUENCE_NUMBER / 2;

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
    let from = before.at(-1) ?? firstOf(now());
    for (;;) {
      const until = from + BLOCK;
      if (until > MAX_SEQUENCE_NUMBER + 1) throw usedUp(path);
      const isMade = await makeFile(`${path}-${until}`);
      // Another process may have made this very file, used the block, gone on and removed it since `before` was read.
      const newest = (await reservedIn(path)).at(-1) ?? until;
      if (isMade && newest <= until) break;
      if (isMade) {
        // Not the newest, so nobody needs it. By chance, or those who look at once would pass each other for ever.
        await rm(`${path}-${until}`, { force: true });
        await setTimeout(Math.random() * MAX_PAUSE_MS);
      }
      from = (await reservedIn(path)).at(-1) ?? Math.max(newest, until);
    }
    nextNumber = from;
    reservedUntil = from + BLOCK;
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

/** @throws FleetgateError before anything is written, so that it is well again when the clock is */
function firstOf(nowMs: number): number {
  const first = Math.max(0, nowMs - BEGIN_MS);
  if (first <= LAST_FIRST) return first;
  throw new FleetgateError(
    'credentials_invalid',
    'the clock is too far ahead to begin the sequence numbers with; set it right',
  );
}

const usedUp = (path: string) =>
  new FleetgateError(
    'credentials_invalid',
    `the sequence numbers of this context are used up (${path}-*); rotate it for a new one`,
  );

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
  if (error instanceof FleetgateError) throw error;
  throw new FleetgateError(
    'credentials_invalid',
    `${join(dirname(path), '')} must take files beside it for the sequence numbers (${error.code}); ` +
      'name another place in auth.sequence_file of the credentials',
  );
};
