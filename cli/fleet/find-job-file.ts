import { readdirSync } from 'node:fs';
import { UsageError } from '../exit.ts';
import { hasJobFile, type JobState, jobFileOf, readJobFile } from './job-file.ts';

/**
 * The job that writes to `out`, or else that of the working directory, by its id where there are several.
 * @throws UsageError, naming what there is
 */
export function findJobFile({
  out,
  jobId,
}: {
  readonly out?: string | undefined;
  readonly jobId?: string | undefined;
}): JobState {
  if (out !== undefined) {
    if (!hasJobFile(out)) {
      throw new UsageError(`there is no ${jobFileOf(out)}: the job is done, or writes somewhere else`);
    }
    return expectId(readJobFile(jobFileOf(out)), jobId);
  }
  const files = readdirSync('.').filter((name) => name.endsWith('.job'));
  const states = files.map((file) => readJobFile(file));
  const found = states.filter(({ job_id }) => jobId === undefined || job_id === jobId);
  const [state] = found;
  if (state === undefined) {
    throw new UsageError('no such job is under way in this directory; name what it writes to with --out');
  }
  if (found.length > 1) {
    const outs = found.map((one) => one.out).join(', ');
    throw new UsageError(`several jobs are under way in this directory; name one with --out: ${outs}`);
  }
  return state;
}

function expectId(state: JobState, jobId: string | undefined): JobState {
  if (jobId === undefined || state.job_id === jobId) return state;
  throw new UsageError(`the job that writes to ${state.out} is ${state.job_id}`);
}
