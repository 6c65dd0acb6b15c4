import type { JsonWebKeySet, SigningAlgorithm } from '@fleetgate/shared';
import { signingAlgorithms } from '@fleetgate/shared';
import type { RevocationFeedOptions } from '../revocation-source.ts';
import type { KeySource } from './keys.ts';
import { localKeys, remoteKeys } from './keys.ts';

/** The claims of a token as they came. */
export type Claims = ReadonlyMap<string, unknown>;

/** An issuer whose tokens are accepted. */
export interface TrustedIssuer {
  /** `iss` of its tokens, compared as text. */
  readonly issuer: string;
  /** What `aud` of its tokens must hold. Default: the broker's `audience`. */
  readonly audience?: string;
  /** Default: ES256, EdDSA and RS256. A token signed with any other is refused, whatever its header says. */
  readonly algorithms?: readonly SigningAlgorithm[];
  /**
   * `standard` (default) wants tokens as RFC 9068 has them: `typ` is `at+jwt`, `sub` and `client_id` both there.
   * `supertokens` also takes `typ: JWT`, does without `client_id`, and wants `stt: 1`.
   */
  readonly profile?: 'standard' | 'supertokens';
  /**
   * Where its keys are: a URL that is fetched when first needed and on an unknown `kid`, or a function that gives
   * the keys now, asked for each token that is verified.
   */
  readonly keys: { readonly jwksUri: string } | { readonly jwks: () => JsonWebKeySet };
  /** Where its revocations come from. Default: nowhere; its tokens are good until they expire. */
  readonly revocations?: RevocationFeedOptions;
}

/** The same with everything filled in. */
export interface Issuer {
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: ReadonlySet<string>;
  readonly types: ReadonlySet<string>;
  readonly profile: 'standard' | 'supertokens';
  readonly keys: KeySource;
}

const typesOfProfile = {
  standard: new Set(['at+jwt', 'application/at+jwt']),
  supertokens: new Set(['at+jwt', 'application/at+jwt', 'jwt']),
} as const;

/** The issuers by `iss`. A caller's mistake is a `TypeError`. */
export function prepareIssuers(
  trusted: readonly TrustedIssuer[],
  audience: string,
): ReadonlyMap<string, Issuer> {
  const issuers = new Map<string, Issuer>();
  for (const { issuer, keys, profile = 'standard', ...rest } of trusted) {
    if (typeof issuer !== 'string' || issuer === '') throw new TypeError('an issuer has no name');
    if (issuers.has(issuer)) throw new TypeError(`the issuer ${issuer} is named twice`);
    const algorithms = rest.algorithms ?? signingAlgorithms;
    for (const algorithm of algorithms) {
      if (!signingAlgorithms.includes(algorithm)) throw new TypeError(`unknown algorithm ${algorithm}`);
    }
    if (!Object.hasOwn(typesOfProfile, profile)) throw new TypeError(`unknown issuer profile ${profile}`);
    issuers.set(issuer, {
      issuer,
      audience: rest.audience ?? audience,
      algorithms: new Set(algorithms),
      types: typesOfProfile[profile],
      profile,
      keys: 'jwks' in keys ? localKeys(keys.jwks) : remoteKeys(keys.jwksUri),
    });
  }
  return issuers;
}
