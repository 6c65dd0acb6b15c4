import type { Readable } from 'node:stream';
import { generate, type IPublishPacket, type Packet } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import {
  attack,
  payloads,
  publishPacket,
  startTestBroker,
  subscribe,
  type TestBroker,
  testOfMemory,
  until,
} from '../support/broker-fixture.ts';
import type { RawClient } from '../support/broker-raw-client.ts';

interface Store {
  outgoingStream(client: { id: string }): Readable;
  incomingGetPacket(client: { id: string }, packet: { messageId: number }): Promise<IPublishPacket>;
  createRetainedStreamCombi(filters: readonly string[]): Readable;
}
const storeOf = (broker: TestBroker) => (broker.aedes as unknown as { persistence: Store }).persistence;
const queueOf = (broker: TestBroker, id: string): Promise<IPublishPacket[]> =>
  storeOf(broker).outgoingStream({ id }).toArray();

const everything = ['mqtt:publish:#', 'mqtt:subscribe:#'];
const observer = (broker: TestBroker) =>
  broker.session('observer', { clean: false }, broker.token('observer', { scope: everything }));

/** Publishes at QoS 2 with its whole handshake. */
async function publishOnce(client: RawClient, packet: Partial<IPublishPacket> & { topic: string }) {
  const sent = publishPacket(packet.topic, packet.payload ?? 'x', { qos: 2, ...packet });
  client.send(sent);
  await client.next('pubrec');
  client.send({ cmd: 'pubrel', messageId: sent.messageId as number });
  await client.next('pubcomp');
}

attack('what is acknowledged for nothing takes no place in a queue', {}, async (broker) => {
  const first = await observer(broker);
  expect(await subscribe(first, ['#', '+/dropped', '+/#'])).toEqual([1, 1, 1]);
  const client = await broker.session('device-1');
  const nonsense = async () => {
    client.send(publishPacket('$fleetgate/token', 'nonsense', { qos: 1 }));
    await client.next('puback');
    await client.settle();
  };
  await nonsense();
  expect(await queueOf(broker, 'observer')).toEqual([]);
  await first.end();
  await nonsense();
  expect(await queueOf(broker, 'observer')).toEqual([]);
});

describe('a message that several filters match', () => {
  const filters = ['devices/#', 'devices/+/x', 'devices/device-1/#', '#'];

  async function publish(broker: TestBroker, count: number): Promise<void> {
    const client = await broker.session('device-1');
    for (let i = 0; i < count; i += 1) {
      client.send(publishPacket('devices/device-1/x', `${i}`, { qos: 1 }));
      await client.next('puback');
    }
    await client.settle();
  }

  async function take(client: RawClient, count: number): Promise<string[]> {
    const got: string[] = [];
    while (got.length < count) {
      const { payload, messageId } = (await client.next('publish')) as IPublishPacket;
      got.push(payload.toString());
      client.send({ cmd: 'puback', messageId: messageId as number });
    }
    return [...got, ...payloads(await client.settle())];
  }

  test('arrives once and leaves the queue', async () => {
    const broker = await startTestBroker();
    const client = await observer(broker);
    await subscribe(client, filters);
    await publish(broker, 3);
    expect(await take(client, 3)).toEqual(['0', '1', '2']);
    expect(await queueOf(broker, 'observer')).toEqual([]);
  });

  test('arrives once after a reconnect and leaves the queue', async () => {
    const broker = await startTestBroker();
    const client = await observer(broker);
    await subscribe(client, filters);
    await client.end();
    await publish(broker, 3);
    const again = await observer(broker);
    expect(await take(again, 3)).toEqual(['0', '1', '2']);
    expect(await queueOf(broker, 'observer')).toEqual([]);
  });
});

test.each([
  ['devices/+/x', 'devices/#'],
  ['devices/#', 'devices/device-1/x'],
  ['devices/device-1/x', 'devices/#'],
])(
  'a message that %s takes at QoS 0 and %s at QoS 1 is sent at QoS 1, and leaves the queue',
  async (zero, one) => {
    const broker = await startTestBroker();
    const client = await observer(broker);
    await subscribe(client, [zero], 0);
    await subscribe(client, [one], 1);
    const publisher = await broker.session('device-1');
    for (const payload of ['a', 'b', 'c']) {
      publisher.send(publishPacket('devices/device-1/x', payload, { qos: 1 }));
      const { messageId, qos } = (await client.next('publish')) as IPublishPacket;
      expect(qos).toBe(1);
      client.send({ cmd: 'puback', messageId: messageId as number });
    }
    expect(payloads(await client.settle())).toEqual([]);
    await until(async () => (await queueOf(broker, 'observer')).length === 0);
  },
);

describe('a QoS 2 message to a persistent session', () => {
  test('is released by its own identifier, also when others are under way', async () => {
    const broker = await startTestBroker();
    const client = await observer(broker);
    await subscribe(client, ['#'], 2);
    const publisher = await broker.session('device-1');
    const ids: number[] = [];
    for (const payload of ['1', '2', '3']) {
      await publishOnce(publisher, { topic: 'devices/device-1/x', payload });
      ids.push(((await client.next('publish')) as IPublishPacket).messageId as number);
    }
    for (const id of ids) {
      client.send({ cmd: 'pubrec', messageId: id });
      expect(await client.next('pubrel')).toMatchObject({ messageId: id });
    }
    // Released and not complete: sent again is the PUBREL, not the message.
    await client.end();
    const again = await observer(broker);
    for (const id of ids) expect(await again.next()).toMatchObject({ cmd: 'pubrel', messageId: id });
    for (const id of ids) again.send({ cmd: 'pubcomp', messageId: id });
    expect(payloads(await again.settle())).toEqual([]);
    expect(await queueOf(broker, 'observer')).toEqual([]);
  });

  attack('that was retained is released too, and does not end the session', {}, async (broker) => {
    const publisher = await broker.session('device-1');
    await publishOnce(publisher, { topic: 'devices/device-1/x', retain: true });
    const client = await observer(broker);
    await subscribe(client, ['devices/#'], 2);
    const { messageId } = (await client.next('publish')) as IPublishPacket;
    client.send({ cmd: 'pubrec', messageId: messageId as number });
    expect(await client.next('pubrel')).toMatchObject({ messageId });
    expect(await client.settle()).toEqual([]);
  });
});

testOfMemory('of a QoS 2 message that was published nothing is kept but its identifier', async () => {
  const broker = await startTestBroker();
  const client = await broker.session('device-1', { clean: false });
  const packet = publishPacket('devices/device-1/x', Buffer.alloc(100_000), { qos: 2, messageId: 7 });
  client.send(packet);
  await client.next('pubrec');
  const stored = await storeOf(broker).incomingGetPacket({ id: 'device-1' }, { messageId: 7 });
  expect({ topic: stored.topic, bytes: stored.payload.length }).toEqual({ topic: '', bytes: 0 });
});

describe('acknowledgements of nothing, in one go', () => {
  const topic = 'devices/device-1/x';
  const COUNT = 10_000;

  for (const cmd of ['puback', 'pubrec', 'pubcomp'] as const) {
    attack(`are as quick (${cmd}) with a long queue as with none`, {}, async (broker) => {
      const client = await broker.session('device-1', { clean: false });
      await subscribe(client, [topic]);
      const flood = Buffer.concat(Array.from({ length: COUNT }, () => generate({ cmd, messageId: 65_535 })));
      /** The best of three: others use the machine too. */
      const bestMs = async () => {
        let best = Number.POSITIVE_INFINITY;
        for (let n = 0; n < 3; n += 1) {
          const startMs = performance.now();
          client.write(flood);
          await client.settle();
          best = Math.min(best, performance.now() - startMs);
        }
        return best;
      };
      const emptyMs = await bestMs();
      for (let sent = 1000; sent <= 9000; sent += 1000) {
        client.send(...Array.from({ length: 1000 }, () => publishPacket(topic, 'x', { qos: 1 })));
        await until(() => client.received.filter((packet) => packet.cmd === 'puback').length === sent);
      }
      await client.settle();
      // Looked for, they take ten times as long.
      expect(await bestMs()).toBeLessThan(4 * emptyMs);
    });
  }

  attack('and a PUBREC again and again take nothing from the queue', {}, async (broker) => {
    const client = await broker.session('device-1', { clean: false });
    await subscribe(client, [topic], 2);
    client.send(publishPacket(topic, 'first', { qos: 1 }), publishPacket(topic, 'second', { qos: 2 }));
    const sent = [await client.next('publish'), await client.next('publish')] as IPublishPacket[];
    const ids = sent.map(({ messageId: id }) => id as number);
    const unused = [1, 2, 3, 4, 5].filter((id) => !ids.includes(id));
    for (const messageId of unused) {
      client.send({ cmd: 'puback', messageId }, { cmd: 'pubrec', messageId }, { cmd: 'pubcomp', messageId });
    }
    const released = ids[sent.findIndex(({ qos }) => qos === 2)] as number;
    client.send(...Array.from({ length: 3 }, (): Packet => ({ cmd: 'pubrec', messageId: released })));
    await client.settle();
    await client.end();
    const again = await broker.session('device-1', { clean: false });
    // The queue of a store that is elsewhere comes after the answer to a ping.
    await until(() => again.received.some(({ cmd }) => cmd === 'publish'));
    await again.settle();
    expect(payloads(again.received)).toEqual(['first']);
    expect(again.received.filter(({ cmd }) => cmd === 'pubrel')).toMatchObject([{ messageId: released }]);
  });
});
