import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { KeyHolder, Role } from '@fleetgate/issuer';

/** Without a request for so long a sign-in ends. */
export const MAX_IDLE_MS = 30 * 60_000;

/** So long after it began it ends whatever happens: a working day. */
export const MAX_AGE_MS = 12 * 3_600_000;

/** For so long after the key was given once more, mass actions are let past. */
export const STEP_UP_MS = 5 * 60_000;

/** At once; the one that was quiet for longest makes room. */
const MAX_SIGN_INS = 1_000;

/** Of these with one key or of one person, so that none of them makes room by ending those of all others. */
export const MAX_SIGN_INS_OF_ONE = 50;

/**
 * Somebody who is signed in to the console. By an admin API key, or by OpenID Connect with a key that is made for the time
 * being. The key stays here; the page has the text of a cookie.
 */
export interface SignIn {
  readonly way: 'key' | 'oidc';
  readonly apiKey: string;
  /** That of the API key, or `oidc:` and the subject. */
  readonly keyName: string;
  readonly role: Role;
  /** What people call them, where the provider says it. */
  readonly title?: string | undefined;
  readonly startedAtMs: number;
  lastSeenMs: number;
  steppedUpAtMs: number;
}

/** In memory: a process that starts anew has nobody signed in. */
export interface SignIns {
  /** The text for the cookie: 256 random bits. */
  begin(key: Pick<SignIn, 'apiKey' | 'keyName' | 'role'>): string;
  /** The same for somebody whom the provider knows. */
  beginPerson(person: Pick<SignIn, 'keyName' | 'role' | 'title'>): string;
  /** Whose key it is, of those that were made for people; as long as their sign-in lasts. */
  readonly keyHolder: KeyHolder;
  /** Undefined for what is not known, or has ended; counts as a sign of life otherwise, unless it only watches. */
  find(cookie: string | undefined, isWatching?: boolean): SignIn | undefined;
  /** The same without being a sign of life. */
  isOver(cookie: string | undefined): boolean;
  /** Whether the key is that of the sign-in; from then on mass actions are let past for a while. */
  stepUp(signIn: SignIn, apiKey: string): boolean;
  /** The same for somebody who has signed in anew at the provider. `false` when the sign-in is over. */
  stepUpPerson(signIn: SignIn): boolean;
  isSteppedUp(signIn: SignIn): boolean;
  end(cookie: string | undefined): void;
  /** All of one key, which is no longer good. */
  endAllOf(apiKey: string): void;
  /** All of somebody to whom the provider gives this role now, with another one; `undefined`: gives none. */
  endAllOfPerson(keyName: string, role: Role | undefined): void;
}

export function createSignIns(now: () => number = Date.now): SignIns {
  /** By the digest of the cookie, so that what is in memory opens nothing. In order of their last sign of life. */
  const byDigest = new Map<string, SignIn>();
  /** Of people alone, by the digest of their key. */
  const byKey = new Map<string, SignIn>();

  function isOver({ startedAtMs, lastSeenMs }: SignIn): boolean {
    const nowMs = now();
    return nowMs - lastSeenMs >= MAX_IDLE_MS || nowMs - startedAtMs >= MAX_AGE_MS;
  }

  function remove(digest: string): void {
    const signIn = byDigest.get(digest);
    byDigest.delete(digest);
    if (signIn !== undefined) byKey.delete(digestOf(signIn.apiKey));
  }

  function begin(who: Pick<SignIn, 'way' | 'apiKey' | 'keyName' | 'role' | 'title'>): string {
    for (const [digest, signIn] of byDigest) {
      if (byDigest.size < MAX_SIGN_INS && !isOver(signIn)) break;
      remove(digest);
    }
    const own = Array.from(byDigest).filter(([, { keyName }]) => keyName === who.keyName);
    if (own.length >= MAX_SIGN_INS_OF_ONE) remove((own[0] as [string, SignIn])[0]);
    const cookie = randomBytes(32).toString('base64url');
    const nowMs = now();
    const signIn: SignIn = {
      ...who,
      startedAtMs: nowMs,
      lastSeenMs: nowMs,
      // Giving the key is what stepping up is.
      steppedUpAtMs: nowMs,
    };
    byDigest.set(digestOf(cookie), signIn);
    if (who.way === 'oidc') byKey.set(digestOf(who.apiKey), signIn);
    return cookie;
  }

  return {
    begin: (key) => begin({ way: 'key', ...key }),
    beginPerson: (person) =>
      begin({ way: 'oidc', apiKey: `fgs_${randomBytes(32).toString('base64url')}`, ...person }),
    keyHolder(key) {
      const signIn = byKey.get(digestOf(key));
      if (signIn === undefined || isOver(signIn)) return undefined;
      return { name: signIn.keyName, role: signIn.role };
    },
    find(cookie, isWatching = false) {
      if (cookie === undefined) return undefined;
      const digest = digestOf(cookie);
      const signIn = byDigest.get(digest);
      if (signIn === undefined) return undefined;
      if (isWatching && !isOver(signIn)) return signIn;
      if (isOver(signIn)) {
        remove(digest);
        return undefined;
      }
      byDigest.delete(digest);
      signIn.lastSeenMs = now();
      byDigest.set(digest, signIn);
      return signIn;
    },
    isOver(cookie) {
      const signIn = cookie === undefined ? undefined : byDigest.get(digestOf(cookie));
      return signIn === undefined || isOver(signIn);
    },
    stepUp(signIn, apiKey) {
      // The key of a person was given by nobody.
      const isSame = signIn.way === 'key' && timingSafeEqual(bytesOf(signIn.apiKey), bytesOf(apiKey));
      if (isSame) signIn.steppedUpAtMs = now();
      return isSame;
    },
    stepUpPerson(signIn) {
      if (byKey.get(digestOf(signIn.apiKey)) !== signIn || isOver(signIn)) return false;
      signIn.steppedUpAtMs = now();
      return true;
    },
    isSteppedUp: ({ steppedUpAtMs }) => now() - steppedUpAtMs < STEP_UP_MS,
    end(cookie) {
      if (cookie !== undefined) remove(digestOf(cookie));
    },
    endAllOfPerson(keyName, role) {
      for (const [digest, signIn] of byDigest) {
        if (signIn.way === 'oidc' && signIn.keyName === keyName && signIn.role !== role) remove(digest);
      }
    },
    endAllOf(apiKey) {
      for (const [digest, signIn] of byDigest) if (signIn.apiKey === apiKey) remove(digest);
    },
  };
}

const bytesOf = (text: string) => createHash('sha256').update(text).digest();
const digestOf = (text: string) => bytesOf(text).toString('base64url');
