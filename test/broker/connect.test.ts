import type { IConnectPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { attack, ownScope, startTestBroker } from '../support/broker-fixture.ts';
import { connectBytes, connectPacket, type RawClient } from '../support/broker-raw-client.ts';
import { testIssuer } from '../support/broker-tokens.ts';

const will = (topic: string) => ({ topic, payload: Buffer.from('gone'), qos: 0 as const, retain: false });

describe('a CONNECT with a good token', () => {
  test.each([
    ['the client as user name', { username: 'device-1' }],
    ['an empty user name', { username: '' }],
    ['a will within the grants', { will: will('devices/device-1/state') }],
    ['a session that is kept', { clean: false }],
  ])('and %s is accepted', async (_what, more) => {
    const broker = await startTestBroker();
    expect(await broker.connack('device-1', broker.token('device-1'), more)).toBe(0);
    expect(broker.refusals).toEqual([]);
  });
});

describe('what a new token mends is answered 4', () => {
  attack('no user name and no password', {}, async (broker) => {
    expect(await broker.connack('device-1', undefined)).toBe(4);
    expect(await broker.refusal({ reason: 'token_missing' })).toMatchObject({
      action: 'connect',
      returnCode: 4,
    });
  });
  attack('a user name alone', {}, async (broker) => {
    expect(await broker.connack('device-1', undefined, { username: 'device-1' })).toBe(4);
  });
  attack('an expired token', {}, async (broker) => {
    expect(await broker.connack('device-1', broker.token('device-1', { expiresInSeconds: -60 }))).toBe(4);
  });
  attack('a token of an issuer nobody trusts', {}, async (broker) => {
    const other = testIssuer('https://other.example');
    expect(await broker.connack('device-1', other.token({ clientId: 'device-1' }))).toBe(4);
  });
  attack('a token of one who plays the issuer', {}, async (broker) => {
    const other = testIssuer(broker.issuer.name);
    const token = other.token({ clientId: 'device-1', header: { kid: broker.issuer.kid } });
    expect(await broker.connack('device-1', token)).toBe(4);
  });
  attack('300 wrong tokens in a row', {}, async (broker) => {
    const codes = new Set<number | 'closed'>();
    for (let i = 0; i < 300; i += 1) codes.add(await broker.connack('device-1', 'x.y.z'));
    // 3 is the login back-off.
    expect([...codes]).toEqual([4, 3]);
    expect(broker.refusals).toHaveLength(300);
    expect(broker.auth.connections.size).toBeLessThan(300);
  });
});

describe('what is not allowed is answered 5', () => {
  attack('the user name of another device', {}, async (broker) => {
    expect(await broker.connack('device-1', broker.token('device-1'), { username: 'device-2' })).toBe(5);
    expect(await broker.refusal({ reason: 'user_name_mismatch' })).toMatchObject({ clientId: 'device-1' });
  });
  test.each([
    ['outside the grants', 'devices/device-2/state'],
    ['with +', 'devices/device-1/+'],
    ['with #', 'devices/device-1/#'],
    ['of $SYS', '$SYS/x/new/clients'],
  ])('a will %s', async (_what, topic) => {
    const broker = await startTestBroker();
    expect(await broker.connack('device-1', broker.token('device-1'), { will: will(topic) })).toBe(5);
    await broker.servesOthers();
  });
  test('a will of no topic', async () => {
    const broker = await startTestBroker();
    const client = await broker.raw();
    const password = broker.token('device-1');
    client.write(connectBytes({ flags: 0xc6, clientId: 'device-1', willTopic: '', username: '', password }));
    expect(await client.next('connack')).toMatchObject({ returnCode: 5 });
  });
  test.each([0, 1201, 65_535])('a keep alive of %i s', async (keepalive) => {
    const broker = await startTestBroker();
    expect(await broker.connack('device-1', broker.token('device-1'), { keepalive })).toBe(5);
    expect(await broker.refusal({ reason: 'keepalive_refused' })).toBeDefined();
  });
});

describe('a client id that is not that of the token is answered 2', () => {
  attack('the client id of another device', {}, async (broker) => {
    const victim = await broker.session('device-2');
    expect(await broker.connack('device-2', broker.token('device-1'), { username: 'device-1' })).toBe(2);
    expect(await victim.settle()).toEqual([]);
  });
  attack('an empty client id', {}, async (broker) => {
    expect(await broker.connack('', broker.token('device-1'), { username: '' })).toBe(2);
  });
  test.each(['+', '#', 'a/b', '__proto__', 'constructor', 'DEVICE-1', 'device-1 ', 'x'.repeat(65_000)])(
    'client id %j',
    async (clientId) => {
      const broker = await startTestBroker({ limits: { maxConnectBytes: 100_000 } });
      expect(await broker.connack(clientId, broker.token('device-1'), { username: '' })).toBe(2);
      await broker.servesOthers();
    },
  );

  test('with prefix, a client id may go on behind . _ or -, and nothing else', async () => {
    const broker = await startTestBroker({ clientIdBinding: 'prefix' });
    const token = broker.token('a');
    const codes = async (ids: string[]) => {
      const all = [];
      for (const id of ids) all.push(await broker.connack(id, token, { username: 'a' }));
      return all;
    };
    expect(await codes(['a', 'a.1', 'a_1', 'a-1'])).toEqual([0, 0, 0, 0]);
    expect(await codes(['ab', 'b', 'a/1', 'a-+', 'a-#', '', `a-${'x'.repeat(200)}`])).toEqual(
      Array(7).fill(2),
    );
  });

  test('with prefix, the live session of another client is not taken over', async () => {
    const broker = await startTestBroker({ clientIdBinding: 'prefix' });
    const victim = await broker.session('a-1');
    expect(await broker.connack('a-1', broker.token('a'), { username: 'a' })).toBe(2);
    expect(await victim.settle()).toEqual([]);
  });

  test('with none, any client id of plain characters', async () => {
    const broker = await startTestBroker({ clientIdBinding: 'none' });
    const token = broker.token('a');
    expect(await broker.connack('b', token, { username: 'a' })).toBe(0);
    expect(await broker.connack('', token, { username: 'a' })).toBe(0);
    expect(await broker.connack('b/c', token, { username: 'a' })).toBe(2);
  });

  attack(
    'an empty client id of a session that is to be kept',
    { clientIdBinding: 'none' },
    async (broker) => {
      const client = await broker.raw();
      client.write(connectBytes({ flags: 0xc0, clientId: '', username: 'a', password: broker.token('a') }));
      expect(await client.next('connack')).toMatchObject({ returnCode: 2 });
    },
  );
});

describe('what passes by itself is answered 3', () => {
  attack('keys that cannot be had', {}, async (broker) => {
    const away = testIssuer('https://away.example');
    const other = await startTestBroker({
      issuers: [{ issuer: away.name, keys: { jwksUri: 'http://127.0.0.1:1/jwks.json' } }],
    });
    expect(await other.connack('device-1', away.token({ clientId: 'device-1' }))).toBe(3);
    expect(await other.refusal({ reason: 'keys_unavailable' })).toMatchObject({ returnCode: 3 });
    await broker.servesOthers();
  });
});

describe('a CONNECT that breaks the protocol is closed', () => {
  attack('NUL in the user name', {}, async (broker) => {
    const connect = { username: 'device-1\0' };
    expect(await broker.connack('device-1', broker.token('device-1'), connect)).toBe('closed');
  });
  attack('NUL in the client id', {}, async (broker) => {
    expect(await broker.connack('device-1\0', broker.token('device-1'))).toBe('closed');
  });
  attack('NUL in the topic of the will', {}, async (broker) => {
    const connect = { will: will('devices/device-1/\0') };
    expect(await broker.connack('device-1', broker.token('device-1'), connect)).toBe('closed');
  });
  attack('invalid UTF-8 in the user name', {}, async (broker) => {
    const client = await broker.raw();
    client.write(
      connectBytes({ flags: 0xc2, clientId: 'device-1', username: Buffer.from([0xc3, 0x28]), password: 'x' }),
    );
    await client.closed;
    expect(client.received).toEqual([]);
  });
  attack('a password without a user name', {}, async (broker) => {
    const client = await broker.raw();
    client.write(connectBytes({ flags: 0x42, clientId: 'device-1', password: broker.token('device-1') }));
    await client.closed;
    expect(client.received).toEqual([]);
  });
  attack('a second CONNECT', {}, async (broker) => {
    const client = await broker.session('device-1');
    client.send(connectPacket('device-1', broker.token('device-1')));
    await client.closed;
  });
  attack('a PUBLISH before CONNECT', {}, async (broker) => {
    const client = await broker.raw();
    client.send({
      cmd: 'publish',
      topic: 'devices/device-1/x',
      payload: 'x',
      qos: 0,
      retain: false,
      dup: false,
    });
    await client.closed;
    expect(await broker.refusal({ action: 'packet', reason: 'protocol_refused' })).toBeDefined();
  });
});

describe('a protocol that is not MQTT 3.1.1 is answered 1', () => {
  test.each([
    ['MQTT 3.1', { protocolId: 'MQIsdp', protocolVersion: 3 as const }],
    ['MQTT 5', { protocolVersion: 5 as const }],
    ['the bridge bit', { bridgeMode: true }],
  ])('%s', async (_what, more) => {
    const broker = await startTestBroker();
    const client = await broker.raw();
    client.send(connectPacket('device-1', broker.token('device-1'), more as Partial<IConnectPacket>));
    const bytes = await firstBytes(client);
    expect([bytes[0], bytes[3]]).toEqual([0x20, 1]);
    await client.closed;
    expect(await broker.refusal({ reason: 'protocol_refused' })).toMatchObject({
      presentedClientId: 'device-1',
    });
    await broker.servesOthers();
  });
});

test('a refusal is one log line and one call, and holds nothing of the token', async () => {
  const broker = await startTestBroker();
  const token = broker.token('device-1');
  expect(await broker.connack('device-2', token, { username: '' })).toBe(2);
  expect(broker.refusals).toHaveLength(1);
  expect(broker.refusals[0]).toMatchObject({
    action: 'connect',
    reason: 'client_id_mismatch',
    clientId: 'device-1',
    address: '127.0.0.1',
    returnCode: 2,
  });
  const lines = broker
    .log()
    .split('\n')
    .filter((line) => line.includes('refused'));
  expect(lines).toHaveLength(1);
  for (const part of token.split('.')) expect(broker.log()).not.toContain(part);
});

test('a client id that no token has shown is logged as presented, and apart from clients that are known', async () => {
  const broker = await startTestBroker();
  expect(await broker.connack('device-1', 'x.y.z')).toBe(4);
  expect(await broker.refusal({ reason: 'token_malformed' })).toEqual({
    action: 'connect',
    reason: 'token_malformed',
    presentedClientId: 'device-1',
    address: '127.0.0.1',
    protocol: 'mqtt',
    returnCode: 4,
  });
  expect(broker.log()).toContain('"presentedClientId":"device-1"');
  expect(await broker.connack('device-2', broker.token('device-1'), { username: '' })).toBe(2);
  expect(await broker.refusal({ reason: 'client_id_mismatch' })).toMatchObject({
    clientId: 'device-1',
    presentedClientId: 'device-2',
  });
  expect(await broker.connack('device-1', broker.token('device-1'), { username: 'a-user-name' })).toBe(5);
  expect(await broker.refusal({ reason: 'user_name_mismatch' })).not.toHaveProperty('presentedClientId');
  expect(broker.log()).not.toContain('a-user-name');
});

test.each([
  ['with other characters', 'device 1\n{"level":40}'],
  ['of 65 characters', 'd'.repeat(65)],
  ['that is the password too', 'x.y.z'],
  ['of the form of a secret', `sEcReT-${'A'.repeat(36)}`],
])('a client id %s is not logged before a token has shown it', async (_what, clientId) => {
  const broker = await startTestBroker();
  expect(await broker.connack(clientId, 'x.y.z')).toBe(4);
  expect(await broker.refusal({ reason: 'token_malformed' })).not.toHaveProperty('presentedClientId');
  expect(broker.log()).not.toContain(clientId.slice(0, 8).trim());
});

test.each([
  ['expired', 'token_expired', 4],
  ['revoked', 'token_revoked', 4],
  ['quarantined', 'client_quarantined', 5],
])('who has shown a token that is %s since is known', async (what, reason, returnCode) => {
  let aheadMs = 0;
  const broker = await startTestBroker({ now: () => Date.now() + aheadMs });
  const token = broker.token('device-1');
  await (await broker.session('device-1', {}, token)).end();
  const tokenId = JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()).jti;
  if (what === 'expired') aheadMs = 3_600_000;
  if (what === 'revoked') await broker.auth.revoke(broker.issuer.name, { kind: 'token', tokenId });
  if (what === 'quarantined') {
    const target = { kind: 'client', clientId: 'device-1', atSeconds: Math.ceil(Date.now() / 1000) } as const;
    await broker.auth.revoke(broker.issuer.name, { ...target, isQuarantined: true });
  }
  expect(await broker.connack('device-1', token)).toBe(returnCode);
  const refusal = await broker.refusal({ action: 'connect' });
  expect(refusal).toMatchObject({ reason, clientId: 'device-1', tokenId });
  expect(refusal).not.toHaveProperty('presentedClientId');
});

test('a callback for refusals that throws changes no answer', async () => {
  const broker = await startTestBroker({
    onRefusal: () => {
      throw new Error('broken');
    },
  });
  expect(await broker.connack('device-1', 'x.y.z')).toBe(4);
  const client = await broker.session('device-1');
  expect(await client.settle()).toEqual([]);
});

test('a token that expires while its signature is checked is expired', async () => {
  let aheadMs = 0;
  const issuer = testIssuer();
  const broker = await startTestBroker({
    now: () => Date.now() + aheadMs,
    issuers: [
      {
        issuer: issuer.name,
        keys: {
          jwks: () => {
            aheadMs = 66_000;
            return issuer.jwks();
          },
        },
      },
    ],
  });
  const token = issuer.token({ clientId: 'device-1', expiresInSeconds: 60 });
  expect(await broker.connack('device-1', token)).toBe(4);
  expect(await broker.refusal({ reason: 'token_expired' })).toMatchObject({ clientId: 'device-1' });
});

test('mqtt.js connects, subscribes and publishes with a token', async () => {
  const broker = await startTestBroker();
  const client = broker.mqttClient('device-1');
  const topic = 'devices/device-1/echo';
  const received = new Promise<string>((resolve) =>
    client.on('message', (_topic, payload) => resolve(`${payload}`)),
  );
  expect(await client.subscribeAsync(topic, { qos: 1 })).toMatchObject([{ topic, qos: 1 }]);
  await client.publishAsync(topic, 'hello', { qos: 1 });
  expect(await received).toBe('hello');
  await client.endAsync();
});

test('a client that grants itself nothing may connect and do nothing', async () => {
  const broker = await startTestBroker();
  const token = broker.token('device-1', { scope: [] });
  const client = await broker.session('device-1', {}, token);
  expect(await client.settle()).toEqual([]);
  expect(ownScope('device-1')).toHaveLength(2);
});

async function firstBytes(client: RawClient): Promise<Buffer> {
  return new Promise((resolve) => client.stream.once('data', resolve));
}
