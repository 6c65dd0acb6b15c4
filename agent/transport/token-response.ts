import {
  FleetgateError,
  MAX_TOKEN_LENGTH,
  OAuthError,
  type OAuthErrorCode,
  oauthErrorCodes,
  type TokenResponse,
} from '@fleetgate/shared';
import { IssuerBusyError } from './token-transport.ts';

/** What came back from a token endpoint, read and bounded. */
export interface HttpAnswer {
  status: number;
  /** Value of `Content-Type`, or empty. */
  contentType: string;
  /** Value of `Retry-After`, or null. */
  retryAfter: string | null;
  body: string;
}

/** A lifetime above 30 days is taken for a mistake of units: access tokens live for minutes. */
export const MAX_LIFETIME_SECONDS = 30 * 86_400;

// b64token of RFC 6750 §2.1: what a Bearer token may consist of.
const tokenPattern = /^[A-Za-z0-9\-._~+/]+=*$/;

/**
 * The token in an answer (RFC 6749 §5.1), every field checked. `secrets` are what no message may repeat: an
 * issuer may echo what it was sent in its description.
 * @throws OAuthError the issuer's error (§5.2)
 * @throws IssuerBusyError for 429 and 503
 * @throws FleetgateError `token_response_invalid` for a success that is none, `token_request_failed` for the rest
 */
export function processTokenAnswer(
  answer: HttpAnswer,
  secrets: readonly string[] = [],
  nowMs: number = Date.now(),
): TokenResponse {
  if (answer.status !== 200) throw failure(answer, secrets, nowMs);
  if (!isJson(answer.contentType)) invalid(`its Content-Type is not application/json`);
  const body = parseObject(answer.body);
  if (body === undefined) invalid('it is not a JSON object');
  return checkTokenResponse(body);
}

/**
 * The fields of a success, however it was sent.
 * @throws FleetgateError `token_response_invalid`
 */
export function checkTokenResponse(
  body: { readonly [field in keyof TokenResponse]?: unknown },
): TokenResponse {
  const { access_token: token, token_type: type, expires_in: expiresIn, scope } = body;
  if (typeof token !== 'string' || !tokenPattern.test(token)) invalid('access_token is missing or malformed');
  if (token.length > MAX_TOKEN_LENGTH) invalid(`access_token is longer than ${MAX_TOKEN_LENGTH} characters`);
  if (typeof type !== 'string' || type.toLowerCase() !== 'bearer') invalid('token_type is not Bearer');
  if (typeof expiresIn !== 'number' || !Number.isSafeInteger(expiresIn) || expiresIn < 1) {
    invalid('expires_in is not a positive whole number of seconds');
  }
  if (expiresIn > MAX_LIFETIME_SECONDS) invalid(`expires_in is more than ${MAX_LIFETIME_SECONDS} seconds`);
  if (scope !== undefined && typeof scope !== 'string') invalid('scope is not a string');
  const response: TokenResponse = { access_token: token, token_type: 'Bearer', expires_in: expiresIn };
  return scope === undefined ? response : { ...response, scope };
}

/** Milliseconds of a `Retry-After` value (RFC 9110 §10.2.3: seconds or a date), `undefined` when it is neither. */
export function parseRetryAfterMs(value: string | null, nowMs: number): number | undefined {
  if (value === null) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1000;
  const atMs = Date.parse(value);
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - nowMs);
}

/** Whether a `Content-Type` is `application/json`, whatever its parameters. */
export function isJson(contentType: string): boolean {
  return contentType.split(';', 1)[0]?.trim().toLowerCase() === 'application/json';
}

/** The JSON object in `text`, or `undefined`. The parser's error is dropped: it quotes the text. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function failure(answer: HttpAnswer, secrets: readonly string[], nowMs: number): FleetgateError {
  const { status } = answer;
  const body = isJson(answer.contentType) ? parseObject(answer.body) : undefined;
  const code = body?.['error'];
  const description = printable(body?.['error_description'], secrets);
  if (status === 429 || status === 503) {
    const retryAfterMs = parseRetryAfterMs(answer.retryAfter, nowMs);
    return new IssuerBusyError(description || `the issuer answered ${status}`, retryAfterMs);
  }
  if (isOAuthErrorCode(code)) return new OAuthError(code, description || `the issuer answered ${code}`);
  return new FleetgateError('token_request_failed', `the token endpoint answered ${status}`);
}

function isOAuthErrorCode(code: unknown): code is OAuthErrorCode {
  return (oauthErrorCodes as readonly unknown[]).includes(code);
}

// RFC 6749 §5.2 allows printable ASCII; the text goes to terminals and logs.
export function printable(text: unknown, secrets: readonly string[] = []): string {
  if (typeof text !== 'string') return '';
  // Before the cut, which could leave half a secret; and before the error is made, whose stack has the message too.
  const clean = secrets.reduce((cleaned, secret) => cleaned.replaceAll(secret, '***'), text);
  return clean.slice(0, 200).replace(/[^\x20-\x7e]/g, '?');
}

function invalid(problem: string): never {
  throw new FleetgateError(
    'token_response_invalid',
    `the answer of the token endpoint is not usable: ${problem}`,
  );
}
