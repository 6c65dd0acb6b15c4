import { randomBytes, randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { checkChosenSecret } from '../../issuer/chosen-secret.ts';

const code = (secret: string) => {
  try {
    checkChosenSecret(secret);
    return 'accepted';
  } catch (error) {
    return (error as { code?: string }).code;
  }
};

/** The alphabet of the secrets that SuperTokens makes, 26 characters of it each. */
const alphabet = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~';
const fromAlphabet = () => Array.from(randomBytes(26), (byte) => alphabet[byte % alphabet.length]).join('');

describe('a secret that was made at random is taken', () => {
  test.each<[string, () => string]>([
    ['by SuperTokens', fromAlphabet],
    ['as 160 bits of base64', () => randomBytes(20).toString('base64')],
    ['as 128 bits in hexadecimal', () => randomBytes(16).toString('hex')],
    ['as 256 bits of base64url', () => randomBytes(32).toString('base64url')],
    ['as a UUID', () => randomUUID()],
  ])('%s', (_name, make) => {
    for (let i = 0; i < 500; i += 1) expect(code(make())).toBe('accepted');
  });
});

test.each([
  '',
  'secret',
  'correct horse battery staple and more words',
  'CorrectHorseBatteryStaple',
  'passwordpasswordpasswordpassword',
  'a'.repeat(256),
  '0123456789'.repeat(3),
  'abc123'.repeat(8),
  `${'ü'.repeat(12)}kd83hd73hs92hd7shw`,
  'short-R4ndom_9xQ',
  `${randomBytes(32).toString('base64url')}\n`,
  randomBytes(300).toString('base64url'),
])('a secret that was not, or cannot be sent, is refused: %j', (secret) => {
  expect(code(secret)).toBe('invalid_request');
});
