import { parsePolicy } from '@fleetgate/broker';
import { generate } from 'mqtt-packet';
import { describe, expect } from 'vitest';
import {
  attack,
  payloads,
  publishPacket,
  subscribe,
  type TestBroker,
  until,
} from '../support/broker-fixture.ts';
import { connectPacket, field, type RawClient } from '../support/broker-raw-client.ts';
import { A, B, retained, victim, watcher } from './victim.ts';

/** A PUBLISH of any bytes as its topic. */
function publishBytes(topic: string | Uint8Array, qos: 0 | 1 | 2, payload = 'forged'): Buffer {
  const body = Buffer.concat([field(topic), Buffer.from(qos === 0 ? [] : [0, 9]), Buffer.from(payload)]);
  const length: number[] = [];
  for (let left = body.length; length.length === 0 || left > 0; left >>= 7) {
    length.push((left & 127) | (left > 127 ? 128 : 0));
  }
  return Buffer.concat([Buffer.from([0x31 | (qos << 1), ...length]), body]);
}

const kinds = (client: RawClient) => client.received.map(({ cmd }) => cmd);

describe('with a grant of devices/device-b/#, a message to a topic that is or looks like one of A reaches nobody', () => {
  const rows: [string, string | Uint8Array][] = [
    ['itself', `devices/${A}/telemetry/temp`],
    ['its parent', `devices/${A}`],
    ['above both', 'devices'],
    ['in upper case', `DEVICES/${A}/x`],
    ['the id in upper case', `devices/${A.toUpperCase()}/x`],
    ['with a slash before', `/devices/${A}/x`],
    ['with two slashes', `devices//${A}/x`],
    ['with a slash behind the id of B', `devices/${B}x/../${A}/x`],
    ['as a path from the own topics', `devices/../devices/${A}/x`],
    ['with a space', `devices/${A} /x`],
    ['percent-encoded', `devices%2F${A}%2Fx`],
    ['with a backslash', `devices\\${A}\\x`],
    ['with a letter in Cyrillic', 'devices/dеvice-a/x'],
    ['in full-width letters', 'devices/ｄｅｖｉｃｅ-ａ/x'],
    ['decomposed', `devices/${A}\u0301/x`],
    ['with a zero-width joiner', `devices/${A}\u200d/x`],
    ['with a byte order mark', `\uFEFFdevices/${A}/x`],
    ['with a byte order mark inside', `devices/\uFEFF${A}/x`],
    ['with a full-width slash', `devices／${A}／x`],
    ['with a fraction slash', `devices⁄${A}⁄x`],
    ['with a line separator', `devices/${A}\u2028/x`],
    ['of 65,535 bytes', `devices/${A}/${'x'.repeat(65_535 - 9 - A.length)}`],
    ['of 100 levels', `devices/${A}${'/x'.repeat(98)}`],
    ['of 128 levels', `devices/${A}${'/x'.repeat(126)}`],
    ['of empty levels alone', '/'.repeat(50)],
    ['with a wildcard', `devices/${A}/+`],
    ['with all levels', `devices/${A}/#`],
    ['with a NUL', `devices/${A}\0/x`],
    ['with a NUL and the own id', `devices/${A}/\0/../${B}`],
    ['with a control character', `devices/${A}\u001f/x`],
    ['with a C1 control character', `devices/${A}\u0085/x`],
    ['with a noncharacter', `devices/${A}\uFFFF/x`],
    ['with a replacement character', `devices/${A}\uFFFD/x`],
    ['with overlong slashes', Buffer.from(`devices\xc0\xaf${A}\xc0\xafx`, 'latin1')],
    ['with overlong letters', Buffer.from('devices/\xc1\xa4evice-a/x', 'latin1')],
    ['with an overlong NUL', Buffer.from(`devices/${A}\xc0\x80/x`, 'latin1')],
    ['with a surrogate', Buffer.from(`devices/${A}\xed\xa0\x80/x`, 'latin1')],
    ['with a surrogate pair as UTF-8', Buffer.from(`devices/${A}\xed\xa0\xbd\xed\xb8\x80/x`, 'latin1')],
    ['with a byte that is no UTF-8', Buffer.from(`devices/${A}\xff/x`, 'latin1')],
    ['with a character cut short', Buffer.from(`devices/${A}/x\xe2\x82`, 'latin1')],
    ['beyond the last code point', Buffer.from(`devices/${A}/\xf4\x90\x80\x80`, 'latin1')],
    ['empty', ''],
  ];
  for (const [name, topic] of rows) {
    attack(name, {}, async (broker) => {
      const device = await victim(broker);
      const seen = await watcher(broker);
      for (const qos of [0, 1, 2] as const) {
        const client = await broker.session(B);
        client.write(publishBytes(topic, qos));
        await client.closed;
        expect(kinds(client)).toEqual(['connack']);
      }
      expect(await seen()).toEqual([]);
      expect(await retained(broker)).toEqual([]);
      await device.unharmed();
    });
  }
});

describe('with denied_publish: drop the same is acknowledged and reaches nobody', () => {
  for (const topic of [
    `devices/${A}/x`,
    `/devices/${A}/x`,
    'devices',
    `\uFEFFdevices/${B}/x`,
    '$SYS/x/new/clients',
  ]) {
    attack(JSON.stringify(topic), { deniedPublish: 'drop' }, async (broker) => {
      const device = await victim(broker, { clean: false });
      const seen = await watcher(broker);
      const client = await broker.session(B);
      for (const qos of [0, 1, 2] as const) client.write(publishBytes(topic, qos, A));
      client.send({ cmd: 'pubrel', messageId: 9 });
      await client.next('pubcomp');
      expect(kinds(client).slice(1).sort()).toEqual(['puback', 'pubcomp', 'pubrec']);
      expect(await seen()).toEqual([]);
      expect(await retained(broker)).toEqual([]);
      await device.unharmed();
      await device.client.end();
      const again = await broker.session(A, { clean: false });
      expect(payloads(await again.settle())).toEqual([]);
    });
  }

  attack(
    'and ten thousand of them push nothing out of the queue of another',
    {
      deniedPublish: 'drop',
      limits: { maxQueuedMessagesPerClient: 10 },
    },
    async (broker) => {
      const token = broker.token('observer', { scope: ['mqtt:subscribe:#'] });
      const observer = await broker.session('observer', { clean: false }, token);
      await subscribe(observer, ['#', '+/#', '+/+/+']);
      await observer.end();
      const client = await broker.session(B);
      const forged = Array.from({ length: 1_000 }, () =>
        publishPacket(`devices/${A}/x`, 'forged', { qos: 1 }),
      );
      for (let i = 0; i < 10; i += 1) client.send(...forged);
      await until(() => kinds(client).filter((cmd) => cmd === 'puback').length === 10_000);
      const device = await broker.session(A);
      device.send(publishPacket(`devices/${A}/x`, 'of A', { qos: 1 }));
      await device.next('puback');
      await device.settle();
      const again = await broker.session('observer', { clean: false }, token);
      expect(payloads([await again.next('publish')])).toEqual(['of A']);
    },
  );
});

describe('a retained message of A', () => {
  async function keep(broker: TestBroker): Promise<void> {
    const device = await broker.session(A);
    device.send(publishPacket(`devices/${A}/state`, 'state of A', { qos: 1, retain: true }));
    await device.next('puback');
    await device.end();
  }
  const rows: [string, string, string][] = [
    ['cleared', `devices/${A}/state`, ''],
    ['replaced', `devices/${A}/state`, 'forged'],
    ['cleared by another spelling', `devices/${A}/state/`, ''],
    ['cleared through the topic for tokens', '$fleetgate/token', ''],
  ];
  for (const deniedPublish of ['disconnect', 'drop'] as const) {
    for (const [what, topic, payload] of rows) {
      attack(`is not ${what}, with denied_publish: ${deniedPublish}`, { deniedPublish }, async (broker) => {
        await keep(broker);
        for (const qos of [0, 1, 2] as const) {
          const client = await broker.session(B);
          client.write(publishBytes(topic, qos, payload));
          client.send({ cmd: 'disconnect' });
          await client.closed;
        }
        expect(await retained(broker)).toEqual(['state of A']);
      });
    }
  }

  attack('stays when A is revoked, as the last that is known of it', {}, async (broker) => {
    await keep(broker);
    const atSeconds = Math.floor(Date.now() / 1000);
    await broker.auth.revoke(broker.issuer.name, { kind: 'client', clientId: A, atSeconds });
    expect(await retained(broker)).toEqual(['state of A']);
  });
});

describe('a rule with options, one step beyond', () => {
  const policy = parsePolicy(
    `version: 1
scopes:
  narrow: { publish: [ { topic: 'devices/{client_id}/n', max_qos: 0, retain: false, max_payload_bytes: 4 } ] }
  all: { publish: [ '#' ] }
deny:
  - publish: [ 'devices/+/firmware/#', 'rivals/{claim:rival}/#' ]
    unless: [ firmware.write ]
`,
    'policy.yaml',
  );
  const own = `devices/${B}/n`;
  const rows: [string, string, string, Parameters<typeof publishPacket>][] = [
    ['a higher QoS', 'narrow', 'qos_too_high', [own, 'x', { qos: 1 }]],
    ['QoS 2', 'narrow', 'qos_too_high', [own, 'x', { qos: 2 }]],
    ['retain', 'narrow', 'retain_not_allowed', [own, 'x', { retain: true }]],
    ['retain of nothing, which would clear', 'narrow', 'retain_not_allowed', [own, '', { retain: true }]],
    ['a byte too much', 'narrow', 'payload_too_large', [own, 'xxxxx']],
    ['two characters of more bytes', 'narrow', 'payload_too_large', [own, 'ééé']],
    ['a level below', 'narrow', 'no_rule', [`${own}/x`, 'x']],
    ['a level above', 'narrow', 'no_rule', [`devices/${B}`, 'x']],
    ['what is denied', 'all', 'denied_by_rule', ['devices/x/firmware/1', 'x']],
    ['the parent of what is denied', 'all', 'denied_by_rule', ['devices/x/firmware', 'x']],
    ['a deny of a claim that is not there', 'all', 'denied_by_rule', ['rivals/x/y', 'x']],
    ['a scope nobody defined', 'admin', 'no_rule', [own, 'x']],
    ['a lifting scope in upper case', 'FIRMWARE.WRITE', 'denied_by_rule', ['devices/x/firmware/1', 'x']],
  ];
  for (const [name, scope, reason, packet] of rows) {
    attack(`${name} is refused`, { policy }, async (broker) => {
      const seen = await watcher(broker);
      const client = await broker.session(B, {}, broker.token(B, { scope: [scope] }));
      client.send(publishPacket(...packet));
      await client.closed;
      expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason, clientId: B });
      expect(await seen()).toEqual([]);
      expect(await retained(broker)).toEqual([]);
    });
  }
});

describe('in one segment', () => {
  const own = (payload: string) => publishPacket(`devices/${B}/x`, payload, { qos: 1 });
  const foreign = publishPacket(`devices/${A}/x`, 'forged', { qos: 1 });

  attack('a hundred good messages do not carry a bad one through', {}, async (broker) => {
    const device = await victim(broker);
    const seen = await watcher(broker);
    const client = await broker.session(B);
    const good = Array.from({ length: 100 }, (_, i) => own(`${i}`));
    client.send(...good.slice(0, 50), foreign, ...good.slice(50));
    await client.closed;
    expect(await seen()).toEqual(good.slice(0, 50).map(({ payload }) => payload));
    await device.unharmed();
  });

  attack('a foreign message behind DISCONNECT is not taken', {}, async (broker) => {
    const device = await victim(broker);
    const client = await broker.session(B);
    client.send({ cmd: 'disconnect' }, foreign);
    await client.closed;
    await device.unharmed();
  });

  attack('a foreign message behind one that is malformed is not taken', {}, async (broker) => {
    const device = await victim(broker);
    const client = await broker.session(B);
    client.write(Buffer.concat([publishBytes('#', 0), generate(foreign)]));
    await client.closed;
    await device.unharmed();
  });

  attack('a foreign message behind a second CONNECT with the id of A is not taken', {}, async (broker) => {
    const device = await victim(broker);
    const client = await broker.session(B);
    client.send(connectPacket(A, broker.token(A)), foreign);
    await client.closed;
    expect(kinds(client)).toEqual(['connack']);
    await device.unharmed();
  });

  attack('a message that looks like a PUBLISH to A inside a payload is a payload', {}, async (broker) => {
    const device = await victim(broker);
    const client = await broker.session(B);
    await subscribe(client, [`devices/${B}/#`]);
    const inner = generate(foreign);
    client.send(publishPacket(`devices/${B}/x`, Buffer.concat([inner, inner]), { qos: 1 }));
    expect(await client.next('publish')).toMatchObject({ topic: `devices/${B}/x` });
    await device.unharmed();
  });
});

attack('topics that are names of the object prototype are topics like any other', {}, async (broker) => {
  const client = await broker.session(B, { clean: false });
  for (const name of [
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'hasOwnProperty',
    'valueOf',
    '0',
    'length',
  ]) {
    const topic = `devices/${B}/${name}/${name}`;
    expect(await subscribe(client, [topic, `devices/${B}/+/${name}`])).toEqual([1, 1]);
    client.send(publishPacket(topic, name, { qos: 1, retain: true }));
    expect(await client.next('publish')).toMatchObject({ topic });
  }
  expect(Object.keys(Object.prototype)).toEqual([]);
});
