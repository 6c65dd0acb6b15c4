import { FleetgateError } from './errors.ts';
import { isIdentifier } from './identifier.ts';

/** What an issuer takes back, as its feed and its admin API spell it. `at` in seconds since 1970, on its clock. */
export type RevocationTarget =
  /** One token. */
  | { readonly kind: 'token'; readonly jti: string }
  /**
   * All tokens of one client with `iat <= at`. It may fetch new ones, unless it was deleted or, as `quarantined` says,
   * put into quarantine.
   */
  | { readonly kind: 'client'; readonly client_id: string; readonly at: number; readonly quarantined?: true }
  /** All tokens with `iat < at`, of one client or of all. */
  | { readonly kind: 'issued_before'; readonly client_id?: string; readonly at: number }
  /** All tokens signed with one key. */
  | { readonly kind: 'key'; readonly kid: string };

/** One event of the revocation feed. */
export type Revocation = RevocationTarget & {
  /** Where it stands in the feed. Opaque to readers; later ones compare greater, as text. */
  readonly cursor: string;
  /** Seconds since 1970 from which no token it could hit can be alive any more: it may be forgotten. */
  readonly expires_at: number;
};

/** Characters of a `jti`. Ours have 36; broker and issuer take no longer one. */
export const MAX_TOKEN_ID_LENGTH = 256;

/** Characters of a `kid`. Ours have 43 (RFC 7638). */
export const MAX_KEY_ID_LENGTH = 256;

/** Characters of a cursor. Ours have 30. */
export const MAX_CURSOR_LENGTH = 64;

// Visible ASCII: it is shown in tables, compared as text, and sent in a line of its own.
const visiblePattern = /^[\x21-\x7e]+$/;

/** Whether `value` may be the `jti` of a token that is revoked. */
export const isTokenId = (value: unknown): value is string => isVisible(value, MAX_TOKEN_ID_LENGTH);

/** Whether `value` may be the `kid` of a key that is revoked. */
export const isKeyId = (value: unknown): value is string => isVisible(value, MAX_KEY_ID_LENGTH);

/** Whether `value` may be a cursor. */
export const isCursor = (value: unknown): value is string => isVisible(value, MAX_CURSOR_LENGTH);

type Fields = Readonly<Record<string, unknown>>;
type ReadTarget = (fields: Fields) => RevocationTarget;

/** Each kind with how its own fields are read. */
const kinds: ReadonlyMap<string, ReadTarget> = new Map<string, ReadTarget>([
  ['token', ({ jti }) => ({ kind: 'token', jti: isTokenId(jti) ? jti : malformed('jti') })],
  [
    'client',
    ({ client_id, at, quarantined }) => ({
      kind: 'client',
      client_id: clientId(client_id),
      at: time('at', at),
      ...(quarantined === undefined ? {} : { quarantined: isTrue('quarantined', quarantined) }),
    }),
  ],
  [
    'issued_before',
    ({ client_id, at }) => ({
      kind: 'issued_before',
      ...(client_id === undefined ? {} : { client_id: clientId(client_id) }),
      at: time('at', at),
    }),
  ],
  ['key', ({ kid }) => ({ kind: 'key', kid: isKeyId(kid) ? kid : malformed('kid') })],
]);

/**
 * A revocation out of parsed JSON. Members that nobody here knows are left out: to know less of what a revocation
 * means is to refuse more tokens. A kind that nobody here knows is an error of its own: it takes something back, and
 * a reader that cannot tell what must take back everything issued so far.
 * @throws FleetgateError `revocation_kind_unknown`, `revocation_malformed`
 */
export function parseRevocation(value: unknown): Revocation {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return malformed('the event');
  const fields = value as Fields;
  const { kind, cursor } = fields;
  if (typeof kind !== 'string') return malformed('kind');
  const read = kinds.get(kind);
  if (read === undefined) {
    throw new FleetgateError('revocation_kind_unknown', 'a revocation is of a kind that is not known here');
  }
  return {
    ...read(fields),
    cursor: isCursor(cursor) ? cursor : malformed('cursor'),
    expires_at: time('expires_at', fields['expires_at']),
  };
}

/** The revocation as one line of JSON. */
export function formatRevocation({ cursor, kind, ...fields }: Revocation): string {
  return JSON.stringify({ cursor, kind, ...fields });
}

/** What of a token a revocation looks at. */
export interface RevocableToken {
  readonly jti: string;
  readonly client_id: string;
  readonly iat: number;
  /** Of the token's header. */
  readonly kid: string;
}

/** Whether the revocation takes this token back. */
export function revokes(revocation: RevocationTarget, token: RevocableToken): boolean {
  switch (revocation.kind) {
    case 'token':
      return revocation.jti === token.jti;
    case 'client':
      return revocation.client_id === token.client_id && token.iat <= revocation.at;
    case 'issued_before':
      return (revocation.client_id ?? token.client_id) === token.client_id && token.iat < revocation.at;
    case 'key':
      return revocation.kid === token.kid;
  }
}

function clientId(value: unknown): string {
  return isIdentifier(value) ? value : malformed('client_id');
}

function time(field: string, value: unknown): number {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : malformed(field);
}

function isTrue(field: string, value: unknown): true {
  return value === true ? value : malformed(field);
}

function isVisible(value: unknown, maxLength: number): value is string {
  return typeof value === 'string' && value.length <= maxLength && visiblePattern.test(value);
}

function malformed(field: string): never {
  throw new FleetgateError('revocation_malformed', `${field} of a revocation is missing or malformed`);
}
