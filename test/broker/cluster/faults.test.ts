import { describe, expect, test } from 'vitest';
import { payloads, publishPacket, subscribe, type TestBroker, until } from '../../support/broker-fixture.ts';
import type { RawClient } from '../../support/broker-raw-client.ts';
import {
  admin,
  messagesOf,
  numbered,
  ownRedis,
  publishAll,
  startTestCluster,
  type TestCluster,
  take,
} from '../../support/cluster-fixture.ts';

const quick = { frozenAfterSeconds: 0.5, deadAfterSeconds: 5 };

/** Resolves when a client can connect; how long a broker takes to come back is not the matter here. */
const serves = (broker: TestBroker) =>
  until(async () => (await broker.connack('probe', broker.token('probe'))) === 0);

/** Publishes one behind the other until it is closed; gives what was acknowledged. */
async function publishUntilClosed(client: RawClient, topic: string, from: number): Promise<string[]> {
  const acknowledged: string[] = [];
  for (let n = from; ; n += 1) {
    client.send(publishPacket(topic, `${n}`, { qos: 1 }));
    try {
      await client.next('puback');
    } catch {
      return acknowledged;
    }
    acknowledged.push(`${n}`);
  }
}

test('PUBACK waits for Redis: of what it acknowledged nothing is lost when broker and Redis end', async () => {
  const redis = await ownRedis();
  const cluster = await startTestCluster({ on: redis, ...quick });
  const link = await cluster.link();
  const [dying, other] = [await cluster.start({ via: link }), await cluster.start()];
  const first = await other.session('device-1', { clean: false });
  await subscribe(first, ['devices/device-1/#']);
  await first.end();
  const publisher = await admin(dying, 'publisher');
  await publishAll(publisher, 'devices/device-1/x', numbered(10));
  redis.freeze();
  publisher.send(...numbered(20, 10).map((text) => publishPacket('devices/device-1/x', text, { qos: 1 })));
  await publisher.closed;
  expect(publisher.received.filter(({ cmd }) => cmd === 'puback')).toHaveLength(10);
  link.cut();
  await redis.kill();
  await redis.start();
  await serves(other);
  const again = await other.session('device-1', { clean: false });
  expect(await take(again, 10)).toEqual(numbered(10));
  expect(payloads(await again.settle())).toEqual([]);
});

test('a Redis that is killed again and again loses nothing it acknowledged, and brokers come back by themselves', async () => {
  const redis = await ownRedis();
  const cluster = await startTestCluster({ on: redis, ...quick });
  const [one, other] = [await cluster.start(), await cluster.start()];
  const first = await other.session('device-1', { clean: false });
  await subscribe(first, ['devices/device-1/#']);
  await first.end();
  const acknowledged: string[] = [];
  for (let round = 0; round < 3; round += 1) {
    const publisher = await admin(one, 'publisher');
    const publishing = publishUntilClosed(publisher, 'devices/device-1/x', round * 100_000);
    await until(() => publisher.received.length > 50);
    await redis.kill();
    acknowledged.push(...(await publishing));
    expect(await one.connack('device-2', one.token('device-2'))).toBe(3);
    await redis.start();
    await serves(one);
    await serves(other);
  }
  const again = await other.session('device-1', { clean: false });
  const got = new Set<string>();
  while (acknowledged.some((text) => !got.has(text))) for (const text of await take(again, 1)) got.add(text);
  expect(acknowledged.length).toBeGreaterThan(100);
});

test('brokers come back by themselves when Redis has stood still', async () => {
  const redis = await ownRedis();
  const cluster = await startTestCluster({ on: redis, ...quick });
  const [one, other] = [await cluster.start(), await cluster.start()];
  const clients = [await one.session('device-1', { clean: false }), await other.session('device-2')];
  redis.freeze();
  await Promise.all(clients.map(({ closed }) => closed));
  for (const broker of [one, other]) {
    expect(await broker.refusal({ reason: 'cluster_unavailable' })).toMatchObject({ action: 'session' });
    expect(await broker.connack('device-3', broker.token('device-3'))).toBe(3);
  }
  redis.thaw();
  await serves(one);
  await serves(other);
});

test('a broker whose bus was cut closes its sessions, and knows afterwards what it missed', async () => {
  const cluster = await startTestCluster();
  const link = await cluster.link();
  const [cut, other] = [await cluster.start({ via: link }), await cluster.start()];
  const publisher = await admin(cut, 'publisher');
  link.cut();
  await publisher.closed;
  const missed = await other.session('device-1', { clean: false });
  await subscribe(missed, ['devices/device-1/#']);
  await missed.end();
  const retainer = await admin(other, 'retainer');
  retainer.send(publishPacket('kept/x', 'retained', { qos: 1, retain: true }));
  await retainer.next('puback');
  link.mend();
  await serves(cut);
  const again = await admin(cut, 'publisher');
  await publishAll(again, 'devices/device-1/x', numbered(20));
  expect(await cluster.store.xlen(`${cluster.prefix}queue:device-1`)).toBe(20);
  await subscribe(again, ['kept/#']);
  expect(payloads([await again.next('publish')])).toEqual(['retained']);
});

test('a bus that is cut alone closes the sessions too', async () => {
  const cluster = await startTestCluster();
  const link = await cluster.link();
  const [cut, other] = [await cluster.start({ via: link }), await cluster.start()];
  const client = await cut.session('device-1', { clean: false });
  await subscribe(client, ['devices/device-1/#']);
  link.cut('bus');
  await client.closed;
  await serves(cut);
  const publisher = await admin(other, 'publisher');
  await publishAll(publisher, 'devices/device-1/x', ['missed']);
  const again = await cut.session('device-1', { clean: false });
  expect(await take(again, 1)).toEqual(['missed']);
});

test('a bus that says nothing more, with its connection open, closes the sessions', async () => {
  const cluster = await startTestCluster(quick);
  const link = await cluster.link();
  const behind = await cluster.start({ via: link });
  const client = await behind.session('device-1');
  link.hold('bus');
  await client.closed;
  expect(behind.log()).toContain('no answer');
  link.release('bus');
  await serves(behind);
});

test('a message that is missing on the bus closes the sessions, and nothing is missing afterwards', async () => {
  const cluster = await startTestCluster();
  const broker = await cluster.start();
  const client = await broker.session('device-1', { clean: false });
  await subscribe(client, ['devices/device-1/#']);
  // Somebody numbered one and said it to nobody.
  await cluster.store.incr(`${cluster.prefix}seq`);
  const publisher = await admin(broker, 'publisher').catch(() => undefined);
  publisher?.send(publishPacket('devices/device-1/x', 'x', { qos: 1 }));
  await client.closed;
  expect(broker.log()).toContain('messages of the bus were lost');
  await serves(broker);
});

test('scripts that Redis was told to forget are sent again', async () => {
  const redis = await ownRedis({ appendfsync: 'no' });
  const cluster = await startTestCluster({ on: redis });
  const broker = await cluster.start();
  const client = await broker.session('device-1', { clean: false });
  await subscribe(client, ['devices/device-1/#']);
  const publisher = await admin(broker, 'publisher');
  await publishAll(publisher, 'devices/device-1/x', ['before']);
  expect(await take(client, 1)).toEqual(['before']);
  await cluster.store.script('FLUSH');
  await publishAll(publisher, 'devices/device-1/x', ['after']);
  expect(await take(client, 1)).toEqual(['after']);
});

describe('a Redis without memory', () => {
  async function full() {
    const redis = await ownRedis({ appendfsync: 'no' });
    const cluster = await startTestCluster({ on: redis });
    const broker = await cluster.start();
    const { store } = cluster;
    const room = (bytes: number) => store.config('SET', 'maxmemory', String(bytes));
    return { cluster, broker, store, room };
  }

  /** All there is but what changes by itself. */
  async function contents({ store, prefix, keys }: TestCluster): Promise<Record<string, unknown>> {
    const found: Record<string, unknown> = { seq: await store.get(`${prefix}seq`) };
    for (const key of await keys()) found[key] = await store.dump(prefix + key);
    return found;
  }

  test('acknowledges nothing and does nothing by halves', async () => {
    const { cluster, broker, room } = await full();
    const publisher = await admin(broker, 'publisher');
    const retain = publishPacket('devices/x', 'kept', { qos: 1, retain: true });
    publisher.send(retain);
    await publisher.next('puback');
    const will = { topic: 'devices/device-1/x', payload: Buffer.from('x'), qos: 1 as const, retain: false };
    const other = await cluster.start();
    const kept = await other.session('device-1', { clean: false, will });
    await subscribe(kept, ['devices/device-1/#']);
    await room(1);
    const before = await contents(cluster);
    for (const clean of [true, false]) {
      expect(await broker.connack('device-1', broker.token('device-1'), { clean })).toBe(3);
    }
    expect(await contents(cluster)).toEqual(before);
    publisher.send({ ...retain, payload: '' });
    await publisher.closed;
    expect(publisher.received.filter(({ cmd }) => cmd === 'puback')).toHaveLength(1);
    const refusal = { action: 'publish', reason: 'cluster_unavailable' } as const;
    expect(await broker.refusal(refusal)).toMatchObject({ clientId: 'publisher' });
    await room(0);
    await serves(broker);
    expect(await cluster.store.hkeys(`${cluster.prefix}retained`)).toEqual(['devices/x']);
  });

  test('takes acknowledgements, which make room', async () => {
    const { cluster, broker, room } = await full();
    const publisher = await admin(broker, 'publisher');
    const client = await broker.session('device-1', { clean: false });
    await subscribe(client, ['devices/device-1/#']);
    await publishAll(publisher, 'devices/device-1/x', numbered(5));
    for (let n = 0; n < 5; n += 1) await client.next('publish');
    await room(1);
    for (const { messageId } of messagesOf(client).slice(0, 4)) {
      client.send({ cmd: 'puback', messageId: messageId as number });
    }
    await until(async () => (await cluster.store.xlen(`${cluster.prefix}queue:device-1`)) === 1);
    expect(client.stream.destroyed).toBe(false);
    const [[, [, last]]] = (await cluster.store.xrangeBuffer(
      `${cluster.prefix}queue:device-1`,
      '-',
      '+',
    )) as [[Buffer, [Buffer, Buffer]]];
    expect(await cluster.store.hget(`${cluster.prefix}queued`, 'device-1')).toBe(`${last.length}`);
    await room(0);
  });
});
