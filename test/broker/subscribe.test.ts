import type { ISubackPacket, Packet } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import {
  attack,
  attackOfMemory,
  messageId,
  payloads,
  publishPacket,
  startTestBroker,
  subscribe,
  type TestBroker,
  testOfMemory,
  until,
} from '../support/broker-fixture.ts';
import { connectPacket, field } from '../support/broker-raw-client.ts';

interface Store {
  subscriptionsByClient(client: { id: string }): Promise<{ topic: string; qos: number }[]>;
  addSubscriptions(client: { id: string }, subscriptions: { topic: string; qos: number }[]): Promise<void>;
}
const storeOf = (broker: TestBroker) => (broker.aedes as unknown as { persistence: Store }).persistence;
const storedTopics = async (broker: TestBroker, id: string) =>
  (await storeOf(broker).subscriptionsByClient({ id })).map(({ topic }) => topic).sort();

const own = 'devices/device-1/#';
const publisherToken = (broker: TestBroker) => broker.token('publisher', { scope: ['mqtt:publish:#'] });

async function publishAll(broker: TestBroker, topics: readonly string[], retain = false): Promise<void> {
  const publisher = await broker.session('publisher', {}, publisherToken(broker));
  for (const topic of topics) {
    publisher.send(publishPacket(topic, topic, { qos: 1, retain }));
    await publisher.next('puback');
  }
  await publisher.end();
}

describe('a filter outside the grants is answered 0x80, and only that one', () => {
  test.each([
    '#',
    '+/#',
    '/#',
    'devices/#',
    'devices/+/x',
    'devices/device-2/x',
    '$SYS/#',
    '$share/g/devices/device-1/x',
    '$fleetgate/token',
  ])('%s', async (filter) => {
    const broker = await startTestBroker();
    const client = await broker.session('device-1');
    expect(await subscribe(client, [own, filter, 'devices/device-1/+/x'])).toEqual([1, 0x80, 1]);
    await publishAll(broker, ['devices/device-2/x', 'devices/device-1/y']);
    expect(payloads([await client.next('publish'), ...(await client.settle())])).toEqual([
      'devices/device-1/y',
    ]);
    await broker.servesOthers();
  });
});

attack('of one SUBSCRIBE on a persistent session only what is allowed is stored', {}, async (broker) => {
  const client = await broker.session('device-1', { clean: false });
  expect(await subscribe(client, [own, '#', 'devices/device-2/#', '$SYS/#'])).toEqual([1, 0x80, 0x80, 0x80]);
  expect(await storedTopics(broker, 'device-1')).toEqual([own]);
  await client.end();
  await publishAll(broker, ['devices/device-2/x', 'devices/device-1/x', 'other']);
  const again = await broker.session('device-1', { clean: false });
  expect(payloads([await again.next('publish'), ...(await again.settle())])).toEqual(['devices/device-1/x']);
});

testOfMemory('a SUBSCRIBE is stored once, however many filters it has', async () => {
  const broker = await startTestBroker();
  const store = storeOf(broker) as Store & { asyncPersistence: Store };
  const lists: number[] = [];
  const add = store.asyncPersistence.addSubscriptions;
  store.asyncPersistence.addSubscriptions = function counted(client, list) {
    lists.push(list.length);
    return add.call(this, client, list);
  };
  const client = await broker.session('device-1', { clean: false });
  const filters = Array.from({ length: 100 }, (_, i) => `devices/device-1/${i}`);
  expect(await subscribe(client, filters)).toEqual(filters.map(() => 1));
  expect(lists).toEqual([100]);
});

describe('a session that is taken up again', () => {
  async function leaveBehind(broker: TestBroker, topics: readonly string[]): Promise<void> {
    const client = await broker.session('device-1', { clean: false });
    await client.end();
    await until(() => broker.auth.connections.size === 0);
    // As stored by a broker before ours, or under a wider token.
    await storeOf(broker).addSubscriptions(
      { id: 'device-1' },
      topics.map((topic) => ({ topic, qos: 1 })),
    );
  }

  // Stored behind our back: our own wrapper would refuse a client without a session.
  async function storeDirectly(broker: TestBroker, topics: readonly string[]): Promise<void> {
    const { asyncPersistence } = storeOf(broker) as Store & { asyncPersistence: Store };
    await asyncPersistence.addSubscriptions(
      { id: 'device-1' },
      topics.map((topic) => ({ topic, qos: 1 })),
    );
  }

  attackOfMemory(
    'loses the subscriptions its token no longer allows, and is not locked out',
    {},
    async (broker) => {
      await leaveBehind(broker, []);
      await storeDirectly(broker, [own, 'devices/device-2/#', '#']);
      await publishAll(broker, ['devices/device-2/x', 'devices/device-1/x']);
      const client = await broker.session('device-1', { clean: false });
      // The host queues a message once for each filter it matches.
      const got = payloads([await client.next('publish'), ...(await client.settle())]);
      expect(new Set(got)).toEqual(new Set(['devices/device-1/x']));
      expect(await storedTopics(broker, 'device-1')).toEqual([own]);
      await publishAll(broker, ['devices/device-2/x']);
      expect(payloads(await client.settle())).toEqual([]);
      expect(await broker.refusal({ action: 'subscribe', topic: '#' })).toMatchObject({
        clientId: 'device-1',
      });
    },
  );

  attackOfMemory('loses malformed subscriptions, and is not locked out', {}, async (broker) => {
    await leaveBehind(broker, []);
    await storeDirectly(broker, ['a#', 'devices/device-1/x']);
    const client = await broker.session('device-1', { clean: false });
    expect(await client.settle()).toEqual([]);
    expect(await storedTopics(broker, 'device-1')).toEqual(['devices/device-1/x']);
  });

  test('keeps what it may keep', async () => {
    const broker = await startTestBroker();
    const client = await broker.session('device-1', { clean: false });
    await subscribe(client, [own]);
    await client.end();
    const again = await broker.raw();
    again.send(connectPacket('device-1', broker.token('device-1'), { clean: false }));
    expect(await again.next('connack')).toMatchObject({ returnCode: 0, sessionPresent: true });
    await publishAll(broker, ['devices/device-1/x']);
    expect(payloads([await again.next('publish')])).toEqual(['devices/device-1/x']);
  });
});

test('a filter named twice is answered twice, and the last counts', async () => {
  const broker = await startTestBroker();
  for (const clean of [true, false]) {
    const client = await broker.session('device-1', { clean });
    const subscriptions = [
      { topic: own, qos: 0 as const },
      { topic: '#', qos: 0 as const },
      { topic: own, qos: 1 as const },
      { topic: '#', qos: 1 as const },
    ];
    client.send({ cmd: 'subscribe', messageId: messageId(), subscriptions });
    expect(((await client.next('suback')) as ISubackPacket).granted).toEqual([0, 0x80, 1, 0x80]);
    await publishAll(broker, ['devices/device-1/x']);
    expect([await client.next('publish'), ...(await client.settle())]).toMatchObject([{ qos: 1 }]);
    expect(await storedTopics(broker, 'device-1')).toEqual(clean ? [] : [own]);
  }
});

describe('a malformed SUBSCRIBE closes the connection and stores nothing', () => {
  test.each([
    'a#',
    'a+',
    '+a',
    'a+/b',
    'a/+b',
    '+#',
    '#/a',
    'a/#/b',
    '',
    'devices/device-1/\0',
    'devices/device-1/\uFFFD',
  ])('filter %j', async (filter) => {
    const broker = await startTestBroker();
    const token = broker.token('device-1', { scope: ['mqtt:subscribe:#', 'mqtt:subscribe:+/#'] });
    const client = await broker.session('device-1', { clean: false }, token);
    client.write(subscribeBytes([own, filter]));
    await client.closed;
    expect(client.received.map(({ cmd }) => cmd)).toEqual(['connack']);
    expect(await storedTopics(broker, 'device-1')).toEqual([]);
    await broker.servesOthers();
  });

  test.each<[string, Buffer]>([
    ['no filter at all', subscribeBytes([])],
    ['packet identifier 0', Buffer.from([0x82, 6, 0, 0, 0, 1, 0x61, 0])],
    ['QoS 3', Buffer.from([0x82, 6, 0, 1, 0, 1, 0x61, 3])],
    ['an UNSUBSCRIBE with NUL', Buffer.from([0xa2, 5, 0, 1, 0, 1, 0])],
    ['an UNSUBSCRIBE of nothing', Buffer.from([0xa2, 2, 0, 1])],
  ])('%s', async (_what, bytes) => {
    const broker = await startTestBroker();
    const client = await broker.session('device-1');
    client.write(bytes);
    await client.closed;
    expect(client.received.map(({ cmd }) => cmd)).toEqual(['connack']);
    await broker.servesOthers();
  });
});

describe('the limit of subscriptions', () => {
  const limits = { maxSubscriptionsPerClient: 3 };
  const filters = ['1', '2', '3', '4', '5'].map((name) => `devices/device-1/${name}`);

  describe.each([true, false])('clean %s', (clean) => {
    attack('is held within one SUBSCRIBE', { limits }, async (broker) => {
      const client = await broker.session('device-1', { clean });
      expect(await subscribe(client, filters)).toEqual([1, 1, 1, 0x80, 0x80]);
      expect(await storedTopics(broker, 'device-1')).toEqual(clean ? [] : filters.slice(0, 3));
      expect(await broker.refusal({ reason: 'too_many_subscriptions' })).toMatchObject({
        clientId: 'device-1',
      });
    });

    attack('is held across several, and an UNSUBSCRIBE makes room', { limits }, async (broker) => {
      const client = await broker.session('device-1', { clean });
      const one = async (filter: string) => (await subscribe(client, [filter]))[0];
      expect([await one('devices/device-1/1'), await one('devices/device-1/2')]).toEqual([1, 1]);
      expect([await one('devices/device-1/2'), await one('devices/device-1/3')]).toEqual([1, 1]);
      expect(await one('devices/device-1/4')).toBe(0x80);
      client.send({ cmd: 'unsubscribe', messageId: messageId(), unsubscriptions: ['devices/device-1/1'] });
      await client.next('unsuback');
      expect(await one('devices/device-1/4')).toBe(1);
    });
  });

  attack('counts what a session brings along', { limits }, async (broker) => {
    const client = await broker.session('device-1', { clean: false });
    await subscribe(client, filters.slice(0, 3));
    await client.end();
    const again = await broker.session('device-1', { clean: false });
    expect(await subscribe(again, ['devices/device-1/4'])).toEqual([0x80]);
  });

  attack('closes the connection of one who names thousands at once', {}, async (broker) => {
    const client = await broker.session('device-1');
    const many = Array.from({ length: 1001 }, (_, i) => `devices/device-1/${i}`);
    client.write(subscribeBytes(many));
    await client.closed;
    expect(await broker.refusal({ reason: 'too_many_subscriptions' })).toMatchObject({ action: 'packet' });
  });
});

describe.each([true, false])('SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBE in one go, clean %s', (clean) => {
  const listeners = (broker: TestBroker, topic: string) =>
    (broker.aedes as unknown as { mq: { _matcher: { match(topic: string): unknown[] } } }).mq._matcher.match(
      topic,
    );

  attack('leaves nothing that delivers after the UNSUBSCRIBE or the connection', {}, async (broker) => {
    const client = await broker.session('device-1', { clean });
    const take = (qos: 0 | 1): Packet => ({
      cmd: 'subscribe',
      messageId: messageId(),
      subscriptions: [{ topic: own, qos }],
    });
    const giveUp = (): Packet => ({ cmd: 'unsubscribe', messageId: messageId(), unsubscriptions: [own] });
    const answers = () => client.received.filter(({ cmd }) => cmd === 'unsuback' || cmd === 'suback').length;
    client.send(take(0), giveUp(), take(1));
    await until(() => answers() === 3);
    client.send(giveUp());
    await until(() => answers() === 4);
    expect(listeners(broker, 'devices/device-1/x')).toEqual([]);
    await publishAll(broker, ['devices/device-1/x']);
    await client.settle();
    expect(payloads(client.received)).toEqual([]);
    await client.end();
    expect(await storedTopics(broker, 'device-1')).toEqual([]);
  });
});

test('hooks change neither filter nor QoS', async () => {
  const broker = await startTestBroker();
  await publishAll(broker, ['devices/device-1/r'], true);
  const client = await broker.session('device-1');
  expect(await subscribe(client, ['devices/device-1/+'], 2)).toEqual([2]);
  expect(payloads([await client.next('publish'), ...(await client.settle())])).toEqual([
    'devices/device-1/r',
  ]);
});

function subscribeBytes(filters: readonly string[]): Buffer {
  const body = Buffer.concat([
    Buffer.from([0, 7]),
    ...filters.flatMap((filter) => [field(filter), Buffer.from([1])]),
  ]);
  const length = [];
  let left = body.length;
  do {
    const byte = left & 127;
    left >>= 7;
    length.push(left > 0 ? byte | 128 : byte);
  } while (left > 0);
  return Buffer.concat([Buffer.from([0x82, ...length]), body]);
}
