import { reencryptSigningKeys } from '@fleetgate/issuer';
import type { Config } from './config/schema.ts';
import { configuredDatabase, type DataDirectory, refuseSecondProcess } from './data-directory.ts';
import { keyEncryptionKey } from './key-encryption-key.ts';

/**
 * Encrypts the signing keys of a data directory under the key in `newKeyFile`; how many.
 * @throws FleetgateError `data_directory_in_use` while an issuer runs on it, `key_file_invalid`, `registry_unavailable`
 */
export async function reencrypt(
  config: Config,
  directory: DataDirectory,
  newKeyFile: string,
): Promise<number> {
  await refuseSecondProcess(directory);
  const used = keyEncryptionKey(config, directory);
  return reencryptSigningKeys({
    database: configuredDatabase(config, directory),
    appsDirectory: directory.appsDirectory,
    from: 'keyEncryptionKey' in used ? { key: used.keyEncryptionKey } : { file: used.keyEncryptionKeyFile },
    to: { file: newKeyFile },
  });
}
