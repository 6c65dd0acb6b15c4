import { OAuthError } from '@fleetgate/shared';

/** Characters of a secret that was made elsewhere. SuperTokens makes 26, of an alphabet of 66. */
const MIN_LENGTH = 26;
const MAX_LENGTH = 256;

/**
 * Bits by the frequencies of a secret's own characters, and different pairs of neighbours in it. Below what random ones of
 * these lengths have, hexadecimal digits too; above what a word or a number again and again has.
 */
const MIN_BITS = 85;
const MIN_PAIRS = 18;

/**
 * Lets pass a client secret that was made elsewhere, as when clients are moved here with the secrets they have. What is
 * kept is a fast hash, which is right only for what nobody can guess; so what looks as if a person had made it up is
 * refused. Whether it is random cannot be told from it: a person who tries gets past.
 * @throws OAuthError `invalid_request`; the message does not quote it
 */
export function checkChosenSecret(secret: string): void {
  const isText = /^[\x21-\x7e]+$/.test(secret);
  const hasLength = secret.length >= MIN_LENGTH && secret.length <= MAX_LENGTH;
  if (isText && hasLength && bitsOf(secret) >= MIN_BITS && pairsOf(secret) >= MIN_PAIRS) return;
  throw new OAuthError(
    'invalid_request',
    `a client secret that is chosen must be random: ${MIN_LENGTH} to ${MAX_LENGTH} visible ASCII characters without ` +
      'words or repetitions; leave it out to get one',
  );
}

/** The length times the entropy of one character (Shannon), by how often each occurs in this very text. */
function bitsOf(text: string): number {
  const counts = new Map<string, number>();
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits += count * Math.log2(text.length / count);
  return bits;
}

function pairsOf(text: string): number {
  const pairs = new Set<string>();
  for (let i = 1; i < text.length; i += 1) pairs.add(text.slice(i - 1, i + 1));
  return pairs.size;
}
