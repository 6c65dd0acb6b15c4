import { isIdentifier, MAX_SCOPE_LENGTH, MAX_SCOPE_TOKENS, TokenError } from '@fleetgate/shared';
import type { Claims, Issuer } from './issuer.ts';

/**
 * Seconds a token may live at most, `exp - iat`. Fleets refresh in minutes to hours; a token that lives for longer
 * than a day is a password, and a mistake of its issuer should not become one here.
 */
export const MAX_TOKEN_LIFETIME_SECONDS = 86_400;

/** Characters of a `jti`. It is kept for each session and compared with revocations; a UUID has 36. */
export const MAX_TOKEN_ID_LENGTH = 256;

/** What the claims of a token say, each of them of the right type. */
export interface ReadClaims {
  readonly clientId: string;
  readonly tokenId: string;
  readonly issuedAtSeconds: number;
  readonly expiresAtSeconds: number;
  readonly scopes: readonly string[];
  readonly group: string | undefined;
}

/**
 * Reads and checks the claims of a token of `issuer` (RFC 9068 §2.2 and §4). Nothing here proves that the issuer
 * made them: that is the signature's part.
 * @throws TokenError
 */
export function readClaims(
  claims: Claims,
  issuer: Issuer,
  nowSeconds: number,
  skewSeconds: number,
): ReadClaims {
  if (claims.has('cnf')) invalid('the token is bound to a key this connection cannot show');
  if (issuer.profile === 'supertokens' && claims.get('stt') !== 1) invalid('stt is not 1');
  const clientId = readClientId(claims, issuer);
  const tokenId = claims.get('jti');
  if (typeof tokenId !== 'string' || tokenId === '' || tokenId.length > MAX_TOKEN_ID_LENGTH) {
    return invalid('jti is not a short string');
  }
  const group = claims.get('group');
  if (group !== undefined && !isIdentifier(group)) return invalid('group is not an identifier');
  if (!hasAudience(claims.get('aud'), issuer.audience)) {
    throw new TokenError('token_audience_refused', `aud does not name ${issuer.audience}`);
  }
  const scopes = readScopes(claims);
  const times = readTimes(claims, nowSeconds, skewSeconds);
  return { clientId, tokenId, ...times, scopes, group };
}

function readClientId(claims: Claims, issuer: Issuer): string {
  const subject = claims.get('sub');
  const clientId = claims.get('client_id') ?? (issuer.profile === 'supertokens' ? subject : undefined);
  if (!isIdentifier(clientId)) return invalid('client_id is not an identifier');
  // Of a token of a user at a client the two differ: a client acts for itself here.
  if (subject !== clientId) return invalid('sub is not client_id');
  return clientId;
}

function hasAudience(value: unknown, expected: string): boolean {
  if (typeof value === 'string') return value === expected;
  return Array.isArray(value) && value.every((one) => typeof one === 'string') && value.includes(expected);
}

// RFC 6749 §3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
const scopeTokenPattern = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

function readScopes(claims: Claims): readonly string[] {
  const scp = claims.get('scp');
  const scope = claims.get('scope');
  if (scope !== undefined && typeof scope !== 'string') return invalid('scope is not a string');
  const isTooLong = (text: string) => text.length > MAX_SCOPE_LENGTH;
  if (scope !== undefined && isTooLong(scope)) return invalid('scope is too long');
  // A string `scp` would make `includes` match parts of names; only whole tokens count.
  if (scp !== undefined && !Array.isArray(scp)) return invalid('scp is not an array');
  const tokens: readonly unknown[] | undefined =
    scp ?? (scope === undefined ? undefined : scope === '' ? [] : scope.split(' '));
  if (tokens === undefined) return invalid('there is neither scp nor scope');
  if (tokens.length > MAX_SCOPE_TOKENS)
    return invalid(`there are more than ${MAX_SCOPE_TOKENS} scope tokens`);
  const scopes = new Set<string>();
  for (const token of tokens) {
    if (typeof token !== 'string' || isTooLong(token) || !scopeTokenPattern.test(token)) {
      return invalid('a scope token is malformed');
    }
    scopes.add(token);
  }
  return [...scopes];
}

function readTimes(
  claims: Claims,
  nowSeconds: number,
  skewSeconds: number,
): { issuedAtSeconds: number; expiresAtSeconds: number } {
  const expiresAt = claims.get('exp');
  const issuedAt = claims.get('iat');
  const notBefore = claims.get('nbf') ?? issuedAt;
  if (!isTime(expiresAt) || !isTime(issuedAt) || !isTime(notBefore)) {
    return invalid('exp, iat and nbf are not all whole seconds');
  }
  const lifetime = expiresAt - issuedAt;
  if (lifetime <= 0 || lifetime > MAX_TOKEN_LIFETIME_SECONDS) {
    return invalid(`the token lives for more than ${MAX_TOKEN_LIFETIME_SECONDS} s, or not at all`);
  }
  if (issuedAt > nowSeconds + skewSeconds || notBefore > nowSeconds + skewSeconds) {
    throw new TokenError('token_not_yet_valid', 'iat or nbf lies in the future');
  }
  if (expiresAt + skewSeconds <= nowSeconds) throw new TokenError('token_expired', 'the token has expired');
  return { issuedAtSeconds: issuedAt, expiresAtSeconds: expiresAt };
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function invalid(message: string): never {
  throw new TokenError('token_claim_invalid', message);
}
