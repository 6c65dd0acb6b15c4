import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** Live secrets a client may have: two while rotating. */
export const MAX_LIVE_SECRETS = 2;

const HASH_BYTES = 32;
const noHash = new Uint8Array(HASH_BYTES);

/** A new secret: 256 random bits, base64url. Only its hash is kept. */
export function generateSecret(random: (size: number) => Buffer = randomBytes): string {
  return random(32).toString('base64url');
}

/** SHA-256 of a secret. A fast hash is right, since no one can guess 256 random bits. */
export function hashSecret(secret: string): Uint8Array {
  return createHash('sha256').update(secret).digest();
}

/** Whether the secret is one of those hashed. Takes the same time whichever it is, and also for no hashes at all. */
export function isOneOf(secret: string, hashes: readonly Uint8Array[]): boolean {
  const presented = hashSecret(secret);
  let found = false;
  for (let slot = 0; slot < MAX_LIVE_SECRETS; slot += 1) {
    const hash = hashes[slot];
    const isEqual = timingSafeEqual(presented, hash ?? noHash);
    found = (isEqual && hash !== undefined) || found;
  }
  return found;
}
