import { expect, onTestFinished, test } from 'vitest';
import { startRedis } from '../../../bench/redis.ts';
import { startTestBroker } from '../../support/broker-fixture.ts';

test.each<[Record<string, string>, RegExp]>([
  [{ appendonly: 'no' }, /cluster_may_forget.*appendonly is no/],
  [
    { maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru' },
    /cluster_may_forget.*maxmemory-policy is allkeys-lru/,
  ],
])('a Redis that may forget is warned about: %j', async (settings, line) => {
  const redis = await startRedis(settings);
  onTestFinished(() => redis.stop());
  const broker = await startTestBroker({ cluster: { redis: redis.url } });
  expect(broker.log()).toMatch(line);
});

test('one that does not is not', async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const broker = await startTestBroker({ cluster: { redis: redis.url } });
  expect(broker.log()).toContain('cluster_joined');
  expect(broker.log()).not.toContain('cluster_may_forget');
});
