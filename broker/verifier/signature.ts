import { type KeyObject, verify } from 'node:crypto';
import { derFromJoined, type SigningAlgorithm } from '@fleetgate/shared';
import type { VerificationKey } from './key-set.ts';

/**
 * Whether the key made the signature of a compact JWS (RFC 7515 §5.2). The check runs in the thread pool: a storm of
 * connections leaves the event loop to the messages.
 * @param text three parts of base64url, the last the signature
 */
export function isSignedBy(text: string, { alg, key }: VerificationKey): Promise<boolean> {
  const dot = text.lastIndexOf('.');
  const input = Buffer.from(text.slice(0, dot), 'latin1');
  return checks[alg](input, Buffer.from(text.slice(dot + 1), 'base64url'), key);
}

type Check = (input: Buffer, signature: Buffer, key: KeyObject) => Promise<boolean>;

const checks: Record<SigningAlgorithm, Check> = {
  // RFC 7518 §3.4
  ES256: async (input, signature, key) => {
    const der = derFromJoined(signature);
    return der !== undefined && verifyAsync('sha256', input, key, der);
  },
  // RFC 8037 §3.1
  EdDSA: (input, signature, key) => verifyAsync(null, input, key, signature),
  // RFC 7518 §3.3: PKCS #1 v1.5, which is Node's default for such a key
  RS256: (input, signature, key) => verifyAsync('sha256', input, key, signature),
};

function verifyAsync(
  digest: string | null,
  input: Buffer,
  key: KeyObject,
  signature: Uint8Array,
): Promise<boolean> {
  return new Promise((resolve) => {
    // A signature the library takes for an error is none.
    verify(digest, input, key, signature, (error, isValid) => resolve(error === null && isValid === true));
  });
}
