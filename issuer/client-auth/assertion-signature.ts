import { generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { signatures } from '@fleetgate/shared';
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
  return signatures.verify(algorithm, key, signingInput, signature);
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
