import { MAX_KEY_ID_LENGTH } from '@fleetgate/shared';
import { parseStrictJson } from '../http/strict-json.ts';
import { type AssertionAlgorithm, assertionAlgorithmOf } from './client-keys.ts';

/** A client assertion taken apart, each claim of its type, nothing in it believed yet. Times in seconds since 1970. */
export interface Assertion<Algorithm = AssertionAlgorithm> {
  readonly algorithm: Algorithm;
  readonly keyId: string | undefined;
  readonly issuer: string;
  readonly subject: string;
  readonly audience: readonly string[];
  readonly expiresAtSeconds: number;
  readonly issuedAtSeconds: number | undefined;
  readonly notBeforeSeconds: number | undefined;
  /** `jti`. */
  readonly tokenId: string;
  readonly signingInput: string;
  /** base64url. */
  readonly signature: string;
}

/** Characters of an assertion. Ours, as of tokens: the largest signature has 1,366. */
const MAX_ASSERTION_LENGTH = 8192;

/** Characters of a `jti`; a UUID has 36. */
const MAX_ASSERTION_ID_LENGTH = 256;

/** How far ahead `exp` may lie. Ours: it is used at once, and for that long it is remembered. */
export const MAX_ASSERTION_LIFETIME_SECONDS = 300;

/** How far ahead of ours a device's clock may be. Ours: many have no better source than NTP at boot. */
const MAX_CLOCK_AHEAD_SECONDS = 30;

const compactPattern = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/**
 * The assertion that a compact JWS (RFC 7515 §7.1) is, or `undefined`. As strict as with tokens: each part in the one
 * spelling of its bytes, no member twice, and nothing in the header that names a key from elsewhere.
 */
export function parseAssertion(text: string): Assertion | undefined {
  return parseSigned(text, assertionAlgorithmOf);
}

/** The same for one that is signed by other algorithms. */
export function parseSigned<Algorithm>(
  text: string,
  algorithmOf: (name: unknown) => Algorithm | undefined,
): Assertion<Algorithm> | undefined {
  if (text.length > MAX_ASSERTION_LENGTH || !compactPattern.test(text)) return undefined;
  const [header, claims, signature] = text.split('.').map(decodeCanonical);
  const readHeader = header && readHeaderOf(objectOf(header), algorithmOf);
  const readClaims = claims && readClaimsOf(objectOf(claims));
  if (readHeader === undefined || readClaims === undefined || signature === undefined) return undefined;
  const dot = text.lastIndexOf('.');
  return {
    ...readHeader,
    ...readClaims,
    signingInput: text.slice(0, dot),
    signature: text.slice(dot + 1),
  };
}

/** What is wrong with the times of an assertion now; `undefined` for nothing. */
export function assertionLifetimeProblem(
  {
    expiresAtSeconds,
    issuedAtSeconds,
    notBeforeSeconds,
  }: Pick<Assertion, 'expiresAtSeconds' | 'issuedAtSeconds' | 'notBeforeSeconds'>,
  nowSeconds: number,
): 'expired' | 'too_long' | 'not_yet_valid' | undefined {
  const latestSeconds = nowSeconds + MAX_CLOCK_AHEAD_SECONDS;
  if (expiresAtSeconds <= nowSeconds) return 'expired';
  if (expiresAtSeconds > nowSeconds + MAX_ASSERTION_LIFETIME_SECONDS) return 'too_long';
  if ((issuedAtSeconds ?? 0) > latestSeconds || (notBeforeSeconds ?? 0) > latestSeconds) {
    return 'not_yet_valid';
  }
  // Made for longer, it has lain about somewhere.
  const madeAtSeconds = issuedAtSeconds ?? nowSeconds;
  return expiresAtSeconds - madeAtSeconds > MAX_ASSERTION_LIFETIME_SECONDS + MAX_CLOCK_AHEAD_SECONDS
    ? 'too_long'
    : undefined;
}

type Members = ReadonlyMap<string, unknown>;

function readHeaderOf<Algorithm>(
  header: Members | undefined,
  algorithmOf: (name: unknown) => Algorithm | undefined,
): Pick<Assertion<Algorithm>, 'algorithm' | 'keyId'> | undefined {
  if (header === undefined || refusedParameters.some((name) => header.has(name))) return undefined;
  const algorithm = algorithmOf(header.get('alg'));
  const keyId = header.get('kid');
  if (algorithm === undefined || !isKindOfAssertion(header.get('typ'))) return undefined;
  if (keyId !== undefined && !isShortText(keyId, MAX_KEY_ID_LENGTH)) return undefined;
  return { algorithm, keyId };
}

/** Keys that come along or lie elsewhere (RFC 7515 §4.1), and extensions that would have to be understood. */
const refusedParameters = ['jku', 'jwk', 'x5u', 'x5c', 'crit', 'b64'];

/** RFC 8725 §3.11: a JWT that says it is of another kind is none of these. What it says proves nothing. */
function isKindOfAssertion(type: unknown): boolean {
  if (type === undefined) return true;
  return typeof type === 'string' && /^(application\/)?(jwt|client-authentication\+jwt)$/i.test(type);
}

type ReadClaims = Omit<Assertion, 'algorithm' | 'keyId' | 'signingInput' | 'signature'>;

function readClaimsOf(claims: Members | undefined): ReadClaims | undefined {
  if (claims === undefined) return undefined;
  const [issuer, subject, tokenId] = ['iss', 'sub', 'jti'].map((name) => claims.get(name));
  const [expiresAtSeconds, issuedAtSeconds, notBeforeSeconds] = ['exp', 'iat', 'nbf'].map((name) =>
    claims.get(name),
  );
  const audience = listOf(claims.get('aud'));
  if (typeof issuer !== 'string' || typeof subject !== 'string' || audience === undefined) return undefined;
  if (!isShortText(tokenId, MAX_ASSERTION_ID_LENGTH) || !isTime(expiresAtSeconds)) return undefined;
  if (!isTimeOrUnset(issuedAtSeconds) || !isTimeOrUnset(notBeforeSeconds)) return undefined;
  return { issuer, subject, audience, tokenId, expiresAtSeconds, issuedAtSeconds, notBeforeSeconds };
}

function listOf(audience: unknown): readonly string[] | undefined {
  const list = Array.isArray(audience) ? audience : [audience];
  return list.every((one) => typeof one === 'string') ? list : undefined;
}

function isShortText(value: unknown, maxLength: number): value is string {
  return typeof value === 'string' && value !== '' && value.length <= maxLength && value.isWellFormed();
}

// RFC 7519 §2 allows fractions, and libraries send some; beyond safe integers no arithmetic holds.
function isTime(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER;
}

const isTimeOrUnset = (value: unknown): value is number | undefined => value === undefined || isTime(value);

// A changed unused bit in the last character decodes to the same bytes: one assertion, several texts.
function decodeCanonical(part: string): Buffer | undefined {
  const bytes = Buffer.from(part, 'base64url');
  return bytes.toString('base64url') === part ? bytes : undefined;
}

function objectOf(bytes: Buffer): Members | undefined {
  try {
    const value = parseStrictJson(bytes);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? new Map(Object.entries(value)) : undefined;
  } catch {
    return undefined;
  }
}
