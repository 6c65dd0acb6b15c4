import { FleetgateError, OAuthError } from '@fleetgate/shared';
import type { JsonObject } from './registry/registry.ts';

/** What a claim copied from a client's metadata may be. */
export type ClaimValue = ClaimScalar | readonly ClaimScalar[];
export type ClaimScalar = string | number | boolean;

// Limits, all ours. The longest claims together leave room for scopes in a token of 8 KiB.
const MAX_CLAIMS = 16;
const MAX_CLAIM_NAME_LENGTH = 64;
const MAX_CLAIM_LENGTH = 256;
const MAX_CLAIM_ELEMENTS = 16;

// Also a URL, as claims that are to collide with nobody's are called (RFC 7519 §4.2).
const namePattern = /^[A-Za-z0-9][A-Za-z0-9_.:/-]*$/;

/** Claims whose meaning is fixed: those of our tokens, of RFC 7519, 7662, 8693, 9068 and 9396, and of OpenID Connect. */
const reservedNames: ReadonlySet<string> = new Set([
  ...[
    'iss',
    'sub',
    'client_id',
    'aud',
    'scp',
    'scope',
    'stt',
    'jti',
    'iat',
    'nbf',
    'exp',
    'gid',
    'group',
    'cnf',
  ],
  ...['active', 'username', 'token_type', 'act', 'may_act', 'authorization_details'],
  ...['azp', 'auth_time', 'acr', 'amr', 'nonce', 'sid', 'at_hash', 'c_hash'],
]);

/** @throws FleetgateError `config_invalid`, naming the claim */
export function checkTokenClaimNames(names: readonly string[]): void {
  if (names.length > MAX_CLAIMS) invalidName(`must have at most ${MAX_CLAIMS} names`);
  for (const name of names) {
    if (name.length > MAX_CLAIM_NAME_LENGTH || !namePattern.test(name)) {
      invalidName(
        `must hold names of 1 to ${MAX_CLAIM_NAME_LENGTH} characters of A-Z a-z 0-9 _ . : / -, beginning with a ` +
          'letter or digit',
      );
    }
    if (reservedNames.has(name)) invalidName(`must not hold ${name}, which says something else in a token`);
  }
}

/**
 * Checks, for registration, the fields of metadata that become claims.
 * @throws OAuthError `invalid_request`, naming the field
 */
export function checkClaimMetadata(metadata: JsonObject, names: readonly string[]): void {
  for (const name of names) {
    if (!Object.hasOwn(metadata, name) || isClaimValue(metadata[name])) continue;
    throw new OAuthError(
      'invalid_request',
      `metadata.${name} becomes a claim of tokens: it must be text, a number, true or false, or a list of up to ` +
        `${MAX_CLAIM_ELEMENTS} of them, in all ${MAX_CLAIM_LENGTH} characters of JSON`,
    );
  }
}

/**
 * The claims that a client's metadata adds to its tokens. A value that was registered before its field was listed and
 * can be no claim is left out, which widens nothing at a broker: rules that need it do not apply.
 */
export function tokenClaims(
  metadata: JsonObject,
  names: readonly string[],
): Readonly<Record<string, ClaimValue>> | undefined {
  let claims: Record<string, ClaimValue> | undefined;
  for (const name of names) {
    const value = Object.hasOwn(metadata, name) ? metadata[name] : undefined;
    if (!isClaimValue(value)) continue;
    claims ??= {};
    claims[name] = value;
  }
  return claims;
}

function isClaimValue(value: unknown): value is ClaimValue {
  const isValue = Array.isArray(value)
    ? value.length <= MAX_CLAIM_ELEMENTS && value.every(isScalar)
    : isScalar(value);
  return isValue && JSON.stringify(value).length <= MAX_CLAIM_LENGTH;
}

function isScalar(value: unknown): value is ClaimScalar {
  if (typeof value === 'string') return value.isWellFormed();
  return typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value));
}

function invalidName(message: string): never {
  throw new FleetgateError('config_invalid', `token_claims ${message}`);
}
