import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { FleetgateError } from '@fleetgate/shared';
import { createPrivateFile, readPrivateFile } from '../private-file.ts';

const KEY_BYTES = 32;
/** NIST SP 800-38D §8.3: a random 96-bit nonce, for up to 2^32 ciphertexts under one key. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Where the encryption key is: in a file, or here as base64. */
export type EncryptionKeySource = { readonly file: string } | { readonly key: string };

/** Encrypts private signing keys and OSCORE contexts at rest: AES-256-GCM. */
export interface KeyEncryption {
  /** Bound to `label`: a ciphertext put in the place of another does not decrypt. */
  encrypt(plaintext: string, label: string): Uint8Array;
  /** @throws FleetgateError `key_file_invalid` when it was another encryption key, or the ciphertext was changed */
  decrypt(ciphertext: Uint8Array, label: string): string;
}

/**
 * The encryption under a key of 32 bytes. A file of it is made, mode 0600, only while nothing depends on it.
 * @throws FleetgateError `key_file_invalid` when it is missing though `isNeeded`, others may read it, or it is no key
 */
export function openKeyEncryption(source: EncryptionKeySource, isNeeded: boolean): KeyEncryption {
  const name = 'file' in source ? source.file : 'the key encryption key';
  const secret = 'file' in source ? keyInFile(source.file, isNeeded) : keyIn(Buffer.from(source.key), name);

  return {
    encrypt(plaintext, label) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', secret, nonce).setAAD(Buffer.from(label));
      const ciphertext = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]);
    },
    decrypt(stored, label) {
      try {
        const nonce = stored.subarray(0, NONCE_BYTES);
        const decipher = createDecipheriv('aes-256-gcm', secret, nonce, { authTagLength: TAG_BYTES })
          .setAAD(Buffer.from(label))
          .setAuthTag(stored.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
        const ciphertext = stored.subarray(NONCE_BYTES + TAG_BYTES);
        return Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString('utf8');
      } catch {
        throw invalid(
          `${name} does not decrypt the signing keys in the database; give the one that belongs to it`,
        );
      }
    },
  };
}

function keyInFile(file: string, isNeeded: boolean): Buffer {
  let content = readPrivateFile(file);
  if (content === undefined) {
    if (isNeeded) {
      throw invalid(
        `${file} is missing, and the signing keys in the database are encrypted with it; copy it from the issuer that has it, or restore it from a backup`,
      );
    }
    createPrivateFile(file, randomBytes(KEY_BYTES));
    content = readPrivateFile(file);
  }
  return keyIn(content ?? Buffer.alloc(0), file);
}

/** The bytes themselves, or as base64 or base64url (RFC 4648 §4, §5), as tools that hand out secrets write them. */
function keyIn(content: Buffer, name: string): Buffer {
  if (content.length === KEY_BYTES) return content;
  const text = content.toString('latin1').trim();
  const key = /^[A-Za-z0-9+/_-]{43}=?$/.test(text) ? Buffer.from(text, 'base64') : undefined;
  if (key?.length === KEY_BYTES) return key;
  throw invalid(
    `${name} does not hold a key of ${KEY_BYTES} bytes, nor one as base64; 'openssl rand -base64 32' makes one`,
  );
}

const invalid = (message: string) => new FleetgateError('key_file_invalid', message);
