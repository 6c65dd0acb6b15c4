import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import type { SignIn } from '../sign-ins.ts';

/** From the way to the provider until the way back. */
export const ATTEMPT_MS = 10 * 60_000;

/** Ways back that are remembered, so that none is taken twice, and ways of those who sign in anew. The oldest makes room. */
const MAX_REMEMBERED = 10_000;

const IV_BYTES = 12;
const TAG_BYTES = 16;

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

/** As it stands in the cookie: who is to sign in anew stays here, under a name. */
interface Sealed extends Omit<Attempt, 'signIn'> {
  readonly anew?: string;
}

export interface Attempts {
  /**
   * The text for the cookie that binds it to the browser: the attempt itself, encrypted for this process. Anybody can begin one, so
   * nothing of it is kept here.
   */
  begin(attempt: Omit<Attempt, 'startedAtMs'>): string;
  /** The attempt of that cookie, this once; undefined for what is none, too old, or was taken. */
  take(cookie: string | undefined): Attempt | undefined;
}

export function createAttempts(now: () => number): Attempts {
  const key = randomBytes(32);
  const anew = new Map<string, SignIn>();
  const taken = new Set<string>();

  return {
    begin({ signIn, ...attempt }) {
      const name = signIn && randomBytes(16).toString('base64url');
      if (name !== undefined && signIn !== undefined) {
        makeRoom(anew);
        anew.set(name, signIn);
      }
      return seal(key, { ...attempt, startedAtMs: now(), ...(name !== undefined && { anew: name }) });
    },
    take(cookie) {
      const sealed = cookie === undefined ? undefined : open(key, cookie);
      if (cookie === undefined || sealed === undefined) return undefined;
      const { anew: name, ...attempt } = sealed;
      const digest = createHash('sha256').update(cookie).digest('base64url');
      if (taken.has(digest) || now() - attempt.startedAtMs >= ATTEMPT_MS) return undefined;
      makeRoom(taken);
      taken.add(digest);
      if (name === undefined) return attempt;
      const signIn = anew.get(name);
      anew.delete(name);
      return signIn && { ...attempt, signIn };
    },
  };
}

function makeRoom(all: Map<string, unknown> | Set<string>): void {
  if (all.size < MAX_REMEMBERED) return;
  for (const oldest of all.keys()) {
    all.delete(oldest);
    return;
  }
}

function seal(key: Uint8Array, attempt: Sealed): string {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  const text = Buffer.concat([cipher.update(JSON.stringify(attempt)), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), text]).toString('base64url');
}

function open(key: Uint8Array, cookie: string): Sealed | undefined {
  const bytes = Buffer.from(cookie, 'base64url');
  // One attempt has one spelling, by which it is known to be taken.
  if (bytes.length <= IV_BYTES + TAG_BYTES || bytes.toString('base64url') !== cookie) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
  try {
    const text = Buffer.concat([decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES)), decipher.final()]);
    return JSON.parse(text.toString()) as Sealed;
  } catch {
    return undefined;
  }
}
