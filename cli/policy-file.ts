import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { examplePolicy, type Policy, parsePolicy } from '@fleetgate/broker';
import { FleetgateError } from '@fleetgate/shared';
import type { Config } from './config/schema.ts';
import { type DataDirectory, writeOnce } from './data-directory.ts';

/** How often the file is looked at. Its folder may be another file system each time, as with mounted configuration. */
const WATCH_INTERVAL_MS = 1_000;

/** The policy file in force: the one named in the configuration, else the example written at the first start. */
export function policyPath(config: Config, directory: DataDirectory): string {
  return config.broker.policy_file ?? directory.policyFile;
}

/**
 * Reads it.
 * @throws FleetgateError `policy_invalid`
 */
export function readPolicy(config: Config, directory: DataDirectory): Policy {
  if (config.broker.policy_file === undefined) writeOnce(directory.policyFile, examplePolicy);
  const file = policyPath(config, directory);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const words =
      code === 'ENOENT'
        ? `the policy ${file} does not exist; leave broker.policy_file out to get a first one`
        : `cannot read the policy ${file} (${code ?? message}); mend the file or set broker.policy_file`;
    throw new FleetgateError('policy_invalid', words);
  }
  return parsePolicy(text, file);
}

/** Calls `changed` within some two seconds of a change of the file, also one that replaces it; gives back how to end that. */
export function watchPolicy(file: string, changed: () => void): () => void {
  const look = (now: { mtimeMs: number; size: number; ino: number }, before: typeof now) => {
    const isSame = now.mtimeMs === before.mtimeMs && now.size === before.size && now.ino === before.ino;
    if (!isSame) changed();
  };
  watchFile(file, { interval: WATCH_INTERVAL_MS, persistent: false }, look);
  return () => unwatchFile(file, look);
}
