import { parsePolicy } from '@fleetgate/broker';
import { expect, test } from 'vitest';
import { payloads, publishPacket, subscribe, until } from '../../support/broker-fixture.ts';
import {
  admin,
  numbered,
  publishAll,
  publishAtOnce,
  startTestCluster,
  take,
} from '../../support/cluster-fixture.ts';

const options = (limits: object) => ({ limits });

test('a queue is bounded by messages, whichever broker they come through', async () => {
  const cluster = await startTestCluster();
  const limits = options({ maxQueuedMessagesPerClient: 10 });
  const [one, other] = [await cluster.start(limits), await cluster.start(limits)];
  const first = await one.session('device-1', { clean: false });
  await subscribe(first, ['devices/device-1/#']);
  await first.end();
  await until(async () => (await cluster.store.hexists(`${cluster.prefix}live`, 'device-1')) === 0);
  const publishers = [await admin(one, 'publisher-1'), await admin(other, 'publisher-2')];
  for (const publisher of publishers) await publishAll(publisher, 'devices/device-1/x', numbered(8));
  expect(await other.refusal({ reason: 'queue_full' })).toMatchObject({
    action: 'receive',
    clientId: 'device-1',
  });
  const again = await other.session('device-1', { clean: false });
  expect(await take(again, 10)).toEqual([...numbered(8), ...numbered(2)]);
  expect(payloads(await again.settle())).toEqual([]);
  expect(await cluster.store.hexists(`${cluster.prefix}queued`, 'device-1')).toBe(0);
});

test('a queue is bounded by bytes, and what was taken out makes room', async () => {
  const cluster = await startTestCluster();
  const limits = options({ maxQueuedBytesPerClient: 10_000 });
  const [one, other] = [await cluster.start(limits), await cluster.start(limits)];
  const first = await one.session('device-1', { clean: false });
  await subscribe(first, ['devices/device-1/#']);
  await first.end();
  await until(async () => (await cluster.store.hexists(`${cluster.prefix}live`, 'device-1')) === 0);
  const publisher = await admin(other, 'publisher');
  const large = (n: number) => `${n}${'x'.repeat(3_000)}`;
  for (let round = 0; round < 3; round += 1) {
    await publishAll(publisher, 'devices/device-1/x', [0, 1, 2, 3].map(large));
    expect(await cluster.store.xlen(`${cluster.prefix}queue:device-1`)).toBe(3);
    const partly = await other.session('device-1', { clean: false });
    expect(await take(partly, 1)).toEqual([large(0)]);
    await until(async () => (await cluster.store.xlen(`${cluster.prefix}queue:device-1`)) === 2);
    await partly.end();
    await until(async () => (await cluster.store.hexists(`${cluster.prefix}live`, 'device-1')) === 0);
    await publishAll(publisher, 'devices/device-1/x', [4, 5].map(large));
    const again = await one.session('device-1', { clean: false });
    expect(await take(again, 3)).toEqual([1, 2, 4].map(large));
    await until(async () => (await cluster.store.exists(`${cluster.prefix}queue:device-1`)) === 0);
    await again.end();
    await until(async () => (await cluster.store.hexists(`${cluster.prefix}live`, 'device-1')) === 0);
  }
});

test('a session that is connected and acknowledges nothing is closed at ten times the limit', async () => {
  const cluster = await startTestCluster();
  const limits = options({ maxQueuedMessagesPerClient: 10 });
  const [one, other] = [await cluster.start(limits), await cluster.start(limits)];
  const silent = await one.session('device-1', { clean: false });
  await subscribe(silent, ['devices/device-1/#']);
  const publisher = await admin(other, 'publisher');
  await publishAll(publisher, 'devices/device-1/x', numbered(100));
  await silent.settle();
  expect(silent.stream.destroyed).toBe(false);
  await publishAll(publisher, 'devices/device-1/x', ['100']);
  await silent.closed;
  expect(await one.refusal({ reason: 'queue_full' })).toMatchObject({
    action: 'session',
    clientId: 'device-1',
  });
});

test('what a session may not receive takes no room in its queue', async () => {
  const scopes = { s: { subscribe: [{ topic: 'devices/+/own', broader: 'filter' }] } };
  const policy = parsePolicy(JSON.stringify({ version: 1, scopes }), 'policy.yaml');
  const cluster = await startTestCluster();
  const [one, other] = [await cluster.start({ policy }), await cluster.start({ policy })];
  const first = await one.session('device-1', { clean: false }, one.token('device-1', { scope: ['s'] }));
  expect(await subscribe(first, ['devices/#'])).toEqual([1]);
  await first.end();
  const publisher = await admin(other, 'publisher');
  await publishAll(publisher, 'devices/device-2/foreign', ['foreign']);
  expect(await cluster.store.exists(`${cluster.prefix}queue:device-1`)).toBe(0);
  await publishAll(publisher, 'devices/device-2/own', ['own']);
  expect(await cluster.store.xlen(`${cluster.prefix}queue:device-1`)).toBe(1);
});

test('retained messages are bounded for one client across brokers, and what it clears makes room', async () => {
  const cluster = await startTestCluster();
  const limits = { ...options({ maxRetainedMessagesPerClient: 3 }), deniedPublish: 'drop' as const };
  const [one, other] = [await cluster.start(limits), await cluster.start(limits)];
  const first = await one.session('device-1');
  const retain = async (client: typeof first, at: number, text: string) => {
    client.send(publishPacket(`devices/device-1/${at}`, text, { qos: 1, retain: true }));
    await client.next('puback');
  };
  const kept = () => cluster.store.hlen(`${cluster.prefix}retained`);
  for (const at of [0, 1]) await retain(first, at, 'x');
  const second = await other.session('device-1');
  for (const at of [2, 3]) await retain(second, at, 'x');
  expect(await kept()).toBe(3);
  expect(await other.refusal({ reason: 'too_many_retained' })).toMatchObject({ topic: 'devices/device-1/3' });
  await retain(second, 0, '');
  await retain(second, 3, 'x');
  // Replaced, it is none more.
  await retain(second, 3, 'y');
  expect(await kept()).toBe(3);
  for (const at of [1, 2, 3]) await retain(second, at, '');
  expect((await cluster.keys()).filter((key) => key.startsWith('retained'))).toEqual([]);
});

test('retained messages are bounded by bytes for one client, and in all', async () => {
  const cluster = await startTestCluster();
  const limits = {
    ...options({ maxRetainedBytesPerClient: 10_000, maxRetainedMessages: 5 }),
    deniedPublish: 'drop' as const,
  };
  const [one, other] = [await cluster.start(limits), await cluster.start(limits)];
  const retain = async (broker: typeof one, id: string, at: number, bytes: number) => {
    const client = await broker.session(id);
    client.send(publishPacket(`devices/${id}/${at}`, 'x'.repeat(bytes), { qos: 1, retain: true }));
    await client.next('puback');
    await client.end();
  };
  const kept = async () => (await cluster.store.hkeys(`${cluster.prefix}retained`)).sort();
  await retain(one, 'device-1', 0, 6_000);
  await retain(other, 'device-1', 1, 6_000);
  await retain(other, 'device-1', 0, 9_000);
  expect(await kept()).toEqual(['devices/device-1/0']);
  for (const at of [0, 1, 2, 3]) await retain(at % 2 === 0 ? one : other, `device-${at + 2}`, 0, 1);
  expect(await kept()).toHaveLength(5);
  await retain(one, 'device-9', 0, 1);
  expect(await kept()).toHaveLength(5);
});

test('of a topic that two clients retain in turn each is counted for who has it', async () => {
  const cluster = await startTestCluster();
  const [one, other] = [await cluster.start(), await cluster.start()];
  const clients = [await admin(one, 'a'), await admin(other, 'b')];
  for (let turn = 0; turn < 50; turn += 1) {
    const client = clients[turn % 2] as (typeof clients)[0];
    client.send(publishPacket('shared/x', 'x'.repeat(turn + 1), { qos: 1, retain: true }));
    await client.next('puback');
  }
  const { store, prefix } = cluster;
  expect(await store.hgetall(`${prefix}retained-count`)).toEqual({ 'b https://issuer.example': '1' });
  // Topic, head and payload, and the topic once more as the key.
  expect(await store.hgetall(`${prefix}retained-bytes`)).toEqual({
    'b https://issuer.example': `${8 + 3 + 8 + 50}`,
  });
});

test('a client keeps no more sessions than the limit, on all brokers together', async () => {
  const cluster = await startTestCluster();
  const loose = { ...options({ maxSessionsPerClient: 3 }), clientIdBinding: 'prefix' as const };
  const link = await cluster.link();
  const [one, behind] = [await cluster.start(loose), await cluster.start({ ...loose, via: link })];
  const token = one.token('fleet');
  const connect = { clean: false, username: 'fleet' };
  link.hold('bus');
  for (const n of [1, 2, 3]) expect(await one.connack(`fleet.${n}`, token, connect)).toBe(0);
  // It has not heard of them.
  expect(await behind.connack('fleet.4', token, connect)).toBe(3);
  expect(await behind.refusal({ reason: 'too_many_sessions' })).toMatchObject({ clientId: 'fleet' });
  link.release('bus');
  // One that is there is taken up, and one that is given up makes room.
  expect(await behind.connack('fleet.1', token, connect)).toBe(0);
  expect(await one.connack('fleet.2', token, { clean: true, username: 'fleet' })).toBe(0);
  expect(await behind.connack('fleet.4', token, connect)).toBe(0);
  expect(await cluster.store.hgetall(`${cluster.prefix}sessions`)).toEqual({
    'fleet https://issuer.example': '3',
  });
});

test('QoS 2 messages without a PUBREL are bounded for a session across brokers', async () => {
  const cluster = await startTestCluster();
  const [one, other] = [await cluster.start(), await cluster.start()];
  const flood = (from: number, count: number) =>
    numbered(count, from).map((text) =>
      publishPacket('devices/device-1/x', text, { qos: 2, messageId: Number(text) + 1 }),
    );
  const first = await one.session('device-1', { clean: false });
  first.send(...flood(0, 600));
  for (let n = 0; n < 600; n += 1) await first.next('pubrec');
  const again = await other.session('device-1', { clean: false });
  again.send(...flood(600, 600));
  await again.closed;
  expect(await other.refusal({ reason: 'too_many_unreleased' })).toMatchObject({ clientId: 'device-1' });
  expect(await cluster.store.scard(`${cluster.prefix}in:device-1`)).toBe(1_000);
});

test('sessions that end leave nothing', async () => {
  const cluster = await startTestCluster();
  const [one, other] = [await cluster.start(), await cluster.start()];
  const will = { topic: 'devices/device-1/gone', payload: Buffer.from('x'), qos: 1 as const, retain: false };
  const publisher = await admin(other, 'publisher');
  for (const clean of [false, true]) {
    const client = await one.session('device-1', { clean, will });
    await subscribe(client, ['devices/device-1/#'], 2);
    client.send(publishPacket('devices/device-1/x', 'x', { qos: 2, messageId: 1 }));
    await client.next('pubrec');
    await publishAtOnce(publisher, 'devices/device-1/x', numbered(5));
    await client.next('publish');
    await client.end();
    await publishAtOnce(publisher, 'devices/device-1/x', numbered(5));
  }
  await publisher.end();
  await until(async () => (await cluster.keys()).length === 0);
});
