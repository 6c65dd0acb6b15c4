import { MAX_KEY_ID_LENGTH, TokenError } from '@fleetgate/shared';
import { checkCertificateBinding } from './certificate-binding.ts';
import { normalizeType } from './claim-profile.ts';
import { checkNotExpired, readClaims } from './claims.ts';
import { parseTokenForm, requireToken } from './form.ts';
import type { Issuer, TokenIssuer } from './issuer.ts';
import { prepareIssuers } from './issuer.ts';
import type { KeyLog, KeyName } from './key-source.ts';
import { isSignedBy } from './signature.ts';
import { type CachedToken, createTokenCache, DEFAULT_MAX_CACHED_TOKENS, digestOf } from './token-cache.ts';
import type { Peer, VerifiedToken } from './verified-token.ts';

/** What a token says, once it has verified. Rejects with a `TokenError`. */
export type VerifyToken = (token: Uint8Array | undefined, peer?: Peer) => Promise<VerifiedToken>;

export interface Verifier extends VerifyToken {
  /** Counts since it was made. */
  stats(): VerifierStats;
}

export interface VerifierStats {
  /** Tokens whose signature was known from before. */
  readonly hits: number;
  /** Tokens whose signature was checked. */
  readonly misses: number;
  /** Tokens in the cache. */
  readonly size: number;
  /** Fetches of key sets, of all issuers. */
  readonly keyFetches: number;
  /** Those of them that gave no key set. */
  readonly keyFetchFailures: number;
}

export interface VerifierOptions {
  readonly issuers: readonly TokenIssuer[];
  readonly audience: string;
  readonly clockSkewSeconds: number;
  /** Verified tokens that are remembered. 0 remembers none. Default 100000. */
  readonly maxCachedTokens?: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Milliseconds on a clock that cannot be set, for the age of keys. Default `performance.now`. */
  readonly monotonicMs?: () => number;
  /** Told of keys that are not used and of fetches that fail. Default: silence. */
  readonly log?: KeyLog;
}

/**
 * Makes the one function that verifies tokens. The cheap checks come first: form, header and claims
 * cost microseconds, so that a stale or foreign token does not cost a signature check. A token that verified is
 * remembered, and what can have changed since is checked each time: its time, its key and the connection it is bound
 * to. What was revoked is not known here.
 */
export function createVerifier(options: VerifierOptions): Verifier {
  const { clockSkewSeconds, maxCachedTokens = DEFAULT_MAX_CACHED_TOKENS } = options;
  const { monotonicMs = () => performance.now(), log = silence } = options;
  const counts = { hits: 0, misses: 0, keyFetches: 0, keyFetchFailures: 0 };
  const issuers = prepareIssuers(options.issuers, options.audience, { monotonicMs, log: quiet(log), counts });
  const nowSeconds = () => options.now() / 1000;
  const isExpired = (token: VerifiedToken) => token.expiresAtSeconds + clockSkewSeconds <= nowSeconds();
  const cache = createTokenCache(maxCachedTokens, isExpired);

  /** Whether the key a remembered token was verified with is the key of that name today. */
  async function isKeyCurrent({ token, key }: CachedToken): Promise<boolean> {
    const issuer = issuers.get(token.issuer) as Issuer;
    return (await issuer.findKey(key)).fingerprint === key.fingerprint;
  }

  async function verify(bytes: Uint8Array | undefined, peer: Peer = {}): Promise<VerifiedToken> {
    const given = requireToken(bytes);
    const digest = digestOf(given);
    const cached = cache.get(digest);
    return cached === undefined ? verifyNew(given, digest, peer) : verifyAgain(given, digest, cached, peer);
  }

  async function verifyAgain(
    bytes: Uint8Array,
    digest: string,
    cached: CachedToken,
    peer: Peer,
  ): Promise<VerifiedToken> {
    const { token } = cached;
    try {
      checkNotExpired(token.expiresAtSeconds, nowSeconds(), clockSkewSeconds, token);
      checkCertificateBinding(token.certificateThumbprint, peer);
      if (await isKeyCurrent(cached)) {
        counts.hits += 1;
        return token;
      }
    } catch (error) {
      // Keys that cannot be had may be the same again; everything else that is wrong stays so.
      if (error instanceof TokenError && isFinal(error)) cache.delete(digest);
      throw error;
    }
    cache.delete(digest);
    return verify(bytes, peer);
  }

  async function verifyNew(bytes: Uint8Array, digest: string, peer: Peer): Promise<VerifiedToken> {
    const form = parseTokenForm(bytes);
    const claims = form.claims.members;
    const issuer = issuers.get(claims.get('iss') as string);
    if (issuer === undefined) throw new TokenError('token_issuer_unknown', 'iss is not a trusted issuer');
    const name = readHeader(form.header.members, issuer);
    const { group, certificateThumbprint, ...read } = readClaims(
      claims,
      issuer,
      nowSeconds(),
      clockSkewSeconds,
    );
    checkCertificateBinding(certificateThumbprint, peer);
    const key = await issuer.findKey(name);
    counts.misses += 1;
    if (!(await isSignedBy(form.text, key))) {
      throw new TokenError('token_signature_invalid', 'the signature does not verify');
    }
    // Of the same token shown by two at once there is one object all the same.
    const raced = cache.get(digest);
    if (raced?.key.fingerprint === key.fingerprint) return raced.token;
    const token: VerifiedToken = Object.freeze({
      ...read,
      ...(group === undefined ? {} : { group }),
      ...(certificateThumbprint === undefined ? {} : { certificateThumbprint }),
      issuer: issuer.issuer,
      scopeFormat: issuer.scopeFormat,
      keyId: name.kid,
      claims: Object.freeze(form.claims.value),
    });
    cache.add(digest, { token, key });
    return token;
  }

  return Object.assign(verify, { stats: () => ({ ...counts, size: cache.size }) });
}

/** `jwk`, `jku`, `x5u` and `x5c` are not even looked at: a token does not say who may have signed it (RFC 8725 §3.10). */
function readHeader(header: ReadonlyMap<string, unknown>, issuer: Issuer): KeyName {
  if (header.has('crit') || header.has('b64')) {
    throw new TokenError('token_type_refused', 'the token demands an extension (crit, b64)');
  }
  const type = header.get('typ');
  if (typeof type !== 'string' || !issuer.profile.types.has(normalizeType(type))) {
    throw new TokenError('token_type_refused', 'typ is not that of an access token');
  }
  const alg = header.get('alg');
  if (typeof alg !== 'string' || !issuer.algorithms.has(alg)) {
    throw new TokenError('token_algorithm_refused', 'alg is not one of those this issuer signs with');
  }
  const kid = header.get('kid');
  if (typeof kid !== 'string' || kid === '' || kid.length > MAX_KEY_ID_LENGTH) {
    throw new TokenError('token_key_unknown', 'the token names no key');
  }
  return { kid, alg };
}

function isFinal({ code }: TokenError): boolean {
  return code === 'token_expired' || code === 'token_key_unknown';
}

/** A logger that throws does not keep a token from being verified. */
function quiet(log: KeyLog): KeyLog {
  const guarded = (level: keyof KeyLog) => (line: object, words: string) => {
    try {
      log[level](line, words);
    } catch {
      // It has nowhere to say so.
    }
  };
  return { debug: guarded('debug'), info: guarded('info'), warn: guarded('warn') };
}

const silence: KeyLog = { debug() {}, info() {}, warn() {} };
