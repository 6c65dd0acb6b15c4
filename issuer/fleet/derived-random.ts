import { hkdfSync } from 'node:crypto';
import type { RandomBytes } from '../client-credential.ts';

/** Bytes of a key that others are derived from. */
export const DERIVATION_KEY_BYTES = 32;

/**
 * Bytes that nobody can tell from random ones without the key, and that come again for the same key and label
 * (HKDF-SHA256, RFC 5869): what was made but never arrived can be shown again, and is kept nowhere.
 * @param key of {@link DERIVATION_KEY_BYTES} random bytes
 * @param label of what they are for; never one label for two
 */
export function derivedRandom(key: Uint8Array, label: string): RandomBytes {
  let drawn = 0;
  return (size) => {
    drawn += 1;
    return Buffer.from(hkdfSync('sha256', key, '', `${label} ${drawn}`, size));
  };
}

/** A version 4 UUID (RFC 9562 §5.4) of them. */
export function uuidOf(random: RandomBytes): string {
  const bytes = random(16);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
