import type { Packet } from 'mqtt-packet';
import { describe, expect } from 'vitest';
import {
  attack,
  messageId,
  ownScope,
  payloads,
  publishPacket,
  type TestBroker,
} from '../support/broker-fixture.ts';
import type { RawClient } from '../support/broker-raw-client.ts';
import { A, B, victim } from './victim.ts';

// What comes in one segment is judged in one turn, and the renewal among it comes into force at its end.

const toA = `devices/${A}/x`;
const wideScope = [...ownScope(B), `mqtt:subscribe:devices/${A}/#`, `mqtt:publish:devices/${A}/#`];

const renewal = (token: string) => publishPacket('$fleetgate/token', token, { qos: 1 });
const subscribing = (filter: string): Packet => ({
  cmd: 'subscribe',
  messageId: messageId(),
  subscriptions: [{ topic: filter, qos: 1 }],
});
const unsubscribing = (filter: string): Packet => ({
  cmd: 'unsubscribe',
  messageId: messageId(),
  unsubscriptions: [filter],
});

/** Sends all in one segment, and waits until the last renewal among it was acknowledged. */
async function inOneGo(client: RawClient, packets: readonly Packet[]): Promise<void> {
  client.send(...packets);
  for (const packet of packets) {
    if (packet.cmd === 'publish') await client.next('puback');
  }
  await client.settle();
}

/** Filters of B in the store. */
async function storedOf(broker: TestBroker): Promise<string[]> {
  const { persistence } = broker.aedes as unknown as {
    persistence: { subscriptionsByClient(client: { id: string }): Promise<{ topic: string }[]> };
  };
  return (await persistence.subscriptionsByClient({ id: B })).map(({ topic }) => topic);
}

describe.each([true, false])('a token without A among SUBSCRIBEs to A in one segment (clean %s)', (clean) => {
  const filter = `devices/${A}/#`;
  const orders: [string, (narrow: string, wide: string) => Packet[]][] = [
    ['in front', (narrow) => [renewal(narrow), subscribing(filter)]],
    ['behind', (narrow) => [subscribing(filter), renewal(narrow)]],
    ['between', (narrow) => [subscribing(filter), renewal(narrow), subscribing(filter)]],
    [
      'behind one that gives it up and takes it again',
      (narrow) => [subscribing(filter), renewal(narrow), unsubscribing(filter), subscribing(filter)],
    ],
    [
      'behind one with A and in front of another',
      (narrow, wide) => [renewal(wide), subscribing(filter), renewal(narrow), subscribing(`devices/${A}/+`)],
    ],
    [
      'again and again',
      (narrow) => Array.from({ length: 8 }, () => [renewal(narrow), subscribing(filter)]).flat(),
    ],
  ];

  // A token that was seen before is verified in the same turn.
  for (const isSeen of [false, true]) {
    for (const [order, packets] of orders) {
      attack(`${order} leaves none, ${isSeen ? 'seen before' : 'first seen'}`, {}, async (broker) => {
        const device = await victim(broker);
        const narrow = broker.token(B, { scope: ownScope(B) });
        const wide = broker.token(B, { scope: wideScope });
        if (isSeen) for (const token of [narrow, wide]) await (await broker.session(B, {}, token)).end();
        const client = await broker.session(B, { clean }, wide);
        await inOneGo(client, packets(narrow, wide));
        device.client.send(publishPacket(toA, 'of A', { qos: 1 }));
        await device.client.next('puback');
        expect(payloads(await client.settle())).toEqual([]);
        // With A again it has to ask again.
        await inOneGo(client, [renewal(wide)]);
        device.client.send(publishPacket(toA, 'of A again', { qos: 1 }));
        await device.client.next('puback');
        expect(payloads(await client.settle())).toEqual([]);
        expect(await storedOf(broker)).toEqual([]);
      });
    }
  }
});

attack('a message to A behind the acknowledgement of a token without A is refused', {}, async (broker) => {
  const device = await victim(broker);
  const narrow = broker.token(B, { scope: ownScope(B) });
  const client = await broker.session(B, {}, broker.token(B, { scope: wideScope }));
  client.send(renewal(narrow));
  await client.next('puback');
  client.send(publishPacket(toA, 'forged', { qos: 1 }));
  await client.closed;
  await device.unharmed();
});
