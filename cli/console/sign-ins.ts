import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** Without a request for so long a sign-in ends. */
export const MAX_IDLE_MS = 30 * 60_000;

/** So long after it began it ends whatever happens: a working day. */
export const MAX_AGE_MS = 12 * 3_600_000;

/** For so long after the key was given once more, mass actions are let past. */
export const STEP_UP_MS = 5 * 60_000;

/** At once; the one that was quiet for longest makes room. */
const MAX_SIGN_INS = 1_000;

/** Somebody who gave an admin API key to the console. The key stays here; the page has the text of a cookie. */
export interface SignIn {
  readonly apiKey: string;
  readonly keyName: string;
  readonly role: string;
  readonly startedAtMs: number;
  lastSeenMs: number;
  steppedUpAtMs: number;
}

/** In memory: a process that starts anew has nobody signed in. */
export interface SignIns {
  /** The text for the cookie: 256 random bits. */
  begin(key: { readonly apiKey: string; readonly keyName: string; readonly role: string }): string;
  /** Undefined for what is not known, or has ended; counts as a sign of life otherwise, unless it only watches. */
  find(cookie: string | undefined, isWatching?: boolean): SignIn | undefined;
  /** The same without being a sign of life. */
  isOver(cookie: string | undefined): boolean;
  /** Whether the key is that of the sign-in; from then on mass actions are let past for a while. */
  stepUp(signIn: SignIn, apiKey: string): boolean;
  isSteppedUp(signIn: SignIn): boolean;
  end(cookie: string | undefined): void;
  /** All of one key, which is no longer good. */
  endAllOf(apiKey: string): void;
}

export function createSignIns(now: () => number = Date.now): SignIns {
  /** By the digest of the cookie, so that what is in memory opens nothing. In order of their last sign of life. */
  const byDigest = new Map<string, SignIn>();

  function isOver({ startedAtMs, lastSeenMs }: SignIn): boolean {
    const nowMs = now();
    return nowMs - lastSeenMs >= MAX_IDLE_MS || nowMs - startedAtMs >= MAX_AGE_MS;
  }

  return {
    begin({ apiKey, keyName, role }) {
      for (const [digest, signIn] of byDigest) {
        if (byDigest.size < MAX_SIGN_INS && !isOver(signIn)) break;
        byDigest.delete(digest);
      }
      const cookie = randomBytes(32).toString('base64url');
      const nowMs = now();
      byDigest.set(digestOf(cookie), {
        apiKey,
        keyName,
        role,
        startedAtMs: nowMs,
        lastSeenMs: nowMs,
        // Giving the key is what stepping up is.
        steppedUpAtMs: nowMs,
      });
      return cookie;
    },
    find(cookie, isWatching = false) {
      if (cookie === undefined) return undefined;
      const digest = digestOf(cookie);
      const signIn = byDigest.get(digest);
      if (signIn === undefined) return undefined;
      if (isWatching && !isOver(signIn)) return signIn;
      byDigest.delete(digest);
      if (isOver(signIn)) return undefined;
      signIn.lastSeenMs = now();
      byDigest.set(digest, signIn);
      return signIn;
    },
    isOver(cookie) {
      const signIn = cookie === undefined ? undefined : byDigest.get(digestOf(cookie));
      return signIn === undefined || isOver(signIn);
    },
    stepUp(signIn, apiKey) {
      const isSame = timingSafeEqual(bytesOf(signIn.apiKey), bytesOf(apiKey));
      if (isSame) signIn.steppedUpAtMs = now();
      return isSame;
    },
    isSteppedUp: ({ steppedUpAtMs }) => now() - steppedUpAtMs < STEP_UP_MS,
    end(cookie) {
      if (cookie !== undefined) byDigest.delete(digestOf(cookie));
    },
    endAllOf(apiKey) {
      for (const [digest, signIn] of byDigest) if (signIn.apiKey === apiKey) byDigest.delete(digest);
    },
  };
}

const bytesOf = (text: string) => createHash('sha256').update(text).digest();
const digestOf = (text: string) => bytesOf(text).toString('base64url');
