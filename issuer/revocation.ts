import { MAX_TOKEN_LIFETIME_SECONDS } from './token-lifetime.ts';

/** What is taken back. Moments in seconds since 1970. */
export type RevocationTarget =
  /** One token, by its `jti`. */
  | { readonly kind: 'token'; readonly tokenId: string }
  /** All tokens of one client with `iat <= atSeconds`; `isQuarantined` when it was put into quarantine by that. */
  | {
      readonly kind: 'client';
      readonly clientId: string;
      readonly atSeconds: number;
      readonly isQuarantined?: true;
    }
  /** All tokens with `iat < atSeconds`, of one client or of all. */
  | { readonly kind: 'issued_before'; readonly clientId?: string; readonly atSeconds: number }
  /** All tokens signed with one key. */
  | { readonly kind: 'key'; readonly keyId: string };

/** A revocation that is to be recorded. */
export type NewRevocation = RevocationTarget & Expiring;

export interface Expiring {
  /** When no token it could hit can be alive any more, seconds since 1970. */
  readonly expiresAtSeconds: number;
}

/** A revocation as it was recorded. */
export type RecordedRevocation = NewRevocation & {
  /** Where it stands among the others: later ones compare greater, as text. Opaque outside the registry. */
  readonly cursor: string;
  readonly createdAtMs: number;
};

/** What of a token a revocation looks at. */
export interface RevocableToken {
  readonly tokenId: string;
  readonly clientId: string;
  readonly issuedAtSeconds: number;
  /** `kid`. */
  readonly keyId: string;
}

/** Seconds a resource server may accept a token beyond its `exp`: the most `broker.clock_skew_seconds` takes. */
const MAX_READER_SKEW_SECONDS = 300;

/**
 * The revocation with its expiry. Whatever it hits was issued by now, or by the moment it names where that is later,
 * and lives no longer than any token may: lifetimes can be changed, and another process may have others.
 */
export function expiring<Target extends RevocationTarget>(
  target: Target,
  nowSeconds: number,
): Target & Expiring {
  const lastIssued = 'atSeconds' in target ? Math.max(target.atSeconds, nowSeconds) : nowSeconds;
  return { ...target, expiresAtSeconds: goneAfter(lastIssued + MAX_TOKEN_LIFETIME_SECONDS) };
}

/** When the last resource server has forgotten a token that expires then. */
export function goneAfter(expirySeconds: number): number {
  return expirySeconds + MAX_READER_SKEW_SECONDS;
}
