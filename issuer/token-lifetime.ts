/** Longest lifetime of a token. Ours: what cannot be revoked everywhere at once must end within a day. */
export const MAX_TOKEN_LIFETIME_SECONDS = 86_400;

/**
 * How far `iat` may lie ahead of the clock because of a revocation. Ours: such a token is accepted nowhere before
 * that moment, and a client that is told so asks again.
 */
export const MAX_ISSUED_AHEAD_SECONDS = 60;

/** Whether tokens may live that long: 1 second to {@link MAX_TOKEN_LIFETIME_SECONDS}. */
export function isTokenLifetime(seconds: number): boolean {
  return Number.isSafeInteger(seconds) && seconds >= 1 && seconds <= MAX_TOKEN_LIFETIME_SECONDS;
}
