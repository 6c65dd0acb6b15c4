import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { FleetgateError } from '@fleetgate/shared';
import { createPrivateFile, readPrivateFile } from './private-file.ts';

const KEY_BYTES = 32;
/** NIST SP 800-38D §8.2.1: a 96-bit nonce; random, and each signing key is encrypted once. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Encrypts the private signing keys at rest: AES-256-GCM under the key of one file. */
export interface KeyEncryption {
  /** Bound to `kid`: a ciphertext put under another key id does not decrypt. */
  encrypt(plaintext: string, kid: string): Uint8Array;
  /** @throws FleetgateError `key_file_invalid` when the file's key is another, or the ciphertext was changed */
  decrypt(ciphertext: Uint8Array, kid: string): string;
}

/**
 * The encryption under the key in `file`: 32 bytes. The file is made, mode 0600, only while nothing depends on it.
 * @throws FleetgateError `key_file_invalid` when it is missing though `isNeeded`, others may read it, or it is no key
 */
export function openKeyEncryption(file: string, isNeeded: boolean): KeyEncryption {
  let key = readPrivateFile(file);
  if (key === undefined) {
    if (isNeeded) {
      throw new FleetgateError(
        'key_file_invalid',
        `${file} is missing, and the signing keys in the database are encrypted with it; restore it from a backup`,
      );
    }
    createPrivateFile(file, randomBytes(KEY_BYTES));
    key = readPrivateFile(file);
  }
  if (key?.length !== KEY_BYTES) {
    throw new FleetgateError('key_file_invalid', `${file} does not hold a key of ${KEY_BYTES} bytes`);
  }
  const secret = key;

  return {
    encrypt(plaintext, kid) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', secret, nonce).setAAD(Buffer.from(kid));
      const ciphertext = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]);
    },
    decrypt(stored, kid) {
      try {
        const nonce = stored.subarray(0, NONCE_BYTES);
        const decipher = createDecipheriv('aes-256-gcm', secret, nonce, { authTagLength: TAG_BYTES })
          .setAAD(Buffer.from(kid))
          .setAuthTag(stored.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
        const ciphertext = stored.subarray(NONCE_BYTES + TAG_BYTES);
        return Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString('utf8');
      } catch {
        throw new FleetgateError(
          'key_file_invalid',
          `${file} does not decrypt the signing keys in the database; restore the file that belongs to it`,
        );
      }
    },
  };
}
