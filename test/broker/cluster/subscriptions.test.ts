import { expect, test } from 'vitest';
import { payloads, publishPacket, subscribe, until } from '../../support/broker-fixture.ts';
import {
  admin,
  numbered,
  ownRedis,
  publishAll,
  startTestCluster,
  take,
} from '../../support/cluster-fixture.ts';

test.each([1, 2, 3, 20])('a SUBSCRIBE of %i filters on a persistent session is answered', async (count) => {
  const cluster = await startTestCluster();
  const broker = await cluster.start();
  const client = await broker.session('device-1', { clean: false });
  const filters = Array.from({ length: count }, (_, n) => `devices/device-1/${n}`);
  for (let round = 0; round < 5; round += 1) {
    expect(await subscribe(client, filters)).toEqual(filters.map(() => 1));
  }
  expect(await cluster.store.hlen(`${cluster.prefix}subs:device-1`)).toBe(count);
});

test('a message published after SUBACK is queued, however late the subscription comes over the bus', async () => {
  const cluster = await startTestCluster();
  const link = await cluster.link();
  const [behind, other] = [await cluster.start({ via: link }), await cluster.start()];
  const publisher = await admin(behind, 'publisher');
  await publishAll(publisher, 'warm/up', ['1']);
  link.hold('bus');
  const filters = ['devices/device-1/+/a', 'devices/#', '+/device-1/x/a', '#', 'devices/device-1/x/a/#'];
  const subscribers = filters.map((filter, n) => ({ id: `device-${n}`, filter }));
  const scope = ['mqtt:subscribe:#'];
  for (const { id, filter } of subscribers) {
    const client = await other.session(id, { clean: false }, other.token(id, { scope }));
    expect(await subscribe(client, [filter])).toEqual([1]);
    await client.end();
  }
  const stranger = await other.session('stranger', { clean: false }, other.token('stranger', { scope }));
  expect(await subscribe(stranger, ['devices/device-1/+', '+/+/+/b', 'x/#', 'device-1/#'])).toEqual([
    1, 1, 1, 1,
  ]);
  await stranger.end();
  await publishAll(publisher, 'devices/device-1/x/a', ['late']);
  for (const { id } of subscribers) {
    expect(await cluster.store.xlen(`${cluster.prefix}queue:${id}`), id).toBe(1);
  }
  expect(await cluster.store.exists(`${cluster.prefix}queue:stranger`)).toBe(0);
  link.release('bus');
});

test('a subscription that was given up is not in the way of one that comes later', async () => {
  const cluster = await startTestCluster();
  const link = await cluster.link();
  const [behind, other] = [await cluster.start({ via: link }), await cluster.start()];
  const publisher = await admin(behind, 'publisher');
  const client = await other.session('device-1', { clean: false });
  await subscribe(client, ['devices/device-1/#']);
  link.hold('bus');
  client.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['devices/device-1/#'] });
  await client.next('unsuback');
  await subscribe(client, ['devices/device-1/#']);
  await client.end();
  await publishAll(publisher, 'devices/device-1/x', ['late']);
  expect(await cluster.store.xlen(`${cluster.prefix}queue:device-1`)).toBe(1);
  link.release('bus');
});

test('a publisher that more changes passed by than are remembered waits until it knows them', async () => {
  const redis = await ownRedis({ appendfsync: 'no' });
  const cluster = await startTestCluster({ on: redis });
  const link = await cluster.link();
  const [behind, other] = [await cluster.start({ via: link }), await cluster.start()];
  const publisher = await admin(behind, 'publisher');
  const watcher = await admin(behind, 'watcher');
  await subscribe(watcher, ['told/#'], 0);
  await publishAll(publisher, 'warm/up', ['1']);
  const { store, prefix } = cluster;
  const scope = ['mqtt:subscribe:#'];
  const limits = { maxSubscriptionsPerClient: 20_000 };
  const roomy = await cluster.start({ limits });
  const client = await roomy.session('device-1', { clean: false }, roomy.token('device-1', { scope }));
  const evals = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await store.info('commandstats'))?.[1]);
  link.hold('bus');
  expect(await subscribe(client, ['the/first'])).toEqual([1]);
  for (let from = 0; from < 11_000; from += 1_000) {
    await subscribe(
      client,
      Array.from({ length: 1_000 }, (_, n) => `other/${from + n}`),
    );
  }
  await client.end();
  // What is answered to the publish is on its way when the bus goes on, and comes behind all it says.
  link.hold('commands');
  const before = await evals();
  publisher.send(publishPacket('the/first', 'late', { qos: 1 }));
  await until(async () => (await evals()) > before);
  link.release('bus');
  const teller = await admin(other, 'teller');
  teller.send(publishPacket('told/now', 'x'));
  await watcher.next('publish');
  link.release('commands');
  await publisher.next('puback');
  expect(await store.xlen(`${prefix}queue:device-1`)).toBe(1);
  const again = await other.session('device-1', { clean: false }, other.token('device-1', { scope }));
  expect(await take(again, 1)).toEqual(['late']);
});

test('filters that are long are remembered up to a limit of bytes, and none of them is missed', async () => {
  const cluster = await startTestCluster({ frozenAfterSeconds: 30, deadAfterSeconds: 60 });
  const link = await cluster.link();
  const behind = await cluster.start({ via: link });
  const publisher = await admin(behind, 'publisher');
  const { store, prefix } = cluster;
  const roomy = await cluster.start({ limits: { maxSubscriptionsPerClient: 200 } });
  const client = await roomy.session('device-1', { clean: false });
  link.hold('bus');
  expect(await subscribe(client, ['devices/device-1/first'])).toEqual([1]);
  const long = (n: number) => `devices/device-1/${n}/${'x'.repeat(65_000)}`;
  for (let from = 0; from < 150; from += 15) {
    await subscribe(
      client,
      numbered(15, from).map((n) => long(Number(n))),
    );
  }
  await client.end();
  expect(await store.memory('USAGE', `${prefix}changes`, 'SAMPLES', 0)).toBeLessThan(9_000_000);
  expect(await store.xlen(`${prefix}changes`)).toBeGreaterThan(100);
  publisher.send(publishPacket('devices/device-1/first', 'late', { qos: 1 }));
  link.release('bus');
  await publisher.next('puback');
  expect(await store.xlen(`${prefix}queue:device-1`)).toBe(1);
});

test('what is published while a SUBSCRIBE is answered reaches the session that is connected, once', async () => {
  const cluster = await startTestCluster();
  const link = await cluster.link();
  const [one, other] = [await cluster.start({ via: link }), await cluster.start()];
  const publisher = await admin(other, 'publisher');
  const client = await one.session('device-1', { clean: false });
  const watcher = await admin(one, 'watcher');
  await subscribe(watcher, ['#'], 0);
  await subscribe(client, ['devices/device-1/a']);
  link.hold('commands');
  const subscribing = subscribe(client, ['devices/device-1/#', 'devices/device-1/+']);
  const { store, prefix } = cluster;
  await until(async () => (await store.hlen(`${prefix}subs:device-1`)) === 3);
  await publishAll(publisher, 'devices/device-1/b', ['1', '2']);
  // One that a filter takes which the host listens to.
  await publishAll(publisher, 'devices/device-1/a', ['3']);
  for (const _ of '123') await watcher.next('publish');
  link.release('commands');
  expect(await subscribing).toEqual([1, 1]);
  await publishAll(publisher, 'devices/device-1/b', ['4']);
  while (new Set(payloads(client.received)).size < 4) await take(client, 1);
  await until(async () => (await store.exists(`${prefix}queue:device-1`)) === 0);
  expect(await store.hgetall(`${prefix}sent:device-1`)).toEqual({});
  await client.settle();
  expect(payloads(client.received).sort()).toEqual(['1', '2', '3', '4']);
});

test('of a mix of QoS 0 and QoS 1 from several brokers nothing is lost and nothing comes twice', async () => {
  const cluster = await startTestCluster();
  const brokers = [await cluster.start(), await cluster.start(), await cluster.start()];
  const [first] = brokers as [(typeof brokers)[0]];
  const clean = await admin(first, 'clean');
  const kept = await admin(first, 'kept', false);
  for (const client of [clean, kept]) {
    await subscribe(client, ['m/#', 'm/+'], 1);
    await subscribe(client, ['m/a'], 0);
  }
  const wanted = 300;
  await Promise.all(
    brokers.map(async (broker, n) => {
      const publisher = await admin(broker, `publisher-${n}`);
      for (let at = 0; at < wanted; at += 1) {
        publisher.send(publishPacket('m/b', `${n}:${at}`, { qos: 1 }), publishPacket('m/b', 'zero'));
        if (at % 50 === 49) await publisher.settle();
      }
    }),
  );
  for (const client of [clean, kept]) {
    const got = new Map<string, number>();
    const all = wanted * brokers.length;
    const next = Array.from({ length: brokers.length }, () => 0);
    let zeros = 0;
    while (got.size < all || zeros < all) {
      const [text] = payloads([await client.next('publish')]) as [string];
      if (text === 'zero') {
        zeros += 1;
        continue;
      }
      got.set(text, (got.get(text) ?? 0) + 1);
      const [n, at] = text.split(':').map(Number) as [number, number];
      expect(at).toBe(next[n]);
      next[n] = at + 1;
    }
    expect(zeros).toBe(all);
    expect([...got.values()].every((times) => times === 1)).toBe(true);
    expect(payloads(await client.settle())).toEqual([]);
  }
});
