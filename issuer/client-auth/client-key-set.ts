import { createHash, createPublicKey, type JsonWebKey, type KeyObject, X509Certificate } from 'node:crypto';
import {
  isJsonWebKey,
  type Jwk,
  type JwsAlgorithm,
  MAX_KEY_ID_LENGTH,
  privateJwkMembers,
  publicMembersOf,
  purposeProblem,
  signingAlgorithmOf,
  weaknessOf,
} from '@fleetgate/shared';
import type { JsonObject } from '../registry/registry.ts';

/** How client assertions are signed. */
export type AssertionAlgorithm = JwsAlgorithm;

/** By their names in JWS (RFC 7518 §3.1, RFC 8037 §3.1); EdDSA has got another since (RFC 9864 §2.2). */
const algorithmNames: ReadonlyMap<unknown, AssertionAlgorithm> = new Map([
  ['ES256', 'ES256'],
  ['EdDSA', 'EdDSA'],
  ['Ed25519', 'EdDSA'],
  ['RS256', 'RS256'],
  ['PS256', 'PS256'],
]);

/** The names of the algorithms of client assertions. */
export const assertionAlgorithms = Array.from(algorithmNames.keys()) as readonly string[];

/** The algorithm of that name; unset for none that is taken. */
export const assertionAlgorithmOf = (name: unknown): AssertionAlgorithm | undefined =>
  algorithmNames.get(name);

/** A public key of a client that was checked. */
export interface ClientKey {
  readonly keyId: string | undefined;
  /** The one algorithm it is used with. */
  readonly algorithm: AssertionAlgorithm;
  readonly key: KeyObject;
  /** SHA-256 of it in DER, base64url. */
  readonly fingerprint: string;
  /** `x5t#S256` of its certificate, if it comes with one. */
  readonly certificateThumbprint: string | undefined;
}

/** Keys of one client. Ours: one or two of each algorithm, doubled while they rotate. */
export const MAX_CLIENT_KEYS = 16;

/** Characters of a certificate that comes with a key, in base64. Ours; usual are 700 to 3,000. */
const MAX_CERTIFICATE_LENGTH = 8192;

/**
 * The keys of a JWK set (RFC 7517 §5) that may prove a client. One that may not is left out, with why.
 * @throws TypeError when this is no JWK set, or holds more than {@link MAX_CLIENT_KEYS}
 */
export function loadClientKeys(set: unknown): {
  readonly keys: readonly ClientKey[];
  readonly problems: readonly string[];
} {
  const members = isJsonWebKey(set) ? set['keys'] : undefined;
  if (!Array.isArray(members)) throw new TypeError('is no JWK set: it has no array named keys');
  if (members.length > MAX_CLIENT_KEYS) throw new TypeError(`has more than ${MAX_CLIENT_KEYS} keys`);
  const keys: ClientKey[] = [];
  const problems: string[] = [];
  // A key whose private half was shown proves nothing, wherever else in the set it stands.
  const shown = new Set<string>();
  members.forEach((member, index) => {
    const loaded = loadKey(member);
    if ('key' in loaded) keys.push(loaded);
    else problems.push(`keys.${index}: ${loaded.problem}`);
    if ('shown' in loaded && loaded.shown !== undefined) shown.add(loaded.shown);
  });
  return { keys: keys.filter(({ fingerprint }) => !shown.has(fingerprint)), problems };
}

interface Unusable {
  readonly problem: string;
  readonly shown?: string | undefined;
}

function loadKey(jwk: unknown): ClientKey | Unusable {
  if (!isJsonWebKey(jwk)) return { problem: 'it is no object' };
  const { kid } = jwk;
  if (kid !== undefined && (typeof kid !== 'string' || kid === '' || kid.length > MAX_KEY_ID_LENGTH)) {
    return { problem: `its kid is no text of 1 to ${MAX_KEY_ID_LENGTH} characters` };
  }
  if (jwk['kty'] === 'oct' || jwk['k'] !== undefined) return { problem: 'it is a symmetric key' };
  const key = importPublicKey(jwk);
  const fingerprint = key && fingerprintOf(key);
  if (privateJwkMembers.some((name) => jwk[name] !== undefined)) {
    return {
      problem: 'it is a private key; register the public one, and make a new pair',
      shown: fingerprint,
    };
  }
  const purpose = purposeProblem(jwk);
  if (purpose !== undefined) return { problem: purpose };
  const algorithm = algorithmOf(jwk);
  if (algorithm === undefined) {
    return { problem: `its type or alg is none for ${assertionAlgorithms.join(', ')}` };
  }
  if (key === undefined || fingerprint === undefined) return { problem: 'it is malformed' };
  const weakness = weaknessOf(key.export({ format: 'jwk' }));
  if (weakness !== undefined) return { problem: weakness };
  const certificate = certificateOf(jwk, fingerprint);
  if (typeof certificate === 'object') return certificate;
  return {
    keyId: kid,
    algorithm,
    key,
    fingerprint,
    certificateThumbprint: certificate,
  };
}

/** By the key; an `alg` beside it may only confirm it, or choose between the two of RSA. */
function algorithmOf(jwk: Jwk): AssertionAlgorithm | undefined {
  const declared = assertionAlgorithmOf(jwk['alg']);
  if (jwk['kty'] === 'RSA' && declared === 'PS256') return 'PS256';
  const algorithm = signingAlgorithmOf(jwk);
  return jwk['alg'] === undefined || declared === algorithm ? algorithm : undefined;
}

function importPublicKey(jwk: Jwk): KeyObject | undefined {
  try {
    return createPublicKey({ key: publicMembersOf(jwk) as JsonWebKey, format: 'jwk' });
  } catch {
    return undefined;
  }
}

/** SHA-256 of a public key in DER (SubjectPublicKeyInfo), base64url. */
export function fingerprintOf(key: KeyObject): string {
  return sha256(key.export({ type: 'spki', format: 'der' }));
}

/** SHA-256 in base64url, as `x5t#S256` has it of a certificate in DER (RFC 7517 §4.9). */
function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64url');
}

/** SHA-256 in base64url: 43 characters, the last of which has two bits that are 0. */
const thumbprintPattern = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

/** `x5t#S256` of the certificate that `x5c` or `x5t#S256` names (RFC 7517 §4.7 and §4.9); both must fit the key. */
function certificateOf(jwk: Jwk, fingerprint: string): string | undefined | Unusable {
  const { x5c, 'x5t#S256': thumbprint } = jwk;
  if (thumbprint !== undefined && !(typeof thumbprint === 'string' && thumbprintPattern.test(thumbprint))) {
    return { problem: 'its x5t#S256 is no SHA-256 in base64url' };
  }
  if (x5c === undefined) return thumbprint;
  const certificate = Array.isArray(x5c) ? readCertificate(x5c[0]) : undefined;
  if (certificate === undefined) return { problem: 'its x5c does not begin with a certificate' };
  if (certificate.fingerprint !== fingerprint)
    return { problem: 'the certificate in its x5c has another key' };
  return thumbprint === undefined || thumbprint === certificate.thumbprint
    ? certificate.thumbprint
    : { problem: 'its x5t#S256 is of another certificate than its x5c' };
}

function readCertificate(base64: unknown): { fingerprint: string; thumbprint: string } | undefined {
  if (typeof base64 !== 'string' || base64.length > MAX_CERTIFICATE_LENGTH) return undefined;
  try {
    const { raw, publicKey } = new X509Certificate(Buffer.from(base64, 'base64'));
    return { fingerprint: fingerprintOf(publicKey), thumbprint: sha256(raw) };
  } catch {
    return undefined;
  }
}

const keptMembers = ['kid', 'alg', 'use', 'x5t#S256'];

/** What there is to keep of a JWK that was checked. */
export function keptOf(jwk: Jwk): JsonObject {
  const kept = Object.entries(jwk).filter(([name]) => keptMembers.includes(name));
  const { x5c } = jwk;
  return {
    ...publicMembersOf(jwk),
    ...Object.fromEntries(kept),
    // The chain behind it proves nothing here.
    ...(Array.isArray(x5c) ? { x5c: x5c.slice(0, 1) } : {}),
  };
}
