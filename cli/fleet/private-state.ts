import { readFileSync, rmSync, statSync } from 'node:fs';
import { privateFileProblem } from '@fleetgate/shared';
import { UsageError } from '../exit.ts';
import { openReplacedFile } from '../replaced-file.ts';

/** What long work needs to go on after its process ended, in a file of its owner alone (0600). */
export interface PrivateState<State> {
  /** @throws UsageError for a file that is none of these, or that others may read */
  read(file: string): State;
  /** Replaces the file as a whole: after a kill there is the old state or the new one. */
  write(file: string, state: State): void;
  remove(file: string): void;
}

/**
 * @param what whose state it is, for messages
 * @param isState whether the content of a file is one
 */
export function privateState<State extends object>(
  what: string,
  isState: (value: Partial<State>) => boolean,
): PrivateState<State> {
  return {
    read(file) {
      try {
        const problem = privateFileProblem(file, statSync(file));
        if (problem !== undefined) throw new UsageError(problem);
        const value = JSON.parse(readFileSync(file, 'utf8')) as Partial<State>;
        if (isState(value)) return value as State;
      } catch (error) {
        if (error instanceof UsageError) throw error;
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENOENT') {
          throw new UsageError(`there is no ${file}: ${what} is done, or writes somewhere else`);
        }
        if (code !== undefined) throw new UsageError(`cannot read ${file} (${code})`);
      }
      throw new UsageError(`${file} is not the state of ${what}`);
    },
    write(file, state) {
      const replaced = openReplacedFile(file);
      try {
        replaced.replace(`${JSON.stringify(state, null, 2)}\n`);
      } finally {
        replaced.discard();
      }
    },
    remove(file) {
      rmSync(file, { force: true });
    },
  };
}
