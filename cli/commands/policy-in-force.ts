import { readConfig } from '../config/read.ts';
import { dataDirectory } from '../data-directory.ts';
import { policyPath } from '../policy-file.ts';

/** The policy file in force where no option names one. */
export function policyInForce(flags: { config?: string; data?: string }): string {
  const { config, dataPath } = readConfig(flags);
  return policyPath(config, dataDirectory(dataPath));
}
