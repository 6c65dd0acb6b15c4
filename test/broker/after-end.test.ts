import { generate, type Packet } from 'mqtt-packet';
import { describe, expect } from 'vitest';
import {
  attack,
  messageId,
  payloads,
  publishPacket,
  subscribe,
  type TestBroker,
} from '../support/broker-fixture.ts';
import { connectPacket, type RawClient } from '../support/broker-raw-client.ts';

const own = 'devices/device-1';
const kept = `${own}/kept`;

const subscribePacket = (...filters: string[]): Packet => ({
  cmd: 'subscribe',
  messageId: messageId(),
  subscriptions: filters.map((topic) => ({ topic, qos: 1 })),
});

/** All that a client could want of the broker once it has gone. */
const afterwards = (broker: TestBroker): Packet[] => [
  publishPacket(`${own}/x`, 'behind QoS 0'),
  publishPacket(`${own}/x`, 'behind QoS 1', { qos: 1, retain: true }),
  publishPacket(`${own}/x`, 'behind QoS 2', { qos: 2 }),
  subscribePacket(`${own}/more`),
  { cmd: 'unsubscribe', messageId: messageId(), unsubscriptions: [kept] },
  publishPacket('$fleetgate/token', broker.token('device-1'), { qos: 1 }),
  { cmd: 'pingreq' },
];

const ends: [string, () => Uint8Array][] = [
  ['DISCONNECT', () => generate({ cmd: 'disconnect' })],
  ['a malformed filter', () => generate(subscribePacket('a#'))],
  ['a malformed topic', () => Buffer.from('\x30\x05\x00\x03a/+', 'latin1')],
  ['a packet only a broker sends', () => Buffer.from([0x90, 3, 0, 1, 0])],
  ['a second CONNECT', () => generate(connectPacket('device-1', 'x.y.z'))],
  ['a refused PUBLISH', () => generate(publishPacket('devices/device-2/x', 'forged'))],
  ['a reserved packet type', () => Buffer.from([0xf0, 0])],
];

interface Watched {
  /** Payloads that anybody could have received. */
  delivered(): Promise<string[]>;
  /** Filters of the stored session, but for {@link kept}. */
  stored(): Promise<string[]>;
}

/** A persistent session of device-1 with one stored subscription, and somebody who sees what it publishes. */
async function watched(broker: TestBroker): Promise<Watched> {
  const watcher = await broker.session(
    'watcher',
    {},
    broker.token('watcher', { scope: ['mqtt:subscribe:#'] }),
  );
  await subscribe(watcher, ['#']);
  const before = await broker.session('device-1', { clean: false });
  await subscribe(before, [kept]);
  await before.end();
  const { persistence } = broker.aedes as unknown as {
    persistence: { subscriptionsByClient(client: { id: string }): Promise<{ topic: string }[]> };
  };
  return {
    delivered: async () => payloads(await watcher.settle()),
    async stored() {
      const filters = (await persistence.subscriptionsByClient({ id: 'device-1' })).map(({ topic }) => topic);
      expect(filters).toContain(kept);
      return filters.filter((filter) => filter !== kept);
    },
  };
}

const bytesOf = (packets: readonly Packet[]) => packets.map((packet) => generate(packet));

/** Sends `parts` in one write: of a session, or behind its CONNECT. */
async function sendAtOnce(
  broker: TestBroker,
  isBehindConnect: boolean,
  parts: readonly Uint8Array[],
  connect: Parameters<typeof connectPacket>[2] = {},
): Promise<RawClient> {
  const packet = connectPacket('device-1', broker.token('device-1'), { clean: false, ...connect });
  const client = await broker.raw();
  if (isBehindConnect) {
    client.write(Buffer.concat([generate(packet), ...parts]));
  } else {
    client.send(packet);
    await client.next('connack');
    client.write(Buffer.concat(parts));
  }
  return client;
}

describe.each([
  ['of a session', false],
  ['behind its CONNECT', true],
])('in one segment %s', (_how, isBehindConnect) => {
  for (const [end, bytes] of ends) {
    attack(`nothing behind ${end} is served`, {}, async (broker) => {
      const { delivered, stored } = await watched(broker);
      const client = await sendAtOnce(broker, isBehindConnect, [bytes(), ...bytesOf(afterwards(broker))]);
      await client.closed;
      // None where the end was seen before the answer.
      expect(client.received.filter(({ cmd }) => cmd !== 'connack')).toEqual([]);
      expect(await delivered()).toEqual([]);
      expect(await stored()).toEqual([]);
      const late = await broker.session('late', {}, broker.token('late', { scope: ['mqtt:subscribe:#'] }));
      await subscribe(late, ['#']);
      expect(payloads(await late.settle())).toEqual([]);
    });
  }

  attack('what stands in front of a DISCONNECT is', {}, async (broker) => {
    const { delivered } = await watched(broker);
    const packets: Packet[] = [
      publishPacket(`${own}/x`, 'first', { qos: 1 }),
      publishPacket(`${own}/x`, 'second'),
      { cmd: 'disconnect' },
    ];
    await sendAtOnce(broker, isBehindConnect, bytesOf(packets));
    const got: string[] = [];
    while (got.length < 2) got.push(...(await delivered()));
    expect(got.sort()).toEqual(['first', 'second']);
  });

  attack('a DISCONNECT behind a malformed packet is no leave in good order', {}, async (broker) => {
    const { delivered } = await watched(broker);
    const will = { topic: `${own}/will`, payload: Buffer.from('gone'), qos: 1 as const, retain: false };
    const parts = bytesOf([subscribePacket('a#'), { cmd: 'disconnect' }]);
    const client = await sendAtOnce(broker, isBehindConnect, parts, { will });
    await client.closed;
    // The will goes out when the host is done with the connection.
    const got: string[] = [];
    while (got.length === 0) got.push(...(await delivered()));
    expect(got).toEqual(['gone']);
  });
});
