import { generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import type { SigningAlgorithm } from '@fleetgate/shared';
import { calculateJwkThumbprint } from 'jose';
import type { KeyEncryption } from './key-encryption.ts';
import type { NewKey } from './lifecycle.ts';

/** Bits of an RSA key (RFC 7518 §3.3 asks for 2048 or more; signing takes the cube of it). */
const RSA_MODULUS_BITS = 2048;

/**
 * A new key pair; `kid` is the thumbprint of the public key (RFC 7638), so it names this key and no other. One in 64
 * thumbprints begins with `-`: such a key is not taken, because each command would read its name as an option.
 */
export async function generateKey(algorithm: SigningAlgorithm, encryption: KeyEncryption): Promise<NewKey> {
  const { publicKey, privateKey } = await keyPairs[algorithm]();
  const publicJwk = publicKey.export({ format: 'jwk' }) as Record<string, unknown>;
  const kid = await calculateJwkThumbprint(publicJwk, 'sha256');
  if (kid.startsWith('-')) return generateKey(algorithm, encryption);
  const privateJwk = JSON.stringify(privateKey.export({ format: 'jwk' }));
  return { kid, algorithm, publicJwk, encryptedPrivateJwk: encryption.encrypt(privateJwk, kid) };
}

interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

const generate = promisify(generateKeyPair);
const keyPairs: Record<SigningAlgorithm, () => Promise<KeyPair>> = {
  ES256: () => generate('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generate('ed25519'),
  RS256: () => generate('rsa', { modulusLength: RSA_MODULUS_BITS }),
};
