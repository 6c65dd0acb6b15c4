import { groupKeyProblem } from '@fleetgate/shared';
import { expect, test } from 'vitest';

const key = Buffer.alloc(32, 7).toString('base64');

test('32 bytes in base64 are a key', () => {
  expect(groupKeyProblem(key)).toBeUndefined();
});

test.each([
  ['', /32 bytes/],
  ['not a key at all!', /32 bytes/],
  ['abcd', /32 bytes/],
  [`${key}\n`, /32 bytes/],
  [key.replace('=', ''), /32 bytes/],
  [Buffer.alloc(33).toString('base64'), /32 bytes/],
  [JSON.stringify({ primary_key: key }), /jq -r \.primary_key/],
])('%j is none', (text, words) => {
  expect(groupKeyProblem(text)).toMatch(words);
  expect(groupKeyProblem(text)).not.toContain(key.slice(0, 10));
});
