import { readFileSync } from 'node:fs';
import { FleetgateError, secretVariable } from '@fleetgate/shared';
import type { Config } from './config/schema.ts';
import type { DataDirectory } from './data-directory.ts';

/** The environment variable that holds the key encryption key as base64; with `_FILE` behind it the file of that. */
export const KEY_VARIABLE = 'FLEETGATE_KEY_ENCRYPTION_KEY';

/** Where the key is that encrypts the signing keys, as the issuer takes it. */
export type KeyEncryptionKey =
  | { readonly keyEncryptionKeyFile: string }
  | { readonly keyEncryptionKey: string };

/**
 * The key encryption key of the environment, else the file of the configuration, else the one of the data directory.
 * @throws FleetgateError `config_invalid` when two of the first are given: one of them would silently not count
 */
export function keyEncryptionKey(
  { issuer }: Config,
  { keyEncryptionKeyFile }: DataDirectory,
  environment: NodeJS.ProcessEnv = process.env,
): KeyEncryptionKey {
  const key = secretVariable(KEY_VARIABLE, environment, (file) => readFileSync(file, 'utf8'));
  const file = issuer.key_encryption_key_file;
  if (key === undefined) return { keyEncryptionKeyFile: file ?? keyEncryptionKeyFile };
  if (file !== undefined) {
    throw new FleetgateError(
      'config_invalid',
      `both ${KEY_VARIABLE} (or its _FILE) and issuer.key_encryption_key_file name the key encryption key; keep one of them`,
    );
  }
  return { keyEncryptionKey: key };
}
