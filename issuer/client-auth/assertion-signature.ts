import { constants, generateKeyPair, type KeyObject, verify } from 'node:crypto';
import { promisify } from 'node:util';
import { derFromJoined } from '@fleetgate/shared';
import type { Assertion } from './assertion.ts';
import type { AssertionAlgorithm, ClientKey } from './client-keys.ts';

/**
 * Whether one of the keys made the signature: of those that are for the algorithm it claims, the one it names, if it
 * names one. Without any the work is done all the same, so that time does not tell whose keys there are.
 */
export async function isSignedByAny(assertion: Assertion, keys: readonly ClientKey[]): Promise<boolean> {
  const { algorithm, keyId } = assertion;
  const fitting = keys.filter((key) => key.algorithm === algorithm && (keyId ?? key.keyId) === key.keyId);
  if (fitting.length === 0) {
    await isSignedBy(assertion, await decoyOf(algorithm));
    return false;
  }
  for (const { key } of fitting) if (await isSignedBy(assertion, key)) return true;
  return false;
}

function isSignedBy({ algorithm, signingInput, signature }: Assertion, key: KeyObject): Promise<boolean> {
  return checks[algorithm](signingInput, signature, key);
}

type Check = (input: Buffer, signature: Buffer, key: KeyObject) => Promise<boolean>;

const checks: Record<AssertionAlgorithm, Check> = {
  // RFC 7518 §3.4
  ES256: async (input, signature, key) => {
    const der = derFromJoined(signature);
    return der !== undefined && verifyAsync('sha256', input, { key }, der);
  },
  // RFC 8037 §3.1
  EdDSA: (input, signature, key) => verifyAsync(null, input, { key }, signature),
  // RFC 7518 §3.3
  RS256: (input, signature, key) =>
    verifyAsync('sha256', input, { key, padding: constants.RSA_PKCS1_PADDING }, signature),
  // RFC 7518 §3.5: the salt is as long as the hash.
  PS256: (input, signature, key) =>
    verifyAsync(
      'sha256',
      input,
      { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 },
      signature,
    ),
};

interface VerifyKey {
  readonly key: KeyObject;
  readonly padding?: number;
  readonly saltLength?: number;
}

// In the thread pool: the event loop goes on meanwhile.
function verifyAsync(
  digest: string | null,
  input: Buffer,
  key: VerifyKey,
  signature: Uint8Array,
): Promise<boolean> {
  return new Promise((resolve) => {
    // A signature the library takes for an error is none.
    verify(digest, input, key, signature, (error, isValid) => resolve(error === null && isValid === true));
  });
}

const generate = promisify(generateKeyPair);
const decoys = new Map<AssertionAlgorithm, Promise<KeyObject>>();

/** A key that nobody has, made when it is needed first. */
function decoyOf(algorithm: AssertionAlgorithm): Promise<KeyObject> {
  const decoy = decoys.get(algorithm) ?? makeDecoy(algorithm);
  decoys.set(algorithm, decoy);
  return decoy;
}

async function makeDecoy(algorithm: AssertionAlgorithm): Promise<KeyObject> {
  if (algorithm === 'ES256') return (await generate('ec', { namedCurve: 'P-256' })).publicKey;
  if (algorithm === 'EdDSA') return (await generate('ed25519')).publicKey;
  return (await generate('rsa', { modulusLength: 2048 })).publicKey;
}
