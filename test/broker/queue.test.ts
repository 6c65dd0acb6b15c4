import type { Readable } from 'node:stream';
import type { IPublishPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import {
  attack,
  payloads,
  publishPacket,
  startTestBroker,
  subscribe,
  type TestBroker,
} from '../support/broker-fixture.ts';
import type { RawClient } from '../support/broker-raw-client.ts';

interface Store {
  outgoingStream(client: { id: string }): Readable;
}
const storeOf = (broker: TestBroker) => (broker.aedes as unknown as { persistence: Store }).persistence;
const queueOf = (broker: TestBroker, id: string): Promise<IPublishPacket[]> =>
  storeOf(broker).outgoingStream({ id }).toArray();

const everything = ['mqtt:publish:#', 'mqtt:subscribe:#'];
const observer = (broker: TestBroker) =>
  broker.session('observer', { clean: false }, broker.token('observer', { scope: everything }));

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
