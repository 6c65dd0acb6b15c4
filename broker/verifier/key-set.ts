import { createHash, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import type { SigningAlgorithm } from '@fleetgate/shared';
import { signingAlgorithms } from '@fleetgate/shared';
import { isRocaModulus, isSmallOrderPoint } from './weak-keys.ts';

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

/** Characters of a `kid`, of keys and of tokens. */
export const MAX_KEY_ID_LENGTH = 256;

/** Bits of an RSA modulus: RFC 7518 §3.3 wants 2048 or more; beyond 8192 one check takes a millisecond. */
const MIN_RSA_BITS = 2_048;
const MAX_RSA_BITS = 8_192;

/** NIST SP 800-56B §6.2.1: a smaller exponent has been the way into sloppy padding checks. */
const MIN_RSA_EXPONENT = 65_537n;

/**
 * The keys of a JWK set (RFC 7517 §5) that may verify tokens. A key that may not is left out and named in `skipped`,
 * the others are used all the same.
 * @throws TypeError when this is no JWK set, or holds more than {@link MAX_KEYS}
 */
export function loadKeySet(set: unknown): { readonly keys: KeySet; readonly skipped: readonly SkippedKey[] } {
  const members = isObject(set) ? set['keys'] : undefined;
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

type Jwk = Readonly<Record<string, unknown>>;

interface Unusable {
  readonly kid: string | undefined;
  readonly problem: string;
  readonly isForeign?: true;
  readonly fingerprint?: string;
}

function loadKey(jwk: unknown): VerificationKey | Unusable {
  if (!isObject(jwk)) return { kid: undefined, problem: 'it is no object' };
  const { kid } = jwk;
  if (typeof kid !== 'string' || kid === '') return { kid: undefined, problem: 'it has no kid' };
  if (kid.length > MAX_KEY_ID_LENGTH) {
    return { kid: kid.slice(0, MAX_KEY_ID_LENGTH), problem: `its kid is longer than ${MAX_KEY_ID_LENGTH}` };
  }
  if (jwk['kty'] === 'oct' || jwk['k'] !== undefined) return { kid, problem: 'it is a symmetric key' };
  const alg = algorithmOf(jwk);
  const key = alg === undefined ? undefined : importPublicKey(jwk);
  const fingerprint = key && alg && fingerprintOf(alg, key);
  if (privateMembers.some((name) => jwk[name] !== undefined)) {
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
  const weakness = weaknessOf(key);
  return weakness === undefined ? { kid, alg, key, fingerprint } : { kid, problem: weakness };
}

/** RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2. */
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth'];

/** RFC 7518 §6, RFC 8037 §2: the members a public key of each type is made of, and nothing else of it. */
function publicMembers({ kty, crv, n, e, x, y }: Jwk): Record<string, unknown> {
  return kty === 'RSA' ? { kty, n, e } : kty === 'EC' ? { kty, crv, x, y } : { kty, crv, x };
}

/** What a key of this type can sign with; an `alg` beside it may only confirm it. */
function algorithmOf({ kty, crv }: Jwk): SigningAlgorithm | undefined {
  if (kty === 'RSA') return 'RS256';
  if (kty === 'EC' && crv === 'P-256') return 'ES256';
  if (kty === 'OKP' && crv === 'Ed25519') return 'EdDSA';
  return undefined;
}

/** RFC 7517 §4.2 and §4.3. */
function purposeProblem({ use, key_ops: operations }: Jwk): string | undefined {
  if (use !== undefined && use !== 'sig') return 'its use is not sig';
  if (operations === undefined) return undefined;
  return Array.isArray(operations) && operations.includes('verify') ? undefined : 'its key_ops lack verify';
}

function importPublicKey(jwk: Jwk): KeyObject | undefined {
  try {
    return createPublicKey({ key: publicMembers(jwk) as JsonWebKey, format: 'jwk' });
  } catch {
    return undefined;
  }
}

function fingerprintOf(alg: SigningAlgorithm, key: KeyObject): string {
  const der = key.export({ type: 'spki', format: 'der' });
  return `${alg}:${createHash('sha256').update(der).digest('base64url')}`;
}

function weaknessOf(key: KeyObject): string | undefined {
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'rsa':
      if (modulusLength < MIN_RSA_BITS) return `its RSA modulus has fewer than ${MIN_RSA_BITS} bits`;
      if (modulusLength > MAX_RSA_BITS) return `its RSA modulus has more than ${MAX_RSA_BITS} bits`;
      if (publicExponent < MIN_RSA_EXPONENT || publicExponent % 2n === 0n)
        return 'its RSA exponent is too small or even';
      return isRocaModulus(modulusOf(key)) ? 'its RSA modulus can be factored (ROCA)' : undefined;
    case 'ed25519':
      return isSmallOrderPoint(pointOf(key)) ? 'its Ed25519 point is of small order' : undefined;
    default:
      return undefined;
  }
}

function modulusOf(key: KeyObject): bigint {
  return BigInt(`0x${Buffer.from(key.export({ format: 'jwk' }).n ?? '', 'base64url').toString('hex')}`);
}

function pointOf(key: KeyObject): Buffer {
  return Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url');
}

function isObject(value: unknown): value is Jwk {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
