import type { TokenErrorCode } from '@fleetgate/shared';
import type { VerifiedToken } from '@fleetgate/verifier';

/** What an issuer takes back. Moments in seconds since 1970, on the issuer's clock. */
export type Revocation =
  /** One token, by its `jti`. */
  | { readonly kind: 'token'; readonly tokenId: string }
  /**
   * All of one client's tokens issued up to and including this second. With `isQuarantined` the client is told that it
   * is not allowed, rather than to get a new token: it gets none.
   */
  | {
      readonly kind: 'client';
      readonly clientId: string;
      readonly atSeconds: number;
      readonly isQuarantined?: true;
    }
  /** All tokens issued before this second, of one client or of all. */
  | { readonly kind: 'issued_before'; readonly clientId?: string; readonly atSeconds: number }
  /** All tokens signed with one key. */
  | { readonly kind: 'key'; readonly keyId: string };

/** As what a token was taken back. */
export type RevokedAs = Extract<TokenErrorCode, 'token_revoked' | 'client_quarantined'>;

/** What has been revoked, of each issuer apart: an issuer takes back only what it gave. */
export interface Revocations {
  add(issuer: string, revocation: Revocation): void;
  /** Unset for a token that is good. Of several revocations that hit it a quarantine counts. */
  revokedAs(token: VerifiedToken): RevokedAs | undefined;
  /** Rows held. */
  readonly size: number;
}

/**
 * Rows that may be held of one issuer, tokens and clients together. Beyond it nothing can be told apart any more, and
 * every token issued up to that moment counts as revoked: refusing too much is mended by a new token.
 */
export const MAX_REVOCATIONS_PER_ISSUER = 1_000_000;

/** Rows between two sweeps of those that no token that still lives could meet. */
const ROWS_PER_SWEEP = 10_000;

interface OfIssuer {
  /** `jti` to the second at which every such token has expired. */
  readonly tokens: Map<string, number>;
  /** Client to the last second whose tokens are revoked. */
  readonly clients: Map<string, number>;
  /** The same of those by a quarantine: another revocation of the client is none, and takes none back. */
  readonly quarantined: Map<string, number>;
  readonly keys: Set<string>;
  /** The last second whose tokens are revoked, of all clients. */
  allUpTo: number;
  addedSinceSweep: number;
}

/** @param maxLifetimeSeconds no token lives longer, so no row needs to */
export function createRevocations(options: {
  readonly maxLifetimeSeconds: number;
  readonly clockSkewSeconds: number;
  readonly now: () => number;
  readonly maxRows?: number;
}): Revocations {
  const { maxLifetimeSeconds, clockSkewSeconds, now, maxRows = MAX_REVOCATIONS_PER_ISSUER } = options;
  const keptSeconds = maxLifetimeSeconds + 2 * clockSkewSeconds;
  const byIssuer = new Map<string, OfIssuer>();
  const nowSeconds = () => Math.floor(now() / 1000);

  function ofIssuer(issuer: string): OfIssuer {
    let of = byIssuer.get(issuer);
    if (of === undefined) {
      of = {
        tokens: new Map(),
        clients: new Map(),
        quarantined: new Map(),
        keys: new Set(),
        allUpTo: Number.NEGATIVE_INFINITY,
        addedSinceSweep: 0,
      };
      byIssuer.set(issuer, of);
    }
    return of;
  }

  function upTo(of: OfIssuer, clientId: string | undefined, seconds: number): void {
    if (clientId === undefined) of.allUpTo = Math.max(of.allUpTo, seconds);
    else raise(of.clients, clientId, seconds);
  }

  function bound(of: OfIssuer): void {
    of.addedSinceSweep += 1;
    const isFull = rowsOf(of) > maxRows;
    if (of.addedSinceSweep < ROWS_PER_SWEEP && !isFull) return;
    of.addedSinceSweep = 0;
    sweep(of, nowSeconds());
    if (rowsOf(of) <= maxRows) return;
    of.tokens.clear();
    of.clients.clear();
    of.quarantined.clear();
    upTo(of, undefined, nowSeconds() + clockSkewSeconds);
  }

  function sweep({ tokens, clients, quarantined }: OfIssuer, atSeconds: number): void {
    for (const [tokenId, goneAtSeconds] of tokens) if (goneAtSeconds < atSeconds) tokens.delete(tokenId);
    for (const moments of [clients, quarantined]) {
      for (const [clientId, seconds] of moments) {
        if (seconds + keptSeconds < atSeconds) moments.delete(clientId);
      }
    }
  }

  return Object.freeze({
    add(issuer: string, revocation: Revocation) {
      const of = ofIssuer(issuer);
      if (!saysWhat(revocation)) {
        // It revokes something: everything, to be safe.
        upTo(of, undefined, nowSeconds());
        bound(of);
        return;
      }
      switch (revocation.kind) {
        case 'token':
          of.tokens.set(revocation.tokenId, nowSeconds() + keptSeconds);
          break;
        case 'client':
          raise(
            revocation.isQuarantined === true ? of.quarantined : of.clients,
            revocation.clientId,
            revocation.atSeconds,
          );
          break;
        case 'issued_before':
          upTo(of, revocation.clientId, Math.ceil(revocation.atSeconds) - 1);
          break;
        case 'key':
          of.keys.add(revocation.keyId);
      }
      bound(of);
    },
    revokedAs({ issuer, tokenId, clientId, keyId, issuedAtSeconds }: VerifiedToken) {
      const of = byIssuer.get(issuer);
      if (of === undefined) return undefined;
      const isWithin = (moments: ReadonlyMap<string, number>) =>
        issuedAtSeconds <= (moments.get(clientId) ?? Number.NEGATIVE_INFINITY);
      if (isWithin(of.quarantined)) return 'client_quarantined';
      const isRevoked =
        issuedAtSeconds <= of.allUpTo || of.tokens.has(tokenId) || isWithin(of.clients) || of.keys.has(keyId);
      return isRevoked ? 'token_revoked' : undefined;
    },
    get size() {
      let rows = 0;
      for (const of of byIssuer.values()) rows += rowsOf(of);
      return rows;
    },
  });
}

/** An earlier moment does not take a later one back. */
function raise(moments: Map<string, number>, clientId: string, seconds: number): void {
  moments.set(clientId, Math.max(moments.get(clientId) ?? seconds, seconds));
}

function rowsOf({ tokens, clients, quarantined, keys }: OfIssuer): number {
  return tokens.size + clients.size + quarantined.size + keys.size;
}

/** Whether it is of a kind that is known here and complete: it comes from outside, where types hold nothing. */
function saysWhat(revocation: Revocation): boolean {
  switch (revocation.kind) {
    case 'token':
      return typeof revocation.tokenId === 'string';
    case 'client':
      return typeof revocation.clientId === 'string' && isMoment(revocation.atSeconds);
    case 'issued_before':
      return ['string', 'undefined'].includes(typeof revocation.clientId) && isMoment(revocation.atSeconds);
    case 'key':
      return typeof revocation.keyId === 'string';
    default:
      return false;
  }
}

// NaN would take every revocation of the same client back, since nothing compares with it.
function isMoment(seconds: unknown): boolean {
  return typeof seconds === 'number' && !Number.isNaN(seconds);
}
