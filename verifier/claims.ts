import { isIdentifier, TokenError, type TokenOwner } from '@fleetgate/shared';
import { readCertificateBinding } from './certificate-binding.ts';
import type { Claims, ProfileReader } from './claim-profile.ts';
import { invalidClaim } from './invalid-claim.ts';

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
  /** The certificate it is bound to. */
  readonly certificateThumbprint: string | undefined;
}

/**
 * Reads and checks the claims of a token by the profile and audience of its issuer (RFC 9068 §2.2 and §4). Nothing
 * here proves that the issuer made them: that is the signature's part.
 * @throws TokenError
 */
export function readClaims(
  claims: Claims,
  { profile, audience }: { readonly profile: ProfileReader; readonly audience: string },
  nowSeconds: number,
  skewSeconds: number,
): ReadClaims {
  const certificateThumbprint = readCertificateBinding(claims.get('cnf'));
  const clientId = profile.readClientId(claims);
  const tokenId = claims.get('jti');
  if (typeof tokenId !== 'string' || tokenId === '' || tokenId.length > MAX_TOKEN_ID_LENGTH) {
    return invalidClaim('jti is not a short string');
  }
  const group = claims.get(profile.groupClaim);
  if (group !== undefined && !isIdentifier(group)) return invalidClaim('the group is not an identifier');
  if (!hasAudience(claims.get('aud'), audience)) {
    throw new TokenError('token_audience_refused', `aud does not name ${audience}`);
  }
  const scopes = profile.readScopes(claims);
  const times = readTimes(claims, nowSeconds, skewSeconds);
  return { clientId, tokenId, ...times, scopes, group, certificateThumbprint };
}

/**
 * @param of whose token it is, where its signature has verified
 * @throws TokenError `token_expired`
 */
export function checkNotExpired(
  expiresAtSeconds: number,
  nowSeconds: number,
  skewSeconds: number,
  of?: TokenOwner,
): void {
  if (expiresAtSeconds + skewSeconds <= nowSeconds) {
    throw new TokenError('token_expired', 'the token has expired', of && { of });
  }
}

function hasAudience(value: unknown, expected: string): boolean {
  if (typeof value === 'string') return value === expected;
  return Array.isArray(value) && value.every((one) => typeof one === 'string') && value.includes(expected);
}

function readTimes(
  claims: Claims,
  nowSeconds: number,
  skewSeconds: number,
): { issuedAtSeconds: number; expiresAtSeconds: number } {
  const expiresAt = claims.get('exp');
  const issuedAt = claims.get('iat');
  const notBefore = claims.has('nbf') ? claims.get('nbf') : issuedAt;
  if (!isTime(expiresAt) || !isTime(issuedAt) || !isTime(notBefore)) {
    return invalidClaim('exp, iat and nbf are not all whole seconds');
  }
  const lifetime = expiresAt - issuedAt;
  if (lifetime <= 0 || lifetime > MAX_TOKEN_LIFETIME_SECONDS) {
    return invalidClaim(`the token lives for more than ${MAX_TOKEN_LIFETIME_SECONDS} s, or not at all`);
  }
  if (issuedAt > nowSeconds + skewSeconds || notBefore > nowSeconds + skewSeconds) {
    throw new TokenError('token_not_yet_valid', 'iat or nbf lies in the future');
  }
  checkNotExpired(expiresAt, nowSeconds, skewSeconds);
  return { issuedAtSeconds: issuedAt, expiresAtSeconds: expiresAt };
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
