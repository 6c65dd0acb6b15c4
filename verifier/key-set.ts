import { createHash, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import {
  isJsonWebKey,
  type Jwk,
  MAX_KEY_ID_LENGTH,
  privateJwkMembers,
  publicMembersOf,
  purposeProblem,
  type SigningAlgorithm,
  signingAlgorithmOf,
  signingAlgorithms,
  weaknessOf,
} from '@fleetgate/shared';

/** A public key of an issuer that was checked. */
export interface VerificationKey {
  readonly kid: string;
  /** The one algorithm it is used with. */
  readonly alg: SigningAlgorithm;
  readonly key: KeyObject;
  /** Equal for the same algorithm and key, however the set spells it. */
  readonly fingerprint: string;
}

/** The usable keys of a set by `kid`. */
export type KeySet = ReadonlyMap<string, VerificationKey>;

/** A key that was left out of a set. */
export interface SkippedKey {
  /** Cut to {@link MAX_KEY_ID_LENGTH}; `undefined` when it has none. */
  readonly kid: string | undefined;
  /** Why, in words that hold nothing of the key. */
  readonly problem: string;
  /** A key for another purpose, as a set may well hold; the others should not be there. */
  readonly isForeign: boolean;
}

/** Keys of a set. An issuer has a few, an old one beside each while it rotates. */
export const MAX_KEYS = 64;

/**
 * The keys of a JWK set (RFC 7517 §5) that may verify tokens. A key that may not is left out and named in `skipped`,
 * the others are used all the same.
 * @throws TypeError when this is no JWK set, or holds more than {@link MAX_KEYS}
 */
export function loadKeySet(set: unknown): { readonly keys: KeySet; readonly skipped: readonly SkippedKey[] } {
  const members = isJsonWebKey(set) ? set['keys'] : undefined;
  if (!Array.isArray(members)) throw new TypeError('this is no JWK set: it has no array named keys');
  if (members.length > MAX_KEYS) throw new TypeError(`the key set has more than ${MAX_KEYS} keys`);
  const keys = new Map<string, VerificationKey>();
  const skipped: SkippedKey[] = [];
  // Neither a name that stands for two keys nor a key whose private half was shown is used under any name.
  const spoiledKids = new Set<string>();
  const spoiledKeys = new Set<string>();
  for (const member of members) {
    const loaded = loadKey(member);
    if ('problem' in loaded) {
      const { kid, problem, isForeign = false, fingerprint } = loaded;
      skipped.push({ kid, problem, isForeign });
      if (isForeign) continue;
      if (kid !== undefined) spoiledKids.add(kid);
      if (fingerprint !== undefined) spoiledKeys.add(fingerprint);
      continue;
    }
    const { kid, fingerprint } = loaded;
    if ((keys.get(kid)?.fingerprint ?? fingerprint) !== fingerprint) {
      skipped.push({ kid, problem: 'two keys have this kid', isForeign: false });
      spoiledKids.add(kid);
    }
    keys.set(kid, loaded);
  }
  for (const [kid, { fingerprint }] of keys) {
    if (spoiledKids.has(kid) || spoiledKeys.has(fingerprint)) keys.delete(kid);
  }
  return { keys, skipped };
}

interface Unusable {
  readonly kid: string | undefined;
  readonly problem: string;
  readonly isForeign?: true;
  readonly fingerprint?: string;
}

function loadKey(jwk: unknown): VerificationKey | Unusable {
  if (!isJsonWebKey(jwk)) return { kid: undefined, problem: 'it is no object' };
  const { kid } = jwk;
  if (typeof kid !== 'string' || kid === '') return { kid: undefined, problem: 'it has no kid' };
  if (kid.length > MAX_KEY_ID_LENGTH) {
    return { kid: kid.slice(0, MAX_KEY_ID_LENGTH), problem: `its kid is longer than ${MAX_KEY_ID_LENGTH}` };
  }
  if (jwk['kty'] === 'oct' || jwk['k'] !== undefined) return { kid, problem: 'it is a symmetric key' };
  const alg = signingAlgorithmOf(jwk);
  const key = alg === undefined ? undefined : importPublicKey(jwk);
  const fingerprint = key && alg && fingerprintOf(alg, key);
  if (privateJwkMembers.some((name) => jwk[name] !== undefined)) {
    return { kid, problem: 'it is a private key', ...(fingerprint === undefined ? {} : { fingerprint }) };
  }
  const purpose = purposeProblem(jwk);
  if (purpose !== undefined) return { kid, problem: purpose, isForeign: true };
  const declared = jwk['alg'];
  if (
    declared === undefined ? alg === undefined : !signingAlgorithms.includes(declared as SigningAlgorithm)
  ) {
    return { kid, problem: `it is for none of ${signingAlgorithms.join(', ')}`, isForeign: true };
  }
  if (alg === undefined || (declared !== undefined && declared !== alg)) {
    return { kid, problem: 'its alg does not fit its type' };
  }
  if (key === undefined || fingerprint === undefined) return { kid, problem: 'it is malformed' };
  const weakness = weaknessOf(key.export({ format: 'jwk' }));
  return weakness === undefined ? { kid, alg, key, fingerprint } : { kid, problem: weakness };
}

function importPublicKey(jwk: Jwk): KeyObject | undefined {
  try {
    return createPublicKey({ key: publicMembersOf(jwk) as JsonWebKey, format: 'jwk' });
  } catch {
    return undefined;
  }
}

function fingerprintOf(alg: SigningAlgorithm, key: KeyObject): string {
  const der = key.export({ type: 'spki', format: 'der' });
  return `${alg}:${createHash('sha256').update(der).digest('base64url')}`;
}
