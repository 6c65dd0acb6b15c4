import type { IConnackPacket, IConnectPacket } from 'mqtt-packet';
import { describe, expect } from 'vitest';
import { attack, ownScope, payloads, publishPacket, subscribe, until } from '../support/broker-fixture.ts';
import { connackOf, connectBytes, connectPacket } from '../support/broker-raw-client.ts';
import { testIssuer } from '../support/broker-tokens.ts';
import { A, B, victim } from './victim.ts';

describe('with the token of B, as a client id that is or looks like that of A', () => {
  const lookAlikes: [string, string | Uint8Array][] = [
    ['its own', A],
    ['in upper case', A.toUpperCase()],
    ['with one letter in Cyrillic', 'dеvice-a'],
    ['in full-width letters', 'ｄｅｖｉｃｅ-ａ'],
    ['with a zero-width space', `${A}\u200b`],
    ['with a soft hyphen', 'device\u00ad-a'],
    ['with a non-breaking hyphen', 'device\u2011a'],
    ['with a combining mark', `${A}\u0301`],
    ['behind a byte order mark', `\uFEFF${A}`],
    ['in right-to-left order', `\u202e${[...A].reverse().join('')}`],
    ['with a space behind', `${A} `],
    ['with a newline behind', `${A}\n`],
    ['with a dot behind', `${A}.`],
    ['percent-encoded', 'device%2Da'],
    ['as a path', `../${A}`],
    ['as a path from its own', `${B}/../${A}`],
    ['behind its own and a dot', `${B}.${A}`],
    ['with a wildcard level', '+'],
    ['with all levels', '#'],
    ['of $SYS', '$SYS'],
    ['of the object prototype', '__proto__'],
    ['of 129 characters', 'x'.repeat(129)],
    ['with an overlong letter', Buffer.concat([Buffer.from([0xc1, 0xa4]), Buffer.from(A.slice(1))])],
    ['with an overlong slash', Buffer.concat([Buffer.from(A), Buffer.from([0xc0, 0xaf])])],
    ['with a surrogate pair as UTF-8', Buffer.concat([Buffer.from(A), Buffer.from('eda0bdedb880', 'hex')])],
    ['with a byte that is no UTF-8', Buffer.concat([Buffer.from(A), Buffer.from([0xff])])],
    ['with a NUL behind', `${A}\0`],
    ['with a NUL and its own behind', `${A}\0${B}`],
  ];
  for (const [name, clientId] of lookAlikes) {
    attack(`${name} it gets in as nobody`, {}, async (broker) => {
      const device = await victim(broker, { clean: false });
      const client = await broker.raw();
      client.write(connectBytes({ flags: 0xc2, clientId, username: B, password: broker.token(B) }));
      await client.closed;
      // Well-formed it is answered with 2, malformed with nothing.
      expect(client.received.map((packet) => (packet as IConnackPacket).returnCode ?? packet.cmd)).toEqual(
        typeof clientId === 'string' && !clientId.includes('\0') ? [2] : [],
      );
      await device.unharmed();
    });
  }
});

describe('with the token of B and its own client id, as a user name that is or looks like that of A', () => {
  for (const username of [
    A,
    `${B} `,
    B.toUpperCase(),
    'dеvice-b',
    `${B}\n`,
    '*',
    'admin',
    'x'.repeat(9_000),
  ]) {
    attack(`${JSON.stringify(username.slice(0, 20))} it is refused with 5`, {}, async (broker) => {
      const device = await victim(broker);
      expect(await broker.connack(B, broker.token(B), { username })).toBe(5);
      await device.unharmed();
    });
  }
});

describe('the token where it does not belong', () => {
  attack('in the user name alone', {}, async (broker) => {
    expect(await broker.connack(B, '', { username: broker.token(B), password: Buffer.alloc(0) })).toBe(4);
  });
  attack('in the client id', {}, async (broker) => {
    expect(await broker.connack(broker.token(B).slice(0, 128), undefined)).toBe(4);
  });
  attack('in user name and password both', {}, async (broker) => {
    const token = broker.token(B);
    expect(await broker.connack(B, token, { username: token })).toBe(5);
    for (const part of token.split('.')) expect(broker.log()).not.toContain(part);
  });
  attack('in the payload of the will', {}, async (broker) => {
    const will = {
      topic: `devices/${B}/x`,
      payload: Buffer.from(broker.token(B)),
      qos: 0 as const,
      retain: false,
    };
    expect(await broker.connack(B, 'x.y.z', { will })).toBe(4);
  });
});

describe('a token of B that is not for this', () => {
  const rows: [string, Record<string, unknown>][] = [
    ['of another audience', { aud: ['https://api.example'] }],
    ['of an audience that begins like ours', { aud: ['mqtt-admin'] }],
    ['of our audience in upper case', { aud: ['MQTT'] }],
    ['that begins in a minute', { nbf: Math.floor(Date.now() / 1000) + 60 }],
    ['that lives for a year', { exp: Math.floor(Date.now() / 1000) + 31_536_000 }],
    ['bound to a certificate', { cnf: { 'x5t#S256': 'A'.repeat(43) } }],
    ['of a user at the client', { sub: 'user-1' }],
    ['that names the client alone', { sub: undefined }],
    ['with its scope as one string in scp', { scp: 'mqtt:subscribe:#' }],
    ['with 4,097 characters of scope', { scope: 'x'.repeat(4_097), scp: undefined }],
  ];
  for (const [name, claims] of rows) {
    attack(`${name} is refused with 4`, {}, async (broker) => {
      const device = await victim(broker);
      expect(await broker.connack(B, broker.token(B, { claims }))).toBe(4);
      await device.unharmed();
    });
  }
});

describe('a CONNECT on the edge of the protocol', () => {
  const rows: [string, Partial<IConnectPacket>, number | 'closed'][] = [
    ['MQTT 3.1', { protocolId: 'MQIsdp', protocolVersion: 3 }, 1],
    ['the bridge bit', { bridgeMode: true } as Partial<IConnectPacket>, 1],
    ['a keep alive of nothing', { keepalive: 0 }, 5],
    ['a keep alive of 18 hours', { keepalive: 65_535 }, 5],
    ['no client id', { clientId: '', clean: true }, 2],
  ];
  for (const [name, connect, code] of rows) {
    attack(`with ${name} gets ${code}`, {}, async (broker) => {
      const client = await broker.raw();
      expect(await connackOf(client, connectPacket(B, broker.token(B), connect))).toBe(code);
      await client.closed;
      expect(broker.aedes.connectedClients).toBe(0);
    });
  }

  const flags: [string, number, { willTopic?: string; username?: string; password?: string }][] = [
    ['a password and no user name', 0x42, { password: 'x' }],
    ['a will of QoS 3', 0xde, { willTopic: `devices/${B}/x`, username: B, password: 'token' }],
    ['the reserved flag', 0xc3, { username: B, password: 'token' }],
    ['will QoS without a will', 0xca, { username: B, password: 'token' }],
    ['will retain without a will', 0xe2, { username: B, password: 'token' }],
  ];
  for (const [name, byte, fields] of flags) {
    attack(`with ${name} is closed unanswered`, {}, async (broker) => {
      const client = await broker.raw();
      const password = fields.password === 'token' ? broker.token(B) : fields.password;
      client.write(
        connectBytes({
          flags: byte,
          clientId: B,
          ...fields,
          ...(password === undefined ? {} : { password }),
        }),
      );
      await client.closed;
      expect(client.received).toEqual([]);
      expect(broker.aedes.connectedClients).toBe(0);
    });
  }
});

attack('a token that is shown twice is one session: the later one', {}, async (broker) => {
  const token = broker.token(A);
  const first = await broker.session(A, {}, token);
  const second = await broker.session(A, {}, token);
  await first.closed;
  expect(await second.settle()).toEqual([]);
  expect(broker.aedes.connectedClients).toBe(1);
});

attack('a token of no scope gets in and nothing else', {}, async (broker) => {
  const device = await victim(broker);
  const client = await broker.session(B, {}, broker.token(B, { scope: [] }));
  expect(await subscribe(client, ['#', `devices/${B}/#`, `devices/${A}/#`])).toEqual([0x80, 0x80, 0x80]);
  client.send(publishPacket(`devices/${B}/x`, 'forged'));
  await client.closed;
  await device.unharmed();
});

describe('with client ids bound by prefix, the client whose name begins that of A', () => {
  const prefix = 'device';
  attack('does not end its live session', { clientIdBinding: 'prefix' }, async (broker) => {
    const device = await victim(broker);
    const token = broker.token(prefix);
    expect(await broker.connack(A, token, { username: '' })).toBe(2);
    await device.unharmed();
  });
  attack('gets nothing of what waits for it', { clientIdBinding: 'prefix' }, async (broker) => {
    const device = await victim(broker, { clean: false });
    await device.client.end();
    await until(() => broker.auth.connections.size === 0);
    const publisher = await broker.session(
      'publisher',
      {},
      broker.token('publisher', { scope: ['mqtt:publish:#'] }),
    );
    publisher.send(publishPacket(`devices/${A}/x`, 'for A', { qos: 1 }));
    await publisher.next('puback');
    for (const clean of [false, true]) {
      expect(await broker.connack(A, broker.token(prefix), { clean, username: '' })).toBe(2);
    }
    const back = await broker.session(A, { clean: false });
    expect(payloads([await back.next('publish')])).toEqual(['for A']);
  });
});

describe('with client ids bound to nobody, one that means something in a topic is refused', () => {
  for (const clientId of ['+', '#', '$SYS/x', `${A}/state`, 'é', 'a b', `${A}\n`]) {
    attack(JSON.stringify(clientId), { clientIdBinding: 'none' }, async (broker) => {
      const device = await victim(broker);
      expect(await broker.connack(clientId, broker.token(B), { username: B })).toBe(2);
      await device.unharmed();
    });
  }
});

describe('a client of the name of A at another issuer that is trusted', () => {
  const other = testIssuer('https://other.example');
  attack('does not get its session', { otherIssuers: [other] }, async (broker) => {
    const device = await victim(broker, { clean: false });
    await device.client.end();
    const publisher = await broker.session(
      'publisher',
      {},
      broker.token('publisher', { scope: ['mqtt:publish:#'] }),
    );
    for (const topic of [`devices/${A}/x`, 'shared/x']) {
      publisher.send(publishPacket(topic, 'for A', { qos: 1 }));
      await publisher.next('puback');
    }
    const token = other.token({ clientId: A, scope: ['mqtt:subscribe:shared/#'] });
    for (const clean of [false, true]) expect(await broker.connack(A, token, { clean })).toBe(2);
  });
  attack('is not kept out by what its namesake has revoked', { otherIssuers: [other] }, async (broker) => {
    const atSeconds = Math.floor(Date.now() / 1000);
    await broker.auth.revoke(broker.issuer.name, { kind: 'client', clientId: A, atSeconds });
    expect(await broker.connack(A, other.token({ clientId: A, scope: ownScope(A) }))).toBe(0);
    expect(await broker.connack(A, broker.token(A))).toBe(4);
  });
});
