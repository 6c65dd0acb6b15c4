import { nearest } from '@fleetgate/shared';
import fc from 'fast-check';
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

test('is that which a table filled whole finds', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '.'), maxLength: 12 });
  fc.assert(
    fc.property(word, fc.array(word, { maxLength: 8 }), (asked, candidates) => {
      const most = Math.max(1, Math.min(2, Math.floor(asked.length / 3)));
      const distances = candidates.map((one) => distance(asked, one));
      const least = Math.min(...distances);
      const expected = least > most ? undefined : candidates[distances.indexOf(least)];
      expect(nearest(asked, candidates)).toBe(expected);
    }),
    { numRuns: 2000 },
  );
});

function distance(a: string, b: string): number {
  if (a === '' || b === '') return a.length + b.length;
  const [first, other] = [a.slice(1), b.slice(1)];
  const key = (x: string, y: string) => `${x}|${y}`;
  const known = new Map<string, number>();
  const of = (x: string, y: string): number => {
    if (x === '' || y === '') return x.length + y.length;
    const found = known.get(key(x, y));
    if (found !== undefined) return found;
    const value = Math.min(
      of(x.slice(1), y) + 1,
      of(x, y.slice(1)) + 1,
      of(x.slice(1), y.slice(1)) + (x[0] === y[0] ? 0 : 1),
    );
    known.set(key(x, y), value);
    return value;
  };
  return Math.min(of(first, b) + 1, of(a, other) + 1, of(first, other) + (a[0] === b[0] ? 0 : 1));
}
