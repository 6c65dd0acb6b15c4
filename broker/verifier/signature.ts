import { type KeyObject, verify } from 'node:crypto';
import type { SigningAlgorithm } from '@fleetgate/shared';
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
  // RFC 7518 §3.4. Asking node:crypto for r‖s itself takes longer on Node 24.
  ES256: async (input, signature, key) =>
    signature.length === 2 * P256_BYTES && verifyAsync('sha256', input, key, derFromJoined(signature)),
  // RFC 8037 §3.1
  EdDSA: (input, signature, key) => verifyAsync(null, input, key, signature),
  // RFC 7518 §3.3: PKCS #1 v1.5, which is Node's default for such a key
  RS256: (input, signature, key) => verifyAsync('sha256', input, key, signature),
};

/** Bytes of r, and of s. */
const P256_BYTES = 32;

function verifyAsync(
  digest: string | null,
  input: Buffer,
  key: KeyObject,
  signature: Buffer,
): Promise<boolean> {
  return new Promise((resolve) => {
    // A signature the library takes for an error is none.
    verify(digest, input, key, signature, (error, isValid) => resolve(error === null && isValid === true));
  });
}

/** SEQUENCE { INTEGER r, INTEGER s } (RFC 3279 §2.2.3); all lengths are below 128, so one byte each. */
function derFromJoined(joined: Buffer): Buffer {
  const r = derInteger(joined.subarray(0, P256_BYTES));
  const s = derInteger(joined.subarray(P256_BYTES));
  return Buffer.concat([Buffer.from([0x30, r.length + s.length]), r, s]);
}

/** Without leading zeros, but for the one that keeps it from being negative. */
function derInteger(bytes: Buffer): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const significant = bytes.subarray(start);
  const sign = (significant[0] as number) >= 0x80 ? [0] : [];
  return Buffer.concat([Buffer.from([0x02, significant.length + sign.length, ...sign]), significant]);
}
