import { checkNames, isIdentifier } from '@fleetgate/shared';
import { invalidClaim } from './invalid-claim.ts';
import { readNamedScopes, readScopes } from './scope-claims.ts';

/** The claims of a token as they came. */
export type Claims = ReadonlyMap<string, unknown>;

/**
 * Which claims of an issuer's tokens say what.
 * `standard`: tokens as RFC 9068 has them: `typ` is `at+jwt`, `sub` and `client_id` are both there and equal.
 * `supertokens`: also takes `typ: JWT`, does without `client_id`, and wants `stt: 1`.
 * {@link ClaimNames}: as `standard` but for what it names.
 */
export type ClaimProfile = 'standard' | 'supertokens' | ClaimNames;

/** Where an issuer puts what `standard` looks for elsewhere. */
export interface ClaimNames {
  /**
   * Claim that names the client. Default `client_id`. With another name `sub` is not compared with it, as issuers that
   * need this put an account of their own there; so name one only of an issuer that gives this audience to no users.
   */
  readonly clientId?: string;
  /** Claim that holds the scope tokens, an array or separated by spaces. Default: `scp`, else `scope`. */
  readonly scope?: string;
  /** Claim that names the group. Default `group`. */
  readonly group?: string;
  /** Values of the header's `typ`, in any case, `application/` in front or not. Default `['at+jwt']`. */
  readonly types?: readonly string[];
}

/** How the tokens of one issuer are read. */
export interface ProfileReader {
  /** Values of `typ`, as {@link normalizeType} leaves them. */
  readonly types: ReadonlySet<string>;
  /** @throws TokenError */
  readonly readClientId: (claims: Claims) => string;
  /** @throws TokenError */
  readonly readScopes: (claims: Claims) => readonly string[];
  readonly groupClaim: string;
}

/** Characters of a claim name; those that are URLs have some sixty. */
const MAX_CLAIM_NAME_LENGTH = 256;

/** More would be a list of everything. */
const MAX_TYPES = 16;

const ACCESS_TOKEN_TYPE = 'at+jwt';

const standard: ProfileReader = Object.freeze({
  types: new Set([ACCESS_TOKEN_TYPE]),
  readClientId: (claims: Claims) => readOwnClientId(claims, claims.get('client_id')),
  readScopes,
  groupClaim: 'group',
});

const supertokens: ProfileReader = Object.freeze({
  ...standard,
  types: new Set([ACCESS_TOKEN_TYPE, 'jwt']),
  readClientId(claims: Claims) {
    if (claims.get('stt') !== 1) invalidClaim('stt is not 1');
    return readOwnClientId(claims, claims.get(claims.has('client_id') ? 'client_id' : 'sub'));
  },
});

/** @throws TypeError for a profile nobody knows, or names that cannot be meant */
export function prepareProfile(profile: ClaimProfile): ProfileReader {
  if (profile === 'standard') return standard;
  if (profile === 'supertokens') return supertokens;
  if (typeof profile !== 'object' || profile === null) {
    throw new TypeError(
      `unknown issuer profile ${String(profile)}; known are standard, supertokens, claim names`,
    );
  }
  checkNames(profile, ['clientId', 'scope', 'group', 'types'], 'profile.');
  const { clientId = 'client_id', scope, group = 'group', types = [ACCESS_TOKEN_TYPE] } = profile;
  checkClaimName('clientId', clientId);
  if (scope !== undefined) checkClaimName('scope', scope);
  checkClaimName('group', group);
  return Object.freeze({
    types: prepareTypes(types),
    readClientId:
      clientId === 'client_id' ? standard.readClientId : (claims) => readClientId(claims.get(clientId)),
    readScopes: scope === undefined ? readScopes : (claims) => readNamedScopes(claims, scope),
    groupClaim: group,
  });
}

/** `typ` is a media type, in any case, whose `application/` may be left out (RFC 7515 §4.1.9). */
export function normalizeType(type: string): string {
  return type.toLowerCase().replace(/^application\/(?=[^/]*$)/, '');
}

function readClientId(value: unknown): string {
  return isIdentifier(value) ? value : invalidClaim('the client id is not an identifier');
}

// Of a token of a user at a client the two differ: a client acts for itself here.
function readOwnClientId(claims: Claims, value: unknown): string {
  const clientId = readClientId(value);
  return claims.get('sub') === clientId ? clientId : invalidClaim('sub is not client_id');
}

/** What these say is fixed by RFC 7519 §4.1 and RFC 7800 §3; none of them names a client, a scope or a group. */
const claimsOfOtherMeaning = ['iss', 'aud', 'exp', 'nbf', 'iat', 'jti', 'cnf'];

function checkClaimName(option: string, name: unknown): void {
  if (typeof name !== 'string' || name === '' || name.length > MAX_CLAIM_NAME_LENGTH) {
    throw new TypeError(`profile.${option} must be the name of a claim`);
  }
  if (claimsOfOtherMeaning.includes(name)) {
    throw new TypeError(`profile.${option} cannot be ${name}, which means something else (RFC 7519 §4.1)`);
  }
}

// RFC 6838 §4.2: restricted-name, here with one slash.
const typePattern = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}(\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126})?$/;

function prepareTypes(types: unknown): ReadonlySet<string> {
  if (!Array.isArray(types) || types.length === 0 || types.length > MAX_TYPES) {
    throw new TypeError(`profile.types must be a list of 1 to ${MAX_TYPES} values of typ`);
  }
  for (const type of types) {
    if (typeof type !== 'string' || !typePattern.test(type)) {
      throw new TypeError('profile.types holds something that is no typ, such as at+jwt');
    }
  }
  return new Set(types.map(normalizeType));
}
