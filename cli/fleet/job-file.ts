import { existsSync } from 'node:fs';
import { privateState } from './private-state.ts';

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

const jobStates = privateState<JobState>(
  'the job',
  ({ version, job_key, next_row }) =>
    version === 1 && typeof job_key === 'string' && Number.isSafeInteger(next_row),
);

/** @throws UsageError for a file that is none, or that others may read */
export const readJobFile = (file: string): JobState => jobStates.read(file);

export const writeJobFile = (state: JobState): void => jobStates.write(jobFileOf(state.out), state);

export const removeJobFile = ({ out }: Pick<JobState, 'out'>): void => jobStates.remove(jobFileOf(out));
