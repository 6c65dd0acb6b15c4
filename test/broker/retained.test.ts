import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Packet } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import {
  attack,
  messageId,
  payloads,
  publishPacket,
  startTestBroker,
  subscribe,
  type TestBroker,
  until,
} from '../support/broker-fixture.ts';
import { connectPacket, type RawClient } from '../support/broker-raw-client.ts';

/** How long the longest turn of the event loop was while `act` ran, in milliseconds. */
async function longestTurnMs(act: () => Promise<void>): Promise<number> {
  const loop = monitorEventLoopDelay({ resolution: 1 });
  loop.enable();
  await act();
  loop.disable();
  return loop.max / 1e6;
}

const retained = (topic: string, payload = 'kept') => publishPacket(topic, payload, { retain: true, qos: 1 });

describe('retained messages', () => {
  test('of one client are bounded; one it has may be replaced, and a cleared one gives room', async () => {
    const broker = await startTestBroker({
      limits: { maxRetainedMessagesPerClient: 2 },
      deniedPublish: 'drop',
    });
    const client = await broker.session('device-1');
    const other = await broker.session('device-2');
    const topics = ['devices/device-1/a', 'devices/device-1/b', 'devices/device-1/c'];
    for (const topic of topics) {
      client.send(retained(topic));
      await client.next('puback');
    }
    expect(await broker.refusal({ reason: 'too_many_retained' })).toMatchObject({ topic: topics[2] });
    client.send(retained('devices/device-1/a', 'replaced'), retained('devices/device-1/b', ''));
    await client.next('puback');
    await client.next('puback');
    client.send(retained('devices/device-1/c', 'has room'));
    await client.next('puback');
    other.send(retained('devices/device-2/a'));
    await other.next('puback');
    const scope = ['mqtt:subscribe:devices/#'];
    const reader = await broker.session('reader', {}, broker.token('reader', { scope }));
    await subscribe(reader, ['devices/#']);
    await until(() => payloads(reader.received).length === 3);
    await reader.settle();
    expect(payloads(reader.received).sort()).toEqual(['has room', 'kept', 'replaced']);
  });

  attack('in all are bounded', { limits: { maxRetainedMessages: 2 } }, async (broker) => {
    const client = await broker.session('device-1');
    client.send(
      retained('devices/device-1/a'),
      retained('devices/device-1/b'),
      retained('devices/device-1/c'),
    );
    await client.closed;
    expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason: 'too_many_retained' });
  });
});

describe('among nine thousand retained messages', () => {
  const COUNT = 9_000;
  const scope = ['many/#', 'last/#'].flatMap((filter) => [
    `mqtt:publish:${filter}`,
    `mqtt:subscribe:${filter}`,
  ]);
  /** Nothing has these topics. */
  const ninety = Array.from({ length: 90 }, (_, n) => `many/+/${n}`);
  const subscribePacket = (filters: readonly string[]): Packet => ({
    cmd: 'subscribe',
    messageId: messageId(),
    subscriptions: filters.map((topic) => ({ topic, qos: 1 })),
  });

  async function fill(broker: TestBroker): Promise<RawClient> {
    const client = await broker.session('device-1', {}, broker.token('device-1', { scope }));
    for (let at = 0; at < COUNT; at += 1000) {
      client.send(
        ...Array.from({ length: 1000 }, (_, n) => publishPacket(`many/${at + n}`, 'x', { retain: true })),
      );
      await client.settle();
    }
    return client;
  }

  attack('a filter named often is looked up once, and that stops nothing', {}, async (broker) => {
    const client = await fill(broker);
    const ms = await longestTurnMs(async () => {
      await subscribe(
        client,
        Array.from({ length: 1000 }, () => 'many/none/+'),
      );
      await subscribe(client, ['many/7', 'many/7', 'many/+/none', ...ninety]);
      await until(() => payloads(client.received).length > 0);
    });
    await client.settle();
    expect(payloads(client.received)).toEqual(['x']);
    expect(ms).toBeLessThan(300);
  });

  // Each looked up on its own they would take minutes.
  attack('a hundred SUBSCRIBEs in one go keep nobody waiting', {}, async (broker) => {
    const client = await fill(broker);
    const other = await broker.session('device-2');
    other.send(retained('devices/device-2/x'));
    await other.next('puback');
    client.send(...Array.from({ length: 100 }, () => subscribePacket(ninety)));
    await subscribe(other, ['devices/device-2/+']);
    expect(payloads([await other.next('publish')])).toEqual(['kept']);
    await subscribe(client, ['many/8999', 'many/+']);
    await until(() => client.received.filter(({ cmd }) => cmd === 'publish').length >= COUNT);
    await client.settle();
    expect(payloads(client.received)).toHaveLength(COUNT);
  });

  attack('nothing is looked up any more for those who have left', {}, async (broker) => {
    const client = await fill(broker);
    client.send(retained('last/x'));
    await client.next('puback');
    const token = broker.token('device-1', { scope });
    /** Of one whole look-up: the topic that was stored last is found last. */
    async function lookUpMs(): Promise<number> {
      const startMs = performance.now();
      const session = await broker.session('device-1', {}, token);
      session.send(subscribePacket([...ninety, 'last/+']));
      await session.next('publish');
      return performance.now() - startMs;
    }
    const aloneMs = await lookUpMs();
    for (let n = 0; n < 50; n += 1) {
      const one = await broker.raw();
      one.send(connectPacket('device-1', token), subscribePacket(ninety));
      await one.next('suback');
      await one.end();
    }
    // Behind fifty others it would take fifty times as long.
    expect(await lookUpMs()).toBeLessThan(15 * aloneMs);
  });
});
