import { nearest } from '@fleetgate/shared';
import { expect, test } from 'vitest';

const keys = ['topic', 'max_qos', 'retain', 'max_payload_bytes'];

test.each([
  ['a letter too many', 'topics', 'topic'],
  ['a letter missing', 'tpic', 'topic'],
  ['a letter changed', 'rettin', 'retain'],
  ['two neighbours swapped', 'max_qso', 'max_qos'],
  ['the word itself', 'topic', 'topic'],
  ['three edits are too far', 'max_payload', undefined],
  ['two edits of a short word are too far', 'tipoc', undefined],
  ['nothing like it', 'listeners', undefined],
  ['the empty word', '', undefined],
])('%s', (_rule, word, expected) => {
  expect(nearest(word, keys)).toBe(expected);
});

test('of two near words the nearer wins, and of equals the first', () => {
  expect([nearest('scope.read', ['scope.reax', 'scope.read']), nearest('cat', ['car', 'cut'])]).toEqual([
    'scope.read',
    'car',
  ]);
});

test('there is nothing near among no candidates', () => {
  expect(nearest('topic', [])).toBeUndefined();
});
