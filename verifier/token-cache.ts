import { hash } from 'node:crypto';
import type { VerificationKey } from './key-set.ts';
import type { VerifiedToken } from './verified-token.ts';

/** A token whose signature was checked, and the key that was used. */
export interface CachedToken {
  readonly token: VerifiedToken;
  readonly key: VerificationKey;
}

/** Tokens that verified, by {@link digestOf} of their bytes. */
export interface TokenCache {
  get(digest: string): CachedToken | undefined;
  /** Beyond the bound the oldest goes. */
  add(digest: string, cached: CachedToken): void;
  delete(digest: string): void;
  readonly size: number;
}

/** Default bound: one token for each connection the broker takes by default, at 1.75 KB of heap each. */
export const DEFAULT_MAX_CACHED_TOKENS = 100_000;

/** Expired ones looked for at the old end with each that is added: more than one, so that they get fewer. */
const EXPIRED_PER_ADDITION = 2;

/**
 * A cache of verified tokens, in the order in which they came.
 * @param isExpired whether nothing can be done with the token any more
 */
export function createTokenCache(
  maxTokens: number,
  isExpired: (token: VerifiedToken) => boolean,
): TokenCache {
  const byDigest = new Map<string, CachedToken>();

  function makeRoom(): void {
    let removed = 0;
    for (const [digest, { token }] of byDigest) {
      if (byDigest.size < maxTokens && (removed >= EXPIRED_PER_ADDITION || !isExpired(token))) return;
      byDigest.delete(digest);
      removed += 1;
    }
  }

  return {
    get: (digest) => byDigest.get(digest),
    add(digest, cached) {
      if (maxTokens === 0) return;
      byDigest.delete(digest);
      makeRoom();
      byDigest.set(digest, cached);
    },
    delete(digest) {
      byDigest.delete(digest);
    },
    get size() {
      return byDigest.size;
    },
  };
}

/** SHA-256, so that neither a token stays in memory nor two share an entry. One byte a character. */
export function digestOf(token: Uint8Array): string {
  return hash('sha256', token, 'binary');
}
