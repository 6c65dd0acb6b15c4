import { parsePolicy } from '@fleetgate/broker';
import { describe, expect } from 'vitest';
import {
  attack,
  payloads,
  publishPacket,
  type TestBroker,
  type TestBrokerOptions,
} from '../support/broker-fixture.ts';
import { connectBytes } from '../support/broker-raw-client.ts';
import { A, B, retained, victim, watcher } from './victim.ts';

type Will = { topic: string; payload: Buffer; qos: 0 | 1 | 2; retain: boolean };
const will = (topic: string, more: Partial<Will> = {}): Will => ({
  topic,
  payload: Buffer.from('forged'),
  qos: 1,
  retain: true,
  ...more,
});

describe('B does not get in with a will', () => {
  const rows: [string, string][] = [
    ['to A', `devices/${A}/state`],
    ['to what A is called in upper case', `devices/${A.toUpperCase()}/state`],
    ['to A behind a slash', `/devices/${A}/state`],
    ['to A as a path', `devices/../devices/${A}/state`],
    ['to A behind a byte order mark', `\uFEFFdevices/${A}/state`],
    ['to A in Cyrillic', 'devices/dеvice-a/state'],
    ['to the level above', 'devices'],
    ['to a wildcard of its own', `devices/${B}/+`],
    ['to all of its own', `devices/${B}/#`],
    ['to everything', '#'],
    ['to where the host tells of new clients', '$SYS/x/new/clients'],
    ['to where the host tells of other brokers', '$SYS/x/heartbeat'],
    ['to a shared subscription', `$share/g/devices/${B}/x`],
    ['to the topic for tokens', '$fleetgate/token'],
    ['to the session of everybody', '$fleetgate/session'],
    ['to where refused messages go', '$fleetgate/dropped'],
  ];
  for (const [name, topic] of rows) {
    attack(name, {}, async (broker) => {
      const device = await victim(broker);
      const seen = await watcher(broker);
      for (const qos of [0, 1, 2] as const) {
        expect(await broker.connack(B, broker.token(B), { will: will(topic, { qos }) })).toBe(5);
      }
      expect(await seen()).toEqual([]);
      expect(await retained(broker)).toEqual([]);
      await device.unharmed();
    });
  }

  const malformed: [string, string][] = [
    ['a NUL', `devices/${B}/\0`],
    ['invalid UTF-8', `devices/${B}/\uFFFD`],
  ];
  for (const [name, topic] of malformed) {
    attack(`with ${name} in its topic`, {}, async (broker) => {
      expect(await broker.connack(B, broker.token(B), { will: will(topic) })).toBe('closed');
    });
  }

  attack('of no topic', {}, async (broker) => {
    const client = await broker.raw();
    client.write(
      connectBytes({ flags: 0xc6, clientId: B, willTopic: '', username: B, password: broker.token(B) }),
    );
    expect(await client.next('connack')).toMatchObject({ returnCode: 5 });
  });
});

describe('a will beyond the options of the rule that would allow it', () => {
  const policy = parsePolicy(
    `version: 1
scopes:
  narrow: { publish: [ { topic: 'devices/{client_id}/n', max_qos: 0, retain: false, max_payload_bytes: 4 } ] }
  all: { publish: [ 'devices/#' ] }
deny:
  - publish: [ 'devices/${A}/#' ]
`,
    'policy.yaml',
  );
  const least = { qos: 0, retain: false, payload: Buffer.from('gone') } as const;
  const rows: [string, string, Will][] = [
    ['by QoS', 'narrow', will(`devices/${B}/n`, { ...least, qos: 1 })],
    ['by retain', 'narrow', will(`devices/${B}/n`, { ...least, retain: true })],
    ['by a byte', 'narrow', will(`devices/${B}/n`, { ...least, payload: Buffer.from('gone!') })],
    ['by a level', 'narrow', will(`devices/${B}/n/n`, least)],
    ['by a deny', 'all', will(`devices/${A}/state`, least)],
  ];
  for (const [name, scope, one] of rows) {
    attack(`${name} is refused at CONNECT`, { policy }, async (broker) => {
      const token = broker.token(B, { scope: [scope] });
      expect(await broker.connack(B, token, { will: one })).toBe(5);
    });
  }
  attack('is refused there alone: at its limits it is taken', { policy }, async (broker) => {
    const token = broker.token(B, { scope: ['narrow'] });
    expect(await broker.connack(B, token, { will: will(`devices/${B}/n`, least) })).toBe(0);
  });
});

describe('a will is not published for a CONNECT that was refused', () => {
  const own = { will: will(`devices/${A}/state`) };
  const rows: [string, (broker: TestBroker) => Promise<unknown>][] = [
    ['for its token', (broker) => broker.connack(A, 'x.y.z', own)],
    ['for having none', (broker) => broker.connack(A, undefined, own)],
    [
      'for its client id',
      (broker) => broker.connack(A, broker.token(B, { scope: ['mqtt:publish:#'] }), { ...own, username: '' }),
    ],
    ['for its user name', (broker) => broker.connack(A, broker.token(A), { ...own, username: B })],
    ['for its keep alive', (broker) => broker.connack(A, broker.token(A), { ...own, keepalive: 0 })],
    ['for its expiry', (broker) => broker.connack(A, broker.token(A, { expiresInSeconds: -60 }), own)],
    [
      'for its revocation',
      async (broker) => {
        const token = broker.token(A);
        const atSeconds = Math.floor(Date.now() / 1000);
        await broker.auth.revoke(broker.issuer.name, { kind: 'client', clientId: A, atSeconds });
        return broker.connack(A, token, own);
      },
    ],
    [
      'for its protocol',
      (broker) => broker.connack(A, broker.token(A), { ...own, protocolId: 'MQIsdp', protocolVersion: 3 }),
    ],
  ];
  for (const [name, connect] of rows) {
    attack(name, {}, async (broker) => {
      const seen = await watcher(broker);
      expect(await connect(broker)).not.toBe(0);
      expect(await seen()).toEqual([]);
      expect(await retained(broker)).toEqual([]);
    });
  }

  attack('nor for one that hangs up before its answer', {}, async (broker) => {
    const seen = await watcher(broker);
    for (let i = 0; i < 20; i += 1) {
      const client = await broker.raw();
      client.write(
        connectBytes({
          flags: 0xe6,
          clientId: A,
          willTopic: `devices/${A}/state`,
          username: A,
          password: 'x.y.z',
        }),
      );
      await client.end();
    }
    expect(await seen()).toEqual([]);
    expect(await retained(broker)).toEqual([]);
  });
});

describe('a will that was within the grants', () => {
  const wide = ['mqtt:publish:devices/#'];
  const toA = { will: will(`devices/${A}/state`) };

  attack('is not published with grants that a renewal has narrowed', {}, async (broker) => {
    const device = await victim(broker);
    const client = await broker.session(B, toA, broker.token(B, { scope: wide }));
    client.send(publishPacket('$fleetgate/token', broker.token(B), { qos: 1 }));
    await client.next('puback');
    await client.end();
    expect(await broker.refusal({ action: 'will' })).toMatchObject({ reason: 'no_rule', clientId: B });
    await device.unharmed();
    expect(await retained(broker)).toEqual([]);
  });

  const scoped = (publish: string[]): TestBrokerOptions['policy'] =>
    parsePolicy(JSON.stringify({ version: 1, scopes: { s: { publish } } }), 'policy.yaml');
  attack(
    'is not published with grants that another policy has narrowed',
    { policy: scoped(['devices/#']) },
    async (broker) => {
      const device = await victim(broker);
      const client = await broker.session(B, toA, broker.token(B, { scope: ['s'] }));
      await broker.auth.setPolicy(scoped([`devices/${B}/#`]));
      await client.end();
      expect(await broker.refusal({ action: 'will' })).toMatchObject({ reason: 'no_rule', clientId: B });
      await device.unharmed();
      expect(await retained(broker)).toEqual([]);
    },
  );

  attack('and to A is not published by a session that takes over with less', {}, async (broker) => {
    const device = await victim(broker);
    await broker.session(B, toA, broker.token(B, { scope: wide }));
    // The first leaves its own, which it might; the second has none of that right.
    expect(await broker.connack(B, broker.token(B), toA)).toBe(5);
    const second = await broker.session(B);
    await second.end();
    expect(payloads([await device.client.next('publish')])).toEqual(['forged']);
    expect(payloads(await device.client.settle())).toEqual([]);
  });

  attack('is published once, however often its owner is taken over', {}, async (broker) => {
    const seen = await watcher(broker);
    await broker.session(B, { will: will(`devices/${B}/state`, { retain: false }) });
    for (let i = 0; i < 10; i += 1) await broker.session(B);
    expect(await seen()).toEqual(['forged']);
  });

  attack('is not published behind DISCONNECT, whatever comes behind that', {}, async (broker) => {
    const seen = await watcher(broker);
    const client = await broker.session(B, { will: will(`devices/${B}/state`) });
    client.send({ cmd: 'disconnect' }, publishPacket(`devices/${A}/x`, 'forged'));
    await client.closed;
    expect(await seen()).toEqual([]);
  });

  attack('and of too many levels for the host ends nothing', {}, async (broker) => {
    const seen = await watcher(broker);
    for (const levels of [96, 98]) {
      const client = await broker.session(B, { will: will(`devices/${B}${'/x'.repeat(levels)}`) });
      await client.end();
    }
    // Over a hundred, which no broker could publish: refused at once.
    for (const levels of [99, 120]) {
      const connect = { will: will(`devices/${B}${'/x'.repeat(levels)}`) };
      expect(await broker.connack(B, broker.token(B), connect)).toBe(5);
    }
    expect(await seen()).toEqual(['forged', 'forged']);
  });
});
