import { createHash, randomBytes } from 'node:crypto';
import type { SignIn } from '../sign-ins.ts';

/** From the way to the provider until the way back. */
export const ATTEMPT_MS = 10 * 60_000;

/** At once; anybody can begin one, and the oldest makes room. */
const MAX_ATTEMPTS = 10_000;

/** A way to the provider that somebody's browser is on. */
export interface Attempt {
  readonly state: string;
  readonly nonce: string;
  /** RFC 7636. */
  readonly codeVerifier: string;
  readonly startedAtMs: number;
  /** Who is to sign in anew; unset for who signs in. */
  readonly signIn?: SignIn | undefined;
}

export interface Attempts {
  /** The text for the cookie that binds it to the browser: 256 random bits. */
  begin(attempt: Omit<Attempt, 'startedAtMs'>): string;
  /** The attempt of that cookie, this once; undefined for what is none, too old, or was taken. */
  take(cookie: string | undefined): Attempt | undefined;
}

export function createAttempts(now: () => number): Attempts {
  /** By the digest of the cookie, in the order in which they began. */
  const byDigest = new Map<string, Attempt>();
  const isOver = ({ startedAtMs }: Attempt) => now() - startedAtMs >= ATTEMPT_MS;

  return {
    begin(attempt) {
      for (const [digest, one] of byDigest) {
        if (byDigest.size < MAX_ATTEMPTS && !isOver(one)) break;
        byDigest.delete(digest);
      }
      const cookie = randomBytes(32).toString('base64url');
      byDigest.set(digestOf(cookie), { ...attempt, startedAtMs: now() });
      return cookie;
    },
    take(cookie) {
      if (cookie === undefined) return undefined;
      const digest = digestOf(cookie);
      const attempt = byDigest.get(digest);
      byDigest.delete(digest);
      return attempt === undefined || isOver(attempt) ? undefined : attempt;
    },
  };
}

const digestOf = (text: string) => createHash('sha256').update(text).digest('base64url');
