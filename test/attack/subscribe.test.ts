import { parsePolicy } from '@fleetgate/broker';
import { describe, expect } from 'vitest';
import {
  attack,
  messageId,
  payloads,
  publishPacket,
  subscribe,
  type TestBroker,
} from '../support/broker-fixture.ts';
import { field } from '../support/broker-raw-client.ts';
import { A, B, victim } from './victim.ts';

/** Device A publishes once where it always does, once retained, and the attacker has what it then has. */
async function overheard(broker: TestBroker, filters: readonly string[], token = broker.token(B)) {
  const publisher = await broker.session(A);
  publisher.send(publishPacket(`devices/${A}/state`, 'retained of A', { qos: 1, retain: true }));
  await publisher.next('puback');
  const client = await broker.session(B, { clean: false }, token);
  const codes: number[] = [];
  for (const filter of filters) codes.push(...(await subscribe(client, [filter])));
  publisher.send(publishPacket(`devices/${A}/telemetry/temp`, 'live of A', { qos: 1 }));
  await publisher.next('puback');
  await publisher.settle();
  await client.settle();
  await client.end();
  publisher.send(publishPacket(`devices/${A}/telemetry/temp`, 'queued of A', { qos: 1 }));
  await publisher.next('puback');
  const again = await broker.session(B, { clean: false }, token);
  return { codes, got: payloads([...client.received, ...(await again.settle())]) };
}

describe('with a grant of devices/device-b/# a filter that reaches further is refused', () => {
  const broader = [
    '#',
    '/#',
    '+',
    '+/#',
    '+/+',
    '+/+/#',
    '+/+/+',
    '+/+/+/#',
    '+/+/state',
    `+/${A}/#`,
    `+/${B}/#`,
    'devices/#',
    'devices/+',
    'devices/+/#',
    'devices/+/+',
    'devices/+/state',
    'devices/+/+/+',
    'devices/+/telemetry/#',
    'devices//#',
    `devices/${A}`,
    `devices/${A}/#`,
    `devices/${A}/+`,
    `devices/${A}/state`,
    `devices/${A}/telemetry/temp`,
    `devices/+/${B}/#`,
    `+/${B}/../${A}/#`,
  ];
  for (const filter of broader) {
    attack(filter, {}, async (broker) => {
      expect(await overheard(broker, [filter])).toEqual({ codes: [0x80], got: [] });
    });
  }
});

describe('a filter that looks like one of A is refused, and reaches nothing of A', () => {
  const rows: [string, string][] = [
    ['in upper case', `DEVICES/${A}/#`],
    ['with a slash before', `/devices/${A}/#`],
    ['with two slashes', `devices//${A}/#`],
    ['with a space', `devices/${A} /#`],
    ['with a letter in Cyrillic', 'devices/dеvice-a/#'],
    ['with a combining mark', `devices/${A}\u0301/#`],
    ['with a zero-width space', `devices/${A}\u200b/#`],
    ['with a byte order mark', `\uFEFFdevices/${A}/#`],
    ['with a full-width slash', `devices／${A}/#`],
    ['percent-encoded', `devices%2F${A}/#`],
    ['with a path upwards', `devices/x/../${A}/#`],
    ['with other wildcards', `devices/${A}/**`],
    ['with a shared prefix', `$share/g/devices/${A}/#`],
    ['with an exclusive prefix', `$exclusive/devices/${A}/#`],
    ['with a queue prefix', `$queue/devices/${A}/#`],
    ['with a placeholder', 'devices/{client_id}/#'],
    ['of 65,535 bytes', `devices/${A}/${'x'.repeat(65_535 - 9 - A.length)}`],
    ['of 100 levels', `devices/${A}${'/+'.repeat(98)}`],
  ];
  for (const [name, filter] of rows) {
    attack(name, {}, async (broker) => {
      expect(await overheard(broker, [filter])).toEqual({ codes: [0x80], got: [] });
    });
  }
});

describe('a filter that no MQTT filter may be closes the connection', () => {
  const rows: [string, string | Uint8Array][] = [
    ['a wildcard behind a letter', `devices/${A}#`],
    ['a wildcard before a letter', `devices/+${A}/x`],
    ['# before the end', '#/devices'],
    ['two wildcards in one level', 'devices/++'],
    ['+ and # in one level', '+#'],
    ['nothing', ''],
    ['a NUL', `devices/${A}\0/#`],
    ['a control character', `devices/\u0007${A}/#`],
    ['a noncharacter', `devices/\uFFFE/#`],
    ['an overlong slash', Buffer.from(`devices\xc0\xaf${A}/#`, 'latin1')],
    ['an overlong wildcard', Buffer.from('devices/\xc0\xab/#', 'latin1')],
    ['a surrogate', Buffer.from('devices/\xed\xa0\x80/#', 'latin1')],
    ['a byte that is no UTF-8', Buffer.from('devices/\xff/#', 'latin1')],
    ['more levels than there may be', `devices/${A}${'/+'.repeat(200)}`],
  ];
  for (const [name, filter] of rows) {
    attack(name, {}, async (broker) => {
      const device = await victim(broker);
      // Whatever could be granted is granted: only its form can refuse it.
      const token = broker.token(B, { scope: ['mqtt:subscribe:#'] });
      const client = await broker.session(B, { clean: false }, token);
      const body = Buffer.concat([Buffer.from([0, 7]), field(filter), Buffer.from([1])]);
      const length = body.length < 128 ? [body.length] : [(body.length & 127) | 128, body.length >> 7];
      client.write(Buffer.concat([Buffer.from([0x82, ...length]), body]));
      await client.closed;
      expect(client.received.map(({ cmd }) => cmd)).toEqual(['connack']);
      await device.unharmed();
      const again = await broker.session(B, { clean: false }, token);
      expect(await again.settle()).toEqual([]);
    });
  }
});

describe('rules with options and denies', () => {
  const policy = parsePolicy(
    `version: 1
scopes:
  exact: { subscribe: [ { topic: 'devices/+/telemetry/#', broader: exact } ] }
  refuse: { subscribe: [ { topic: 'devices/+/telemetry/#', broader: refuse } ] }
  filter: { subscribe: [ { topic: 'devices/{client_id}/#', broader: filter } ] }
  low: { subscribe: [ { topic: 'devices/{client_id}/#', max_qos: 0 } ] }
  all: { subscribe: [ '#' ] }
  claimed: { subscribe: [ 'devices/{claim:site}/#' ] }
  grouped: { subscribe: [ 'devices/{group}/#' ] }
deny:
  - subscribe: [ 'devices/${A}/#' ]
    unless: [ lifted ]
`,
    'policy.yaml',
  );
  const rows: [string, string, string, number][] = [
    ['exact takes nothing narrower', 'exact', `devices/${B}/telemetry/#`, 0x80],
    ['exact takes nothing that means the same', 'exact', 'devices/+/telemetry/+/#', 0x80],
    ['refuse takes nothing broader', 'refuse', 'devices/+/#', 0x80],
    ['a deny refuses a filter it covers', 'all', `devices/${A}/x`, 0x80],
    ['a deny refuses a filter it touches', 'all', 'devices/+/x', 0x80],
    ['a deny refuses everything that it touches', 'all', '#', 0x80],
    ['a deny is not lifted by a scope that looks like the lifting one', 'all', `devices/${A}/lifted`, 0x80],
    ['broader: filter is refused where a deny covers all', 'filter', `devices/${A}/#`, 0x80],
    ['broader: filter is accepted and delivers nothing denied', 'filter', '#', 1],
    ['max_qos refuses a higher one', 'low', `devices/${B}/#`, 0x80],
    ['a scope nobody defined grants nothing', 'every', '#', 0x80],
    ['a scope whose name begins like another grants nothing', 'all2', '#', 0x80],
    ['a scope in upper case grants nothing', 'ALL', '#', 0x80],
    ['a placeholder without a value grants nothing', 'claimed', 'devices/#', 0x80],
    ['a group that is not in the token grants nothing', 'grouped', 'devices/#', 0x80],
  ];
  for (const [name, scope, filter, code] of rows) {
    attack(name, { policy }, async (broker) => {
      const { codes, got } = await overheard(broker, [filter], broker.token(B, { scope: [scope] }));
      expect({ codes, got }).toEqual({ codes: [code], got: [] });
    });
  }

  for (const site of ['+', '#', 'x/../#', `${A}/#`, `+/${A}`, '', '$SYS', '\0', `${A}\u200b`] as const) {
    attack(`a claim of ${JSON.stringify(site)} never widens a rule`, { policy }, async (broker) => {
      const token = broker.token(B, { scope: ['claimed'], claims: { site } });
      const filters = ['devices/#', 'devices/+/#', `devices/${A}/#`, `devices/${A}/state`];
      const { codes, got } = await overheard(broker, filters, token);
      expect({ codes, got }).toEqual({ codes: [0x80, 0x80, 0x80, 0x80], got: [] });
    });
  }
});

attack('of one SUBSCRIBE with all of these nothing but the own filter is granted', {}, async (broker) => {
  const publisher = await broker.session(A);
  const client = await broker.session(B, { clean: false });
  const filters = ['#', `devices/${B}/#`, `devices/${A}/#`, '+/+/#', `devices/${A}/#`, `devices/${B}/#`];
  expect(await subscribe(client, filters)).toEqual([0x80, 1, 0x80, 0x80, 0x80, 1]);
  publisher.send(publishPacket(`devices/${A}/x`, 'of A', { qos: 1 }));
  await publisher.next('puback');
  await publisher.settle();
  expect(await client.settle()).toEqual([]);
});

attack(
  'asking a hundred times, at every QoS, and giving up between, wears nothing down',
  {},
  async (broker) => {
    const publisher = await broker.session(A);
    const client = await broker.session(B, { clean: false });
    for (let i = 0; i < 100; i += 1) {
      const qos = (i % 3) as 0 | 1 | 2;
      client.send(
        {
          cmd: 'subscribe',
          messageId: messageId(),
          subscriptions: [
            { topic: '#', qos },
            { topic: `devices/${A}/#`, qos },
          ],
        },
        {
          cmd: 'unsubscribe',
          messageId: messageId(),
          unsubscriptions: ['#', `devices/${A}/#`, `devices/${B}/#`],
        },
        { cmd: 'subscribe', messageId: messageId(), subscriptions: [{ topic: `devices/${B}/#`, qos }] },
      );
    }
    publisher.send(publishPacket(`devices/${A}/x`, 'of A', { qos: 1 }));
    await publisher.next('puback');
    await publisher.settle();
    expect(payloads(await client.settle())).toEqual([]);
    expect(payloads(client.received)).toEqual([]);
  },
);

attack('an UNSUBSCRIBE of the filters of A ends nothing of A', {}, async (broker) => {
  const device = await victim(broker);
  const client = await broker.session(B);
  for (const filter of [`devices/${A}/#`, '#', '+/+/#']) {
    client.send({ cmd: 'unsubscribe', messageId: messageId(), unsubscriptions: [filter] });
    await client.next('unsuback');
  }
  await device.unharmed();
});
