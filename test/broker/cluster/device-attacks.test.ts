import type { IPublishPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { messageId, publishPacket, subscribe, type TestBroker, until } from '../../support/broker-fixture.ts';
import { connectPacket } from '../../support/broker-raw-client.ts';
import { admin, numbered, ownRedis, startTestCluster, take } from '../../support/cluster-fixture.ts';

/** Both serve others, and neither was cut off or met an error. */
async function expectUnharmed(...brokers: TestBroker[]): Promise<void> {
  for (const broker of brokers) {
    await broker.servesOthers();
    expect(broker.log()).not.toContain('cluster_away');
    expect(broker.log()).not.toContain('internal_error');
  }
}

const texts = [
  ['quotes', `a"b'c\`d`],
  ['a backslash', 'a\\u0000\\"\\'],
  ['spaces and line-like text', ' a  b '],
  ['what means something to a glob', 'a*b?c[d]e^f'],
  ['what means something to a pattern of Lua', '%a+%s-.*[^/]%%$^'],
  ['what ends a string of Lua', `]]) redis.call('FLUSHALL') --`],
  ['characters beyond 16 bit', '💥é漢\u{10FFFD}'],
  ['names of properties', '__proto__/constructor/toString'],
  ['numbers and names of keys', '0/seq/live/queue:device-2/1-1'],
  ['empty levels', '///'],
  ['100 levels', Array.from({ length: 98 }, () => 'x').join('/')],
  ['65,535 bytes', 'x'.repeat(65_535 - 'devices/device-1/'.length)],
] as const;

describe('a topic of', () => {
  test.each(texts)('%s is queued, retained and moved like any other', async (_what, text) => {
    const cluster = await startTestCluster();
    const [one, other] = [await cluster.start(), await cluster.start()];
    const topic = `devices/device-1/${text}`;
    const first = await one.session('device-1', { clean: false });
    // The wildcards of a topic are none in a filter.
    const filters = /[+#]/.test(text) ? ['devices/device-1/#'] : [topic, 'devices/device-1/#'];
    const wanted = /[+#]/.test(text) ? 'refused' : 'taken';
    await subscribe(first, filters);
    await first.end();
    const publisher = await admin(other, 'publisher');
    publisher.send(publishPacket(topic, 'x', { qos: 1, retain: true }));
    if (wanted === 'refused') {
      await publisher.closed;
      return expectUnharmed(one, other);
    }
    await publisher.next('puback');
    const again = await other.session('device-1', { clean: false });
    const got = (await again.next('publish')) as IPublishPacket;
    expect(got.topic).toBe(topic);
    again.send({ cmd: 'puback', messageId: got.messageId as number });
    await until(async () => (await cluster.store.exists(`${cluster.prefix}queue:device-1`)) === 0);
    const reader = await one.session('reader', {}, one.token('reader', { scope: ['mqtt:subscribe:#'] }));
    await subscribe(reader, [topic]);
    expect(((await reader.next('publish')) as IPublishPacket).topic).toBe(topic);
    await expectUnharmed(one, other);
  });
});

test('client ids that could be read as something else are refused', async () => {
  const cluster = await startTestCluster();
  const broker = await cluster.start({ clientIdBinding: 'none' });
  for (const id of [
    'a b',
    'a:b',
    'a\nb',
    `a'b`,
    'a"b',
    '*',
    'a/b',
    'é',
    '$x',
    'a\\',
    '{}',
    'x'.repeat(129),
  ]) {
    expect(await broker.connack(id, broker.token('device-1'), { clean: false, username: '' })).toBe(2);
  }
  await expectUnharmed(broker);
  const keys = (await cluster.keys()).filter((key) => !key.startsWith('at:'));
  await until(async () => (await cluster.store.hlen(`${cluster.prefix}live`)) === 0);
  expect(keys.filter((key) => key !== 'live')).toEqual([]);
});

test.each([
  ['a lone surrogate', { name: '\ud800' }],
  ['two thousand levels', JSON.parse(`{"deep":${'['.repeat(2_000)}${']'.repeat(2_000)}}`)],
  ['numbers without an end', { large: 1e308, small: 5e-324 }],
])('a token with claims of %s locks no session', async (_what, claims) => {
  const cluster = await startTestCluster();
  const [one, other] = [await cluster.start(), await cluster.start()];
  const token = one.token('device-1', { claims });
  for (const broker of [one, other, one]) {
    const client = await broker.raw();
    client.send(connectPacket('device-1', token, { clean: false }));
    expect(await client.next('connack')).toMatchObject({ returnCode: 0 });
  }
  expect(await other.connack('device-1', token, { clean: true })).toBe(0);
  await expectUnharmed(one, other);
});

describe('a flood', () => {
  test('of subscriptions given up and taken again leaves the others as fast as before', async () => {
    const cluster = await startTestCluster();
    const [one, other] = [await cluster.start(), await cluster.start()];
    const filters = Array.from({ length: 100 }, (_, n) => `devices/device-1/${n}`);
    const client = await one.session('device-1', { clean: false });
    for (let round = 0; round < 60; round += 1) {
      await subscribe(client, filters);
      client.send({ cmd: 'unsubscribe', messageId: messageId(), unsubscriptions: filters });
      await client.next('unsuback');
    }
    await expectUnharmed(one, other);
    expect(await cluster.store.exists(`${cluster.prefix}subs:device-1`)).toBe(0);
    expect(await cluster.store.xlen(`${cluster.prefix}changes`)).toBeLessThan(12_000);
  });

  test('of connections of one client id on two brokers leaves one, and nothing of the others', async () => {
    const cluster = await startTestCluster();
    const brokers = [await cluster.start(), await cluster.start()];
    const will = {
      topic: 'devices/device-1/gone',
      payload: Buffer.from('x'),
      qos: 1 as const,
      retain: false,
    };
    const token = brokers[0]?.token('device-1');
    const clients = await Promise.all(
      Array.from({ length: 200 }, async (_, n) => {
        const client = await (brokers[n % 2] as TestBroker).raw();
        client.send(connectPacket('device-1', token, { clean: n % 3 === 0, will }));
        await Promise.race([client.closed, client.next('connack').catch(() => {})]);
        return client;
      }),
    );
    await until(() => clients.filter(({ stream }) => !stream.destroyed).length <= 1);
    await Promise.all(clients.map((client) => client.end()));
    await until(async () => (await cluster.store.hlen(`${cluster.prefix}live`)) === 0);
    await expectUnharmed(...(brokers as [TestBroker, TestBroker]));
    await until(async () => (await cluster.keys()).every((key) => !/^(wills|at|in):/.test(key)));
    const last = await (brokers[0] as TestBroker).session('device-1', { clean: true });
    await last.end();
    await until(async () => (await cluster.keys()).length === 0);
  });

  test('of QoS 2 identifiers is ended at the limit, and leaves nothing of a clean session', async () => {
    const cluster = await startTestCluster();
    const [one, other] = [await cluster.start(), await cluster.start()];
    const client = await one.session('device-1');
    for (let from = 0; from < 2_000; from += 200) {
      if (client.stream.destroyed) break;
      client.send(
        ...numbered(200, from).map((text) =>
          publishPacket('devices/device-1/x', text, { qos: 2, messageId: Number(text) + 1 }),
        ),
      );
    }
    await client.closed;
    await until(async () => (await cluster.keys()).length === 0);
    await expectUnharmed(one, other);
  });

  test('of a queue that is begun and left again costs no more than it brings', async () => {
    const cluster = await startTestCluster();
    const [one, other] = [await cluster.start(), await cluster.start()];
    const first = await one.session('device-1', { clean: false });
    await subscribe(first, ['devices/device-1/#']);
    await first.end();
    const publisher = await admin(other, 'publisher');
    const wanted = numbered(1_000);
    publisher.send(...wanted.map((text) => publishPacket('devices/device-1/x', text, { qos: 1 })));
    for (const _ of wanted) await publisher.next('puback');
    for (let round = 0; round < 50; round += 1) {
      const client = await (round % 2 === 0 ? one : other).session('device-1', { clean: false });
      await client.end();
    }
    const last = await one.session('device-1', { clean: false });
    expect(await take(last, 1_000)).toEqual(wanted);
    await expectUnharmed(one, other);
  });

  test('of long filters taken and given up is held to what brokers read of it', async () => {
    const redis = await ownRedis({ appendfsync: 'no' });
    const cluster = await startTestCluster({ on: redis });
    // Redis cuts off a broker that leaves more unread; by default it is 32 MiB.
    await cluster.store.config('SET', 'client-output-buffer-limit', 'pubsub 12mb 0 0');
    const [one, other] = [await cluster.start(), await cluster.start()];
    const client = await one.session('device-1', { clean: false });
    const filters = numbered(15).map((n) => `devices/device-1/${n}/${'"'.repeat(65_000)}`);
    const subscriptions = filters.map((topic) => ({ topic, qos: 1 as const }));
    for (let round = 0; round < 8; round += 1) {
      client.send(
        { cmd: 'subscribe', messageId: messageId(), subscriptions },
        { cmd: 'unsubscribe', messageId: messageId(), unsubscriptions: filters },
      );
    }
    await client.settle();
    await expectUnharmed(one, other);
  });

  test.each([0, 1] as const)(
    'of large messages at QoS %i is held to what brokers read of it',
    async (qos) => {
      // With its own settings Redis cuts off a broker that leaves 32 MiB unread.
      const redis = await ownRedis({ appendfsync: 'no' });
      const cluster = await startTestCluster({ on: redis });
      const brokers = [await cluster.start(), await cluster.start()] as const;
      const payload = Buffer.alloc(1_000_000);
      await Promise.all(
        numbered(6).map(async (n) => {
          const id = `device-${n}`;
          const client = await (brokers[Number(n) % 2] as TestBroker).session(id);
          for (let sent = 0; sent < 30; sent += 1) {
            client.send(publishPacket(`devices/${id}/x`, payload, { qos }));
          }
          await client.settle();
        }),
      );
      await expectUnharmed(...brokers);
    },
  );
});
