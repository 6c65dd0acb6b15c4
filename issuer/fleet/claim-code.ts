import { createHash, randomBytes } from 'node:crypto';

/** Crockford's: no letter that is taken for a digit, and none missed when it is read aloud. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** Of 5 bits each: 140 bits, which nobody guesses. */
const CODE_LENGTH = 28;
const GROUP_LENGTH = 4;

/** A new claim code, in groups of four as a person types it. */
export function makeClaimCode(random: (size: number) => Buffer = randomBytes): string {
  const letters = Array.from(random(CODE_LENGTH), (byte) => alphabet[byte % 32] as string).join('');
  return (letters.match(new RegExp(`.{${GROUP_LENGTH}}`, 'g')) ?? []).join('-');
}

/** SHA-256 of a code as it was typed, in whatever case and grouping; unset for what cannot be one. */
export function claimCodeHash(typed: string): Uint8Array | undefined {
  if (typed.length > 2 * CODE_LENGTH) return undefined;
  const letters = typed.toUpperCase().replace(/[\s-]/g, '').replaceAll('O', '0').replace(/[IL]/g, '1');
  if (letters.length !== CODE_LENGTH || Array.from(letters).some((letter) => !alphabet.includes(letter))) {
    return undefined;
  }
  return createHash('sha256').update(letters).digest();
}
