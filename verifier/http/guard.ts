import type { IncomingMessage } from 'node:http';
import { checkNames, TokenError } from '@fleetgate/shared';
import type { TokenIssuer, TrustedKeys } from '../issuer.ts';
import type { KeyLog } from '../key-source.ts';
import { certificateThumbprint, thumbprintOf } from '../peer-certificate.ts';
import type { VerifiedToken } from '../verified-token.ts';
import { createVerifier, type VerifierStats } from '../verify.ts';
import { authorizationOf, findToken, type HttpCredentials } from './credentials.ts';
import { createRefusals, type HttpRefusal } from './refusal.ts';
import { hasScopes, type RequiredScopes } from './scopes.ts';

/** Whose tokens an HTTP service takes, and for what. */
export interface HttpGuardOptions
  extends Pick<TokenIssuer, 'issuer' | 'algorithms' | 'profile' | 'maxStaleSeconds'> {
  /** What `aud` of a token must hold: the name of this service. */
  readonly audience: string;
  /** Default: found by the issuer's metadata (RFC 8414), when the first token comes. */
  readonly keys?: TrustedKeys;
  /** Seconds the clocks of issuer and service may differ by, 0 to 300. Default 5. */
  readonly clockSkewSeconds?: number;
  /** `realm` of the challenges (RFC 9110 §11.5). Default: the audience. */
  readonly realm?: string;
  /**
   * The TLS client certificate of a request in DER, for tokens bound to one (RFC 8705 §3). Default: that of the
   * connection, if it was verified. For TLS that ends at a proxy; believe a header only of that proxy.
   */
  readonly certificateOf?: (request: IncomingMessage) => Uint8Array | undefined;
  /** Whether a token that verified was taken back. Asked at each request. Default: none was. */
  readonly isRevoked?: (token: VerifiedToken) => boolean | Promise<boolean>;
  /** Verified tokens that are remembered. 0 remembers none. Default 10000. */
  readonly maxCachedTokens?: number;
  /** Milliseconds since 1970. Default `Date.now`. */
  readonly now?: () => number;
  /** Told of keys that are not used and of fetches that fail. A pino logger will do. Default: silence. */
  readonly log?: KeyLog;
}

/** What came of a request. */
export type Admission =
  | { readonly token: VerifiedToken; readonly refusal?: undefined }
  | { readonly token?: undefined; readonly refusal: HttpRefusal };

export interface HttpGuard {
  /** The token of a request, when it holds what the route wants, or the answer to give (RFC 6750 §3). */
  admit(request: IncomingMessage, required?: RequiredScopes): Promise<Admission>;
  /** The same of credentials taken from the request before. */
  check(credentials: HttpCredentials, required?: RequiredScopes): Promise<Admission>;
  /** Counts since it was made. */
  stats(): VerifierStats;
}

const optionNames = [
  'issuer',
  'audience',
  'keys',
  'algorithms',
  'profile',
  'maxStaleSeconds',
  'clockSkewSeconds',
  'realm',
  'certificateOf',
  'isRevoked',
  'maxCachedTokens',
  'now',
  'log',
];

const MAX_CLOCK_SKEW_SECONDS = 300;

/** One for each client that calls this service within the life of a token, at 1.75 KB of heap each. */
const MAX_CACHED_TOKENS = 10_000;

/**
 * Guards an HTTP service by access tokens, with the verifier of the broker. A refusal is a value; what rejects is a
 * fault of `isRevoked` or `certificateOf`, and the request must then be answered 500.
 * @example
 * const guard = httpGuard({ issuer: 'https://auth.example.com', audience: 'event' });
 * const { token, refusal } = await guard.admit(request, allScopes('event.create'));
 * if (refusal) response.writeHead(refusal.status, refusal.headers).end(JSON.stringify(refusal.body));
 * @throws TypeError for options that cannot be meant
 */
export function httpGuard(options: HttpGuardOptions): HttpGuard {
  const { issuer, audience, keys = { discover: true }, isRevoked, certificateOf } = prepare(options);
  const { algorithms, profile, maxStaleSeconds } = options;
  const { clockSkewSeconds = 5, maxCachedTokens = MAX_CACHED_TOKENS, now = Date.now, log } = options;
  const verify = createVerifier({
    issuers: [
      {
        issuer,
        keys,
        ...(algorithms === undefined ? {} : { algorithms }),
        ...(profile === undefined ? {} : { profile }),
        ...(maxStaleSeconds === undefined ? {} : { maxStaleSeconds }),
      },
    ],
    audience,
    clockSkewSeconds,
    maxCachedTokens,
    now,
    ...(log === undefined ? {} : { log }),
  });
  const refusals = createRefusals(options.realm ?? audience);
  const refuse = (refusal: HttpRefusal): Admission => ({ refusal });

  async function check(credentials: HttpCredentials, required?: RequiredScopes): Promise<Admission> {
    const given = findToken(credentials);
    if (given.found === 'nothing') return refuse(refusals.missing(required));
    if (given.found === 'fault') return refuse(refusals.malformed(given.problem));
    let token: VerifiedToken;
    try {
      token = await verify(Buffer.from(given.token, 'latin1'), credentials);
    } catch (error) {
      if (!(error instanceof TokenError)) throw error;
      if (error.code === 'keys_unavailable') return refuse(refusals.unavailable());
      return refuse(refusals.invalid(error.code, error.message));
    }
    if (await isRevoked?.(token)) return refuse(refusals.invalid('token_revoked', 'the token was revoked'));
    if (required !== undefined && !hasScopes(token.scopes, required)) {
      return refuse(refusals.insufficient(required));
    }
    return { token };
  }

  function certificateThumbprintOf(request: IncomingMessage): string | undefined {
    if (certificateOf === undefined) return certificateThumbprint(request.socket);
    const certificate = certificateOf(request);
    return certificate && thumbprintOf(certificate);
  }

  return Object.freeze({
    check,
    admit: async (request: IncomingMessage, required?: RequiredScopes) =>
      check(
        {
          authorization: authorizationOf(request),
          url: request.url,
          certificateThumbprint: certificateThumbprintOf(request),
        },
        required,
      ),
    stats: verify.stats,
  });
}

function prepare(options: HttpGuardOptions): HttpGuardOptions {
  checkNames(options, optionNames, '');
  const { clockSkewSeconds = 0, maxCachedTokens = 0, realm = '' } = options;
  if (!(clockSkewSeconds >= 0 && clockSkewSeconds <= MAX_CLOCK_SKEW_SECONDS)) {
    throw new TypeError(`clockSkewSeconds must be between 0 and ${MAX_CLOCK_SKEW_SECONDS}`);
  }
  if (!(Number.isSafeInteger(maxCachedTokens) && maxCachedTokens >= 0)) {
    throw new TypeError('maxCachedTokens must be a whole number, 0 to remember none');
  }
  if (typeof realm !== 'string' || !/^[\x20\x21\x23-\x5b\x5d-\x7e]*$/.test(realm)) {
    throw new TypeError('realm must be visible ASCII without quotes and backslashes');
  }
  for (const name of ['certificateOf', 'isRevoked', 'now'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'function') {
      throw new TypeError(`${name} must be a function`);
    }
  }
  return options;
}
