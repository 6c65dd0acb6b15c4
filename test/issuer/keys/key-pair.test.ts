import { expect, test } from 'vitest';
import { generateKey } from '../../../issuer/keys/key-pair.ts';

const encryption = { encrypt: () => Buffer.alloc(0), decrypt: () => '' };

test('no key has a name that a command would read as an option', async () => {
  const keys = await Promise.all(
    Array.from({ length: 800 }, () => generateKey('EdDSA', encryption as never)),
  );
  expect(keys.map(({ kid }) => kid).filter((kid) => kid.startsWith('-'))).toEqual([]);
});
