import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { OAuthError } from '@fleetgate/shared';
import type { StoredContext } from './oscore-context.ts';

/** Live secrets a client may have: two while rotating. The registry keeps no more of a client, ended ones included. */
export const MAX_LIVE_SECRETS = 2;

/** A secret of a client, as the registry keeps it: by its hash. Times in milliseconds since 1970. */
export interface ClientSecret {
  /** Names it among the secrets of its client; shown to administrators, and no part of the secret. */
  readonly secretId: string;
  /** SHA-256. */
  readonly hash: Uint8Array;
  /** The OSCORE context it is part of; unset for a secret that is shown as it is. */
  readonly context?: StoredContext | undefined;
  readonly createdAtMs: number;
  /** From then on it proves nothing. Unset: no end is set. */
  readonly expiresAtMs: number | undefined;
  /** Unset: never used. */
  readonly firstUsedAtMs: number | undefined;
  /** To the day: see {@link LAST_USE_GRANULARITY_MS}. */
  readonly lastUsedAtMs: number | undefined;
  /** Whether it ends soon after another secret of the client was used for the first time. */
  readonly endsOnSuccession: boolean;
}

/** How old `lastUsedAtMs` grows before it is written again: a machine asks every few minutes, and each is a write. */
export const LAST_USE_GRANULARITY_MS = 86_400_000;

/** How far ahead a secret may end: ten years. One that is to live longer needs no end. */
const MAX_SECRET_LIFETIME_MS = 10 * 366 * 86_400_000;

const HASH_BYTES = 32;
const noHash = new Uint8Array(HASH_BYTES);

/** A new secret: 256 random bits, base64url. Only its hash is kept. */
export function generateSecret(random: (size: number) => Buffer = randomBytes): string {
  return random(32).toString('base64url');
}

/** What is kept of a new secret. `expiresAtMs` unset: it has no end. */
export function unusedSecret(
  kept: Pick<ClientSecret, 'hash' | 'context'>,
  { createdAtMs, expiresAtMs }: { readonly createdAtMs: number; readonly expiresAtMs?: number | undefined },
): ClientSecret {
  return {
    // 64 random bits: of one client no two secrets share an id, also of those that were forgotten.
    secretId: randomBytes(8).toString('hex'),
    ...kept,
    createdAtMs,
    expiresAtMs,
    firstUsedAtMs: undefined,
    lastUsedAtMs: undefined,
    endsOnSuccession: false,
  };
}

/** SHA-256 of a secret. A fast hash is right, since no one can guess 256 random bits. */
export function hashSecret(secret: string): Uint8Array {
  return createHash('sha256').update(secret).digest();
}

/**
 * Which of the secrets was presented, whether it still is one or has ended. Takes the same time whichever it is, and
 * also for none. A master secret is none: it is never to be sent, and stays with a client whose method was changed.
 */
export function findSecret(presented: string, secrets: readonly ClientSecret[]): ClientSecret | undefined {
  const hash = hashSecret(presented);
  let found: ClientSecret | undefined;
  for (let slot = 0; slot < MAX_LIVE_SECRETS; slot += 1) {
    const secret = secrets[slot];
    const isEqual = timingSafeEqual(hash, secret?.hash ?? noHash);
    found = isEqual && secret !== undefined && secret.context === undefined ? secret : found;
  }
  return found;
}

/** Whether the secret proves its client at that moment. */
export function isLiveSecret({ expiresAtMs }: ClientSecret, atMs: number): boolean {
  return expiresAtMs === undefined || atMs < expiresAtMs;
}

/** @throws OAuthError `invalid_request`, naming the field, unless the end is unset or lies ahead */
export function checkSecretEnd(field: string, expiresAtMs: number | undefined, nowMs: number): void {
  if (expiresAtMs === undefined) return;
  if (expiresAtMs > nowMs && expiresAtMs <= nowMs + MAX_SECRET_LIFETIME_MS) return;
  throw new OAuthError('invalid_request', `${field} must lie in the future, by ten years at most`);
}
