import type { OAuthErrorCode, TokenErrorCode } from '@fleetgate/shared';
import type { RequiredScopes } from './scopes.ts';

/** How a request is refused: the answer, whole, and why. */
export interface HttpRefusal {
  readonly status: 400 | 401 | 403 | 503;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: HttpRefusalBody;
  /** For logs and metrics; the answer has it only where an OAuth code says less. */
  readonly code: OAuthErrorCode | TokenErrorCode;
}

export interface HttpRefusalBody {
  readonly error: OAuthErrorCode | 'token_missing';
  readonly error_description: string;
  /** The scopes the route wants, of a token that lacks them. */
  readonly scope?: string;
}

/** Makes the answers of RFC 6750 §3. */
export interface Refusals {
  /** No credentials, or those of another scheme: the challenge says nothing of an error (§3.1). */
  missing(required: RequiredScopes | undefined): HttpRefusal;
  malformed(problem: string): HttpRefusal;
  invalid(code: TokenErrorCode, problem: string): HttpRefusal;
  insufficient(required: RequiredScopes): HttpRefusal;
  /** The keys of the issuer cannot be had: nothing is known of the token, so this is no 401. */
  unavailable(): HttpRefusal;
}

/** Seconds until a client should come back when keys are away; after some failures they are tried every 30. */
const RETRY_AFTER_SECONDS = 5;

export function createRefusals(realm: string): Refusals {
  const challenge = (parameters: Readonly<Record<string, string>>) => ({
    'www-authenticate': `Bearer ${Object.entries({ realm, ...parameters })
      .map(([name, value]) => `${name}="${quotable(value)}"`)
      .join(', ')}`,
  });

  const withError = (
    status: 400 | 401 | 403,
    error: 'invalid_request' | 'invalid_token' | 'insufficient_scope',
    error_description: string,
    more: { scope?: string } = {},
  ) => ({
    status,
    headers: challenge({ error, error_description, ...more }),
    body: { error, error_description, ...more },
  });

  return {
    missing: (required) => ({
      status: 401,
      headers: challenge(required === undefined ? {} : { scope: required.scopes.join(' ') }),
      body: {
        error: 'token_missing',
        error_description: 'an access token is needed; send it as Authorization: Bearer TOKEN',
      },
      code: 'token_missing',
    }),
    malformed: (problem) => ({ ...withError(400, 'invalid_request', problem), code: 'invalid_request' }),
    invalid: (code, problem) => ({ ...withError(401, 'invalid_token', problem), code }),
    insufficient: ({ scopes, need }) => ({
      ...withError(
        403,
        'insufficient_scope',
        need === 'all' ? 'the token lacks a scope that is needed here' : 'the token has none of these scopes',
        { scope: scopes.join(' ') },
      ),
      code: 'insufficient_scope',
    }),
    unavailable: () => ({
      status: 503,
      headers: { 'retry-after': String(RETRY_AFTER_SECONDS) },
      body: {
        error: 'temporarily_unavailable',
        error_description: 'the keys of the issuer cannot be had; try again later',
      },
      code: 'keys_unavailable',
    }),
  };
}

/** RFC 6750 §3: what an `error_description` may hold, and no quote or backslash that would have to be escaped. */
function quotable(text: string): string {
  return text.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, '?');
}
