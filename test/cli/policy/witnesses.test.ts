import { covers, overlaps } from '@fleetgate/shared';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { witnessRequests } from '../../../cli/policy/witness-requests.ts';
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

test('each way in which a request meets filters has a request among the witnesses', () => {
  const anyConcrete = fc.oneof(concrete, fc.constantFrom('#', '/#', '', '/+', '$x/#', '$x', '+/+/+', 'a//#'));
  const filters = fc.uniqueArray(
    anyConcrete.filter((filter) => filter !== ''),
    { maxLength: 5 },
  );
  fc.assert(
    fc.property(filters, anyConcrete, (all, request) => {
      fc.pre(request !== '');
      const meets = (asked: string) =>
        all
          .map((filter) => [overlaps(filter, asked), covers(filter, asked), filter === asked].join())
          .join(' ');
      const ways = witnessRequests(all).map(meets);
      if (all.some((filter) => overlaps(filter, request))) expect(ways).toContain(meets(request));
    }),
    { numRuns: 3000 },
  );
});
