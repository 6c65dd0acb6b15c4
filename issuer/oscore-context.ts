import { createHash, randomBytes } from 'node:crypto';
import { deriveContext, FleetgateError, MAX_ID_BYTES, type SecurityContext } from '@fleetgate/shared';
import type { KeyEncryption } from './keys/key-encryption.ts';

/** What a device is given once (RFC 8613 §3.2), all in hexadecimal, ids as the device has them. */
export interface OscoreMaterial {
  readonly masterSecret: string;
  readonly masterSalt: string;
  readonly senderId: string;
  readonly recipientId: string;
}

/** A context as the registry keeps it. */
export interface StoredContext {
  /** The device's sender id, by which requests name the context; of one context alone. */
  readonly kid: Uint8Array;
  /** Master secret and salt. The issuer must read them back, so they are no hash. */
  readonly encrypted: Uint8Array;
}

/** A new context. */
export interface MadeContext {
  readonly material: OscoreMaterial;
  readonly stored: StoredContext;
  /** SHA-256 of the master secret. */
  readonly hash: Uint8Array;
}

/** Makes contexts, and opens those that are kept. */
export interface ContextVault {
  /** @param random what it is made of. Default: the operating system's */
  make(random?: (size: number) => Buffer): MadeContext;
  /** @throws FleetgateError `key_file_invalid` when it was encrypted under another key */
  open(stored: StoredContext): SecurityContext;
}

const SECRET_BYTES = 16;
const SALT_BYTES = 8;

/** The issuer's sender id, in every context: each has keys of its own, and no id of a device has one byte. */
const ISSUER_ID = '00';

/** What binds a ciphertext to its context. */
export const contextLabel = (kid: Uint8Array) => `oscore ${Buffer.from(kid).toString('hex')}`;

export function contextVault(encryption: KeyEncryption): ContextVault {
  return {
    make(random = randomBytes) {
      const masterSecret = random(SECRET_BYTES).toString('hex');
      const masterSalt = random(SALT_BYTES).toString('hex');
      // By chance, so that a million contexts have no two alike, and no order tells who came when.
      const kid = random(MAX_ID_BYTES);
      return {
        material: { masterSecret, masterSalt, senderId: kid.toString('hex'), recipientId: ISSUER_ID },
        stored: { kid, encrypted: encryption.encrypt(`${masterSecret} ${masterSalt}`, contextLabel(kid)) },
        hash: createHash('sha256').update(masterSecret).digest(),
      };
    },
    open({ kid, encrypted }) {
      const [masterSecret = '', masterSalt = ''] = encryption
        .decrypt(encrypted, contextLabel(kid))
        .split(' ');
      return deriveContext({
        masterSecret: Buffer.from(masterSecret, 'hex'),
        masterSalt: Buffer.from(masterSalt, 'hex'),
        senderId: Buffer.from(ISSUER_ID, 'hex'),
        recipientId: kid,
      });
    },
  };
}

/** For an issuer that serves no CoAP: nobody could use a context there. */
export const noContexts: ContextVault = {
  make: () => refuse(),
  open: () => refuse(),
};

function refuse(): never {
  throw new FleetgateError(
    'not_supported',
    'auth_method oscore needs CoAP, which is not served here; set issuer.coap.enabled (apps have none)',
  );
}
