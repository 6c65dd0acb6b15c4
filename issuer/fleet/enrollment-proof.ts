import { createHmac, hash, timingSafeEqual } from 'node:crypto';
import { FleetgateError, isIdentifier } from '@fleetgate/shared';
import {
  type Assertion,
  assertionLifetimeProblem,
  parseAssertion,
  parseSigned,
} from '../client-auth/assertion.ts';
import { isSignedByAny } from '../client-auth/assertion-signature.ts';
import { loadClientKeys } from '../client-auth/client-key-set.ts';
import type { UsedAssertion } from '../registry/assertions.ts';

/** Where proofs are meant for. */
export interface ProofContext {
  readonly issuerUrl: () => string;
  readonly now: () => number;
}

/** The key of a device from that of its group: HMAC-SHA256 of its registration id. */
export function deviceKey(groupKey: Uint8Array, registrationId: string): Buffer {
  return createHmac('sha256', groupKey).update(registrationId).digest();
}

/** What a proof by a group key says. */
export interface GroupProof {
  readonly registrationId: string;
  /** The key it was made with. */
  readonly deviceKey: Uint8Array;
  readonly used: UsedAssertion;
}

/**
 * Checks a proof that a device made with the key derived for it: a JWT (RFC 7519) signed by HS256 with `iss` and `sub`
 * its registration id, `aud` the issuer or its `/enroll`, a `jti`, and `exp` at most five minutes ahead.
 * @param groupKeys any of them will do
 * @throws FleetgateError `enrollment_credential_invalid`
 */
export function checkGroupProof(
  text: string,
  groupKeys: readonly Uint8Array[],
  context: ProofContext,
): GroupProof {
  const proof = parseSigned(text, (name) => (name === 'HS256' ? ('HS256' as const) : undefined));
  if (proof === undefined || !isIdentifier(proof.subject)) return refuse();
  const signature = Buffer.from(proof.signature, 'base64url');
  const key = groupKeys
    .map((groupKey) => deviceKey(groupKey, proof.subject))
    .find((one) => {
      const mac = createHmac('sha256', one).update(proof.signingInput).digest();
      return mac.length === signature.length && timingSafeEqual(mac, signature);
    });
  if (key === undefined) return refuse();
  const used = checkClaims(proof, proof.subject, context);
  return { registrationId: proof.subject, deviceKey: key, used };
}

/** What a proof by a device's own key says. */
export interface KeyProof {
  /** SHA-256 of the key: names it, and no other. */
  readonly fingerprint: string;
  readonly used: UsedAssertion;
}

/**
 * Checks that a device holds the private half of the key it brings (RFC 7800 §1): a JWT signed with it, with `iss` and
 * `sub` as `subject` says, and all else as for a group key.
 * @param subject what binds the proof to this enrollment, see {@link subjectOfCode}
 * @throws FleetgateError `enrollment_credential_invalid`
 */
export async function checkKeyProof(
  text: string,
  publicJwk: unknown,
  subject: string,
  context: ProofContext,
): Promise<KeyProof> {
  const { keys } = loadKeys(publicJwk);
  const [key, ...others] = keys;
  const proof = parseAssertion(text);
  if (key === undefined || others.length > 0 || proof === undefined) return refuse();
  if (!(await isSignedByAny(proof, keys))) return refuse();
  return { fingerprint: key.fingerprint, used: checkClaims(proof, subject, context) };
}

/** Names a public key that was checked before, as {@link checkKeyProof} does. */
export function fingerprintOf(publicJwk: unknown): string | undefined {
  return loadKeys(publicJwk).keys[0]?.fingerprint;
}

/** Of a proof that goes with a claim code: base64url of its SHA-256, taken of the letters alone. */
export const subjectOfCode = (codeHash: Uint8Array) => Buffer.from(codeHash).toString('base64url');

function loadKeys(publicJwk: unknown): ReturnType<typeof loadClientKeys> {
  try {
    return loadClientKeys({ keys: [publicJwk] });
  } catch {
    return refuse();
  }
}

function checkClaims(
  proof: Omit<Assertion, 'algorithm'>,
  subject: string,
  { issuerUrl, now }: ProofContext,
): UsedAssertion {
  const audiences = [issuerUrl(), `${issuerUrl()}/enroll`];
  const isForUs = proof.audience.length > 0 && proof.audience.every((one) => audiences.includes(one));
  if (proof.issuer !== proof.subject || proof.subject !== subject || !isForUs) return refuse();
  if (assertionLifetimeProblem(proof, now() / 1000) !== undefined) return refuse();
  const id = hash('sha256', JSON.stringify(['enroll', issuerUrl(), subject, proof.tokenId]), 'buffer');
  return { id, expiresAtSeconds: Math.ceil(proof.expiresAtSeconds) };
}

function refuse(): never {
  throw new FleetgateError(
    'enrollment_credential_invalid',
    'the proof is not good: it must be signed by the key it proves, for this issuer, and be used once within 5 minutes',
  );
}
