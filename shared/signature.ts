import { type KeyObject, verify } from 'node:crypto';
import { derFromJoined } from './ecdsa-signature.ts';
import type { SigningAlgorithm } from './token.ts';

/**
 * Whether the key, of the kind the algorithm wants, made the signature of a compact JWS (RFC 7515 §5.2). The check runs
 * in the thread pool: the event loop goes on meanwhile.
 */
export function isSignature(
  algorithm: SigningAlgorithm,
  input: Buffer,
  key: KeyObject,
  signature: Uint8Array,
): Promise<boolean> {
  return checks[algorithm](input, key, signature);
}

type Check = (input: Buffer, key: KeyObject, signature: Uint8Array) => Promise<boolean>;

const checks: Record<SigningAlgorithm, Check> = {
  // RFC 7518 §3.4
  ES256: async (input, key, signature) => {
    const der = derFromJoined(signature);
    return der !== undefined && verifyInPool('sha256', input, key, der);
  },
  // RFC 8037 §3.1
  EdDSA: (input, key, signature) => verifyInPool(null, input, key, signature),
  // RFC 7518 §3.3: PKCS #1 v1.5, which is Node's default for such a key
  RS256: (input, key, signature) => verifyInPool('sha256', input, key, signature),
};

/**
 * `verify` of node:crypto in its thread pool. Give the key itself where its defaults are right: one that is wrapped in
 * an object costs Node 24 some 12 µs more.
 */
export function verifyInPool(
  digest: string | null,
  input: Buffer,
  key: Parameters<typeof verify>[2],
  signature: Uint8Array,
): Promise<boolean> {
  return new Promise((resolve) => {
    // A signature the library takes for an error is none.
    verify(digest, input, key, signature, (error, isValid) => resolve(error === null && isValid === true));
  });
}
