import { readFileSync, statSync } from 'node:fs';
import { FleetgateError, privateFileProblem } from '@fleetgate/shared';

/**
 * A secret from a file of mode 0600, without the white space around it.
 * @param key what names the file in the configuration
 * @throws FleetgateError `key_file_invalid`, `config_invalid`
 */
export function readSecretFile(file: string, key: string): string {
  try {
    const problem = privateFileProblem(file, statSync(file));
    if (problem !== undefined) throw new FleetgateError('key_file_invalid', problem);
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (error instanceof FleetgateError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new FleetgateError('config_invalid', `cannot read ${file} (${code}); mend the file or ${key}`);
  }
}
