import { MAX_SCOPE_LENGTH, MAX_SCOPE_TOKENS } from '@fleetgate/shared';
import type { Claims } from './claim-profile.ts';
import { invalidClaim } from './invalid-claim.ts';

/**
 * The scope tokens in `scp`, an array, else in `scope`, a string (RFC 9068 §2.2.3). Both are looked at, so that a
 * malformed one is refused beside a good one.
 * @throws TokenError
 */
export function readScopes(claims: Claims): readonly string[] {
  const scp = claims.get('scp');
  const scope = claims.get('scope');
  if (scope !== undefined && typeof scope !== 'string') return invalidClaim('scope is not a string');
  // A string `scp` would make `includes` match parts of names; only whole tokens count.
  if (scp !== undefined && !Array.isArray(scp)) return invalidClaim('scp is not an array');
  const tokens = scope === undefined ? undefined : splitScope(scope);
  return checkTokens(scp ?? tokens ?? invalidClaim('there is neither scp nor scope'));
}

/**
 * The scope tokens in the claim `name`: an array, or a string of whole tokens separated by spaces.
 * @throws TokenError
 */
export function readNamedScopes(claims: Claims, name: string): readonly string[] {
  const value = claims.get(name);
  if (typeof value === 'string') return checkTokens(splitScope(value));
  return Array.isArray(value)
    ? checkTokens(value)
    : invalidClaim('the scopes are neither an array nor a string');
}

function splitScope(scope: string): readonly string[] {
  if (scope.length > MAX_SCOPE_LENGTH) invalidClaim('scope is too long');
  return scope === '' ? [] : scope.split(' ');
}

// RFC 6749 §3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
export const scopeTokenPattern = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

function checkTokens(tokens: readonly unknown[]): readonly string[] {
  if (tokens.length > MAX_SCOPE_TOKENS) {
    return invalidClaim(`there are more than ${MAX_SCOPE_TOKENS} scope tokens`);
  }
  const scopes = new Set<string>();
  for (const token of tokens) {
    if (typeof token !== 'string' || token.length > MAX_SCOPE_LENGTH || !scopeTokenPattern.test(token)) {
      return invalidClaim('a scope token is malformed');
    }
    scopes.add(token);
  }
  return Object.freeze([...scopes]);
}
