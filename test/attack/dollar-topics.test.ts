import { describe, expect } from 'vitest';
import { attack, payloads, publishPacket, subscribe } from '../support/broker-fixture.ts';
import { A, B, retained, victim } from './victim.ts';

/** All a token can be made to say, with every reserved topic by its name. */
const widest = ['#', '+/#', '+/+/+/+', '$SYS/#', '$share/#', '$fleetgate/#'].flatMap((filter) => [
  `mqtt:publish:${filter}`,
  `mqtt:subscribe:${filter}`,
]);

describe('with the widest token there is, a message closes the connection and does nothing', () => {
  const topics = [
    '$SYS',
    '$SYS/x/new/clients',
    '$SYS/x/new/subscribes',
    '$SYS/x/disconnect/clients',
    '$SYS/x/heartbeat',
    '$SYS/x/birth',
    '$share',
    `$share/g/devices/${A}/x`,
    '$fleetgate',
    '$fleetgate/session',
    '$fleetgate/dropped',
    '$fleetgate/token/',
    `$fleetgate/token/${A}`,
    `$fleetgate/session/${A}`,
    '$FLEETGATE/token',
    '$sys/x/new/clients',
    '$',
    '$/x',
    '$CONTROL/dynamic-security/v1',
    '$queue/x',
    '$delayed/1/x',
  ];
  for (const topic of topics) {
    attack(topic, {}, async (broker) => {
      const device = await victim(broker);
      for (const qos of [0, 1, 2] as const) {
        const client = await broker.session(B, {}, broker.token(B, { scope: widest }));
        client.send(publishPacket(topic, A, { qos, retain: true }));
        await client.closed;
        expect(client.received.map(({ cmd }) => cmd)).toEqual(['connack']);
      }
      await device.unharmed();
      expect(await retained(broker)).toEqual([]);
    });
  }
});

describe('with the widest token there is, a filter is refused', () => {
  const filters = [
    '$SYS',
    '$SYS/#',
    '$SYS/+/new/clients',
    '$SYS/+/+/+',
    '$share/g/#',
    `$share/g/devices/${A}/#`,
    `$share/${B}/+/+/#`,
    '$fleetgate',
    '$fleetgate/#',
    '$fleetgate/+',
    '$fleetgate/token',
    '$fleetgate/dropped',
    '$fleetgate/session/#',
    `$fleetgate/session/${A}`,
    '$FLEETGATE/session',
    '$sys/#',
    '$queue/#',
    '$exclusive/#',
    '$CONTROL/#',
  ];
  for (const filter of filters) {
    attack(filter, {}, async (broker) => {
      const device = await victim(broker);
      const client = await broker.session(B, { clean: false }, broker.token(B, { scope: widest }));
      expect(await subscribe(client, [filter])).toEqual([0x80]);
      // What the host tells of: a client comes, subscribes, renews, goes.
      const other = await broker.session('other');
      await subscribe(other, ['devices/other/#', '$fleetgate/session']);
      other.send(publishPacket('$fleetgate/token', broker.token('other'), { qos: 1 }));
      await other.next('puback');
      await other.end();
      await device.unharmed();
      expect(payloads(await client.settle())).toEqual([]);
    });
  }
});

describe('wildcards of the widest token see no topic that begins with $', () => {
  for (const clean of [true, false]) {
    attack(`of the host, of other sessions, of anybody (clean ${clean})`, {}, async (broker) => {
      const token = broker.token('spy', { scope: widest });
      const spy = await broker.session('spy', { clean }, token);
      const filters = [
        '#',
        '+/#',
        '+/+/#',
        '+/session',
        '+/token',
        '+/dropped',
        '+/+/new/clients',
        '+/+/+/+',
      ];
      expect(await subscribe(spy, filters)).toEqual(filters.map(() => 1));
      const scope = ['mqtt:publish:$own/#', 'mqtt:subscribe:$own/#'];
      const owner = await broker.session(B, {}, broker.token(B, { scope }));
      expect(await subscribe(owner, ['$own/x', '$fleetgate/session'])).toEqual([1, 1]);
      owner.send(publishPacket('$own/x', 'between friends', { qos: 1, retain: true }));
      await owner.next('puback');
      owner.send(publishPacket('$fleetgate/token', broker.token(B, { scope }), { qos: 1 }));
      await owner.next('puback');
      await owner.settle();
      expect(payloads(owner.received)).toContain('between friends');
      expect(await subscribe(spy, filters)).toEqual(filters.map(() => 1));
      expect(payloads(await spy.settle())).toEqual([]);
      await spy.end();
      owner.send(publishPacket('$own/x', 'between friends', { qos: 1 }));
      await owner.settle();
      const again = await broker.session('spy', { clean }, token);
      expect(payloads(await again.settle())).toEqual([]);
    });
  }
});
