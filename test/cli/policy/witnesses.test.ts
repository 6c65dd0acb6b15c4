import fc from 'fast-check';
import { expect, test } from 'vitest';
import { witnesses } from '../../../cli/policy/witnesses.ts';
import { anyFilter, naiveMatches, universe } from './model.ts';

const concrete = anyFilter.map((filter) =>
  filter
    .replace('{client_id}', 'c1')
    .replace('{group}', 'g')
    .replaceAll('{client_id}', 'c1')
    .replaceAll('{group}', 'g'),
);

test('each way in which filters meet in a topic has a witness, and each witness is one', () => {
  fc.assert(
    fc.property(fc.uniqueArray(concrete, { maxLength: 5 }), (filters) => {
      const matchedBy = (topic: string) =>
        filters.flatMap((filter, i) => (naiveMatches(filter, topic) ? [i] : [])).join(' ');
      const found = witnesses(filters);
      for (const { topic, matched } of found) expect(matchedBy(topic)).toBe(matched.join(' '));
      const ways = new Set(universe.map(matchedBy).filter((way) => way !== ''));
      expect(new Set(found.map(({ matched }) => matched.join(' ')))).toEqual(
        new Set([...ways, ...found.map(({ matched }) => matched.join(' '))]),
      );
      for (const way of ways) expect(found.map(({ matched }) => matched.join(' '))).toContain(way);
    }),
    { numRuns: 500 },
  );
});

test('a wildcard in the first level never meets a $ topic, and no witness is the empty topic', () => {
  expect(witnesses(['#', '$SYS/#']).map(({ topic, matched }) => [topic, matched])).toEqual([
    ['x', [0]],
    ['$SYS', [1]],
  ]);
  expect(witnesses(['/#', '']).every(({ topic }) => topic !== '')).toBe(true);
});
