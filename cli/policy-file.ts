import { readFileSync, type Stats, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { examplePolicy, type Policy, parsePolicy } from '@fleetgate/broker/policy';
import { FleetgateError } from '@fleetgate/shared';
import type { Config } from './config/schema.ts';
import { type DataDirectory, writeOnce } from './data-directory.ts';

/**
 * How often the file is looked at. Its folder may be another file system each time, as with mounted configuration. A
 * change counts once the next look sees no further one.
 */
const WATCH_INTERVAL_MS = 1_000;

/** The policy file in force: the one named in the configuration, else the example written at the first start. */
export function policyPath(config: Config, directory: DataDirectory): string {
  return config.broker.policy_file ?? directory.policyFile;
}

/** A policy as it was read, with the text it was made of. */
export interface PolicyFile {
  readonly file: string;
  readonly text: string;
  readonly policy: Policy;
}

/**
 * Reads it.
 * @throws FleetgateError `policy_invalid`
 */
export function readPolicy(config: Config, directory: DataDirectory): PolicyFile {
  if (config.broker.policy_file === undefined) writeOnce(directory.policyFile, examplePolicy);
  return readPolicyFile(policyPath(config, directory));
}

/**
 * The policy in a file that the configuration names.
 * @throws FleetgateError `policy_invalid`
 */
export function readPolicyFile(file: string): PolicyFile {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const words =
      code === 'ENOENT'
        ? `the policy ${file} does not exist; leave policy_file out to get a first one`
        : `cannot read the policy ${file} (${code ?? message}); mend the file or set policy_file`;
    throw new FleetgateError('policy_invalid', words);
  }
  return { file, text, policy: parsePolicy(text, file) };
}

/**
 * Calls `changed` within some two seconds of a change of the file, also one that replaces it; gives back how to end that.
 * A file that is being written goes on changing, and half a policy can be a valid one: it is left alone until size and
 * time stay as they are for `intervalMs`.
 */
export function watchPolicy(file: string, changed: () => void, intervalMs = WATCH_INTERVAL_MS): () => void {
  let seen = signOf(statSync(file, { throwIfNoEntry: false }));
  let isChanging = false;
  let isOver = false;
  let timer: NodeJS.Timeout;

  async function look(): Promise<void> {
    const now = signOf(await stat(file).catch(() => undefined));
    if (isOver) return;
    const isSame = now === seen;
    seen = now;
    if (isSame && isChanging) changed();
    isChanging = !isSame;
    wait();
  }

  function wait(): void {
    timer = setTimeout(look, intervalMs);
    timer.unref();
  }

  wait();
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

/** Differs when the file was written to or replaced; of one that cannot be looked at it is empty. */
function signOf(stats: Stats | undefined): string {
  return stats === undefined ? '' : `${stats.ino} ${stats.size} ${stats.mtimeMs}`;
}
