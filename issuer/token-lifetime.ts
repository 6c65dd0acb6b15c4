/** Longest lifetime of a token. Ours: what cannot be revoked everywhere at once must end within a day. */
export const MAX_TOKEN_LIFETIME_SECONDS = 86_400;

/** Whether tokens may live that long: 1 second to {@link MAX_TOKEN_LIFETIME_SECONDS}. */
export function isTokenLifetime(seconds: number): boolean {
  return Number.isSafeInteger(seconds) && seconds >= 1 && seconds <= MAX_TOKEN_LIFETIME_SECONDS;
}
