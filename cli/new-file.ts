import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { UsageError } from './exit.ts';

/**
 * Writes what is made into a new file, for its owner only. The file is opened before, so that a secret which cannot be
 * kept is never made, and removed when making it fails. A UsageError when it cannot be opened or is there already.
 */
export async function intoNewFile<T>(
  path: string,
  make: () => Promise<{ readonly content: string; readonly answer: T }>,
): Promise<T> {
  const file = openNew(path);
  try {
    const { content, answer } = await make();
    writeSync(file, content);
    fsyncSync(file);
    return answer;
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}

function openNew(path: string): number {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const mend = code === 'EEXIST' ? 'remove it or name another file' : 'name a file that can be written';
    throw new UsageError(`cannot write ${path} (${code}); ${mend} with --out`);
  }
}
