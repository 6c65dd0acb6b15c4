import { matches } from '@fleetgate/shared';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createFilterTable } from '../../../broker/cluster/filter-table.ts';
import { encodeMessage } from '../../../broker/cluster/wire.ts';
import { startTestCluster } from '../../support/cluster-fixture.ts';

// Few names, so that they meet; some are patterns of Lua or begin as topics of the broker do.
const name = fc.constantFrom('a', 'b', '', '$s', '%a', '.*', '[^/]', 'é', '💥', ' ');
const topic = fc
  .array(name, { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join('/'))
  .filter((text) => text !== '');
const filter = fc
  .tuple(fc.array(fc.oneof(name, fc.constant('+')), { maxLength: 5 }), fc.boolean())
  .map(([levels, isBroad]) => [...levels, ...(isBroad ? ['#'] : [])].join('/'))
  .filter((text) => text !== '');

const sorted = (ids: Iterable<string>) => Array.from(ids).sort();

test('a topic finds whoever has a filter that matches it, also when others were taken away', () => {
  const act = fc.record({
    kind: fc.constantFrom('add', 'add', 'add', 'remove', 'forget'),
    filter,
    id: fc.constantFrom('one', 'two', 'three'),
  });
  fc.assert(
    fc.property(fc.array(act, { maxLength: 40 }), fc.array(topic, { minLength: 1 }), (acts, topics) => {
      const table = createFilterTable();
      const model = new Map<string, Set<string>>();
      for (const { kind, id, filter: one } of acts) {
        const own = model.get(id) ?? new Set();
        model.set(id, own);
        if (kind === 'add') {
          table.add(one, id);
          own.add(one);
        } else if (kind === 'remove') {
          table.remove(one, id);
          own.delete(one);
        } else {
          table.forget(id);
          own.clear();
        }
      }
      for (const each of topics) {
        const wanted = [...model].filter(([, own]) => [...own].some((one) => matches(one, each)));
        expect(sorted(table.match(each))).toEqual(sorted(wanted.map(([id]) => id)));
      }
      for (const [id, own] of model) for (const one of own) table.remove(one, id);
      for (const each of topics) expect(table.match(each).size).toBe(0);
    }),
    { numRuns: 500 },
  );
});

test('Redis finds the same in the filters that were added lately', async () => {
  const { store, prefix } = await startTestCluster();
  await store.zadd(`${prefix}brokers`, 0, 'broker');
  let changes = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(filter, { minLength: 1, maxLength: 10 }), topic, async (filters, each) => {
      const before = changes;
      const adding = store.pipeline();
      for (const [at, one] of filters.entries()) {
        changes += 1;
        adding.xadd(`${prefix}changes`, `${changes}-1`, 'i', `id-${at}`, 'f', one);
        adding.hset(`${prefix}kept`, `id-${at}`, '{}');
        adding.del(`${prefix}queue:id-${at}`);
      }
      adding.set(`${prefix}changed`, changes);
      await adding.exec();
      const none = [0, '', '', '', ''] as const;
      const body = encodeMessage(each, Buffer.from('x'), 1, false);
      await store.publishMessage(
        prefix,
        before,
        each,
        1,
        '',
        '',
        ...none.slice(0, 3),
        '',
        'broker:1',
        '',
        10,
        1e6,
        body,
        '',
      );
      for (const [at, one] of filters.entries()) {
        const isQueued = (await store.exists(`${prefix}queue:id-${at}`)) === 1;
        expect(isQueued, `${one} of ${each}`).toBe(matches(one, each));
      }
    }),
    { numRuns: 300 },
  );
});
