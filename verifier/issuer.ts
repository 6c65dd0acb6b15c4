import type { JsonWebKeySet, SigningAlgorithm } from '@fleetgate/shared';
import { checkNames, isSecureAddress, signingAlgorithms } from '@fleetgate/shared';
import { type ClaimProfile, type ProfileReader, prepareProfile } from './claim-profile.ts';
import { isDiscoverable } from './discovery.ts';
import { type FindKey, type KeyLog, localKeys, skippedKeyReport, staticKeys } from './key-source.ts';
import {
  DEFAULT_MAX_STALE_SECONDS,
  type KeyFetchCounts,
  keysAt,
  keysByMetadata,
  remoteKeys,
} from './remote-keys.ts';

/** An issuer whose tokens are accepted. */
export interface TokenIssuer {
  /** `iss` of its tokens, compared as text. */
  readonly issuer: string;
  /** What `aud` of its tokens must hold. Default: the `audience` of the verifier. */
  readonly audience?: string;
  /** Default: ES256, EdDSA and RS256. A token signed with any other is refused, whatever its header says. */
  readonly algorithms?: readonly SigningAlgorithm[];
  /** Which claims of its tokens say what. Default `standard`. */
  readonly profile?: ClaimProfile;
  readonly keys: TrustedKeys;
  /**
   * Seconds beyond their `max-age` for which fetched keys are used while the issuer is away; after that its tokens
   * are refused with `keys_unavailable`. Default 86400, at most 2592000. Only for keys that are fetched.
   */
  readonly maxStaleSeconds?: number;
  /** How its `scope` is written: names and direct scopes (default), or AIF (RFC 9237). */
  readonly scopeFormat?: ScopeFormat;
}

/**
 * How the scope of a token is written: in scope tokens, named and direct ones, or as one AIF scope (RFC 9237, RFC 9431
 * §3). Of an issuer, never of the token itself: an issuer of names that could be read as AIF must not grant topics.
 */
export type ScopeFormat = 'named' | 'aif';

/** Where the keys of an issuer are. */
export type TrustedKeys =
  /** A URL, https unless loopback, that is fetched when first needed, on an unknown `kid`, and when its keys are old. */
  | { readonly jwksUri: string }
  /** The same, its URL read from the issuer's metadata (RFC 8414, else OpenID Connect Discovery). */
  | { readonly discover: true }
  /** A function that gives the keys now, asked for each token. */
  | { readonly jwks: () => JsonWebKeySet }
  /** These keys and no others. */
  | { readonly keySet: JsonWebKeySet };

/** The same checked, with everything filled in. */
export interface Issuer {
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: ReadonlySet<string>;
  readonly profile: ProfileReader;
  readonly scopeFormat: ScopeFormat;
  readonly findKey: FindKey;
}

export interface IssuerSurroundings {
  readonly log: KeyLog;
  /** Milliseconds on a clock that cannot be set. */
  readonly monotonicMs: () => number;
  readonly counts: KeyFetchCounts;
}

/** A month: keys that old say nothing of what the issuer trusts today. */
export const MAX_STALE_SECONDS = 2_592_000;

/** The options of an issuer, for who adds to them. */
export const tokenIssuerNames: readonly string[] = [
  'issuer',
  'audience',
  'algorithms',
  'profile',
  'keys',
  'maxStaleSeconds',
  'scopeFormat',
];

/** The issuers by `iss`. A caller's mistake is a `TypeError`. */
export function prepareIssuers(
  trusted: readonly TokenIssuer[],
  audience: string,
  surroundings: IssuerSurroundings,
): ReadonlyMap<string, Issuer> {
  const issuers = new Map<string, Issuer>();
  for (const one of trusted) {
    const prepared = prepareIssuer(one, audience, surroundings);
    if (issuers.has(prepared.issuer)) throw new TypeError(`the issuer ${prepared.issuer} is named twice`);
    issuers.set(prepared.issuer, prepared);
  }
  return issuers;
}

/**
 * Whether this issuer can be trusted as it is given, for a caller that wants to know which of several cannot.
 * @throws TypeError
 */
export function checkTokenIssuer(trusted: TokenIssuer): void {
  const silence = { debug() {}, info() {}, warn() {} };
  const counts = { keyFetches: 0, keyFetchFailures: 0 };
  prepareIssuer(trusted, 'any', { log: silence, monotonicMs: () => 0, counts });
}

function prepareIssuer(
  trusted: TokenIssuer,
  defaultAudience: string,
  surroundings: IssuerSurroundings,
): Issuer {
  checkNames(trusted, tokenIssuerNames, 'issuer.');
  const {
    issuer,
    audience = defaultAudience,
    algorithms = signingAlgorithms,
    profile = 'standard',
    scopeFormat = 'named',
  } = trusted;
  if (typeof issuer !== 'string' || issuer === '') throw new TypeError('an issuer has no name');
  if (typeof audience !== 'string' || audience === '')
    throw new TypeError('the audience of an issuer is empty');
  if (!Array.isArray(algorithms) || algorithms.length === 0) throw new TypeError('algorithms must be a list');
  for (const algorithm of algorithms) {
    if (!signingAlgorithms.includes(algorithm)) throw new TypeError(`unknown algorithm ${algorithm}`);
  }
  if (scopeFormat !== 'named' && scopeFormat !== 'aif')
    throw new TypeError("scopeFormat must be 'named' or 'aif'");
  return Object.freeze({
    issuer,
    audience,
    algorithms: new Set<string>(algorithms),
    profile: prepareProfile(profile),
    scopeFormat,
    findKey: prepareKeys(trusted, surroundings),
  });
}

function prepareKeys(trusted: TokenIssuer, surroundings: IssuerSurroundings): FindKey {
  const { issuer, keys, maxStaleSeconds } = trusted;
  const places = ['jwksUri', 'discover', 'jwks', 'keySet'];
  if (typeof keys !== 'object' || keys === null || Object.keys(keys).length !== 1) {
    throw new TypeError(`keys of an issuer must be one of ${places.join(', ')}`);
  }
  checkNames(keys, places, 'keys.');
  const reportSkipped = skippedKeyReport(issuer, surroundings.log);
  if ('jwks' in keys || 'keySet' in keys) {
    if (maxStaleSeconds !== undefined)
      throw new TypeError('maxStaleSeconds is only for keys that are fetched');
    return 'jwks' in keys ? localKeys(keys.jwks, reportSkipped) : staticKeys(keys.keySet, reportSkipped);
  }
  return remoteKeys({
    issuer,
    locate:
      'jwksUri' in keys ? keysAt(checkAddress(keys.jwksUri)) : keysByMetadata(checkDiscoverable(issuer)),
    maxStaleSeconds: checkStale(maxStaleSeconds ?? DEFAULT_MAX_STALE_SECONDS),
    reportSkipped,
    ...surroundings,
  });
}

function checkAddress(jwksUri: string): string {
  if (!isSecureAddress(jwksUri)) {
    throw new TypeError(
      'jwksUri must be an https address, or http on a loopback host, without user and password',
    );
  }
  return jwksUri;
}

function checkDiscoverable(issuer: string): string {
  if (!isDiscoverable(issuer)) {
    throw new TypeError('keys.discover wants an issuer that is an https address, or http on a loopback host');
  }
  return issuer;
}

function checkStale(maxStaleSeconds: number): number {
  if (!(Number.isFinite(maxStaleSeconds) && maxStaleSeconds >= 0 && maxStaleSeconds <= MAX_STALE_SECONDS)) {
    throw new TypeError(`maxStaleSeconds must be between 0 and ${MAX_STALE_SECONDS}`);
  }
  return maxStaleSeconds;
}
