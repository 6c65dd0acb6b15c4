import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { privateFileProblem } from '@fleetgate/shared';
import { UsageError } from '../exit.ts';
import { openReplacedFile } from '../replaced-file.ts';

/**
 * What a job needs to go on after its process ended, kept beside what it writes (0600) until it is done. Its keys make
 * the secrets of all its devices.
 */
export interface JobState {
  readonly version: 1;
  readonly job_id: string;
  readonly job_key: string;
  /** Key pairs that are made here come from it; it is sent nowhere. */
  readonly pair_key: string;
  /** Of the template. */
  readonly auth_method: string;
  readonly admin_url: string;
  readonly source: { readonly from: string } | { readonly count: number };
  /** Of the rows, so that no other file goes on with it. */
  readonly digest: string;
  readonly total: number;
  readonly out: string;
  readonly is_directory: boolean;
  readonly encrypt_to?: string | undefined;
  readonly broker_url?: string | undefined;
  /** All before it are done and on the disk. */
  readonly next_row: number;
  /** What lies behind is of rows that come again. */
  readonly out_bytes: number;
  readonly failures_bytes: number;
  readonly created: number;
  readonly failed: number;
}

/** Where the state of a job that writes to `out` is. */
export const jobFileOf = (out: string) => `${out.replace(/\/+$/, '')}.job`;

/** Where its failed rows go. */
export const failuresFileOf = (out: string, format: 'csv' | 'jsonl' | 'count') =>
  `${out.replace(/\/+$/, '')}.failed.${format === 'csv' ? 'csv' : 'jsonl'}`;

export const hasJobFile = (out: string) => existsSync(jobFileOf(out));

/** @throws UsageError for a file that is none, or that others may read */
export function readJobFile(file: string): JobState {
  try {
    const problem = privateFileProblem(file, statSync(file).mode);
    if (problem !== undefined) throw new UsageError(problem);
    const state = JSON.parse(readFileSync(file, 'utf8')) as JobState;
    if (state.version === 1 && typeof state.job_key === 'string' && Number.isSafeInteger(state.next_row)) {
      return state;
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code !== undefined) throw new UsageError(`cannot read ${file} (${code})`);
  }
  throw new UsageError(`${file} is not the state of a job`);
}

/** Replaces the state as a whole: after a kill there is the old one or the new one. */
export function writeJobFile(state: JobState): void {
  const file = openReplacedFile(jobFileOf(state.out));
  try {
    file.replace(`${JSON.stringify(state, null, 2)}\n`);
  } finally {
    file.discard();
  }
}

export function removeJobFile({ out }: Pick<JobState, 'out'>): void {
  rmSync(jobFileOf(out), { force: true });
}
