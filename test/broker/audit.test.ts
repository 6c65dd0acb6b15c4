import { parsePolicy } from '@fleetgate/broker';
import { expect, test } from 'vitest';
import type { AuditEvent } from '../../broker/audit.ts';
import { publishPacket, startTestBroker, subscribe, until } from '../support/broker-fixture.ts';

const jtiOf = (token: string): string =>
  JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()).jti;

async function start(options: Parameters<typeof startTestBroker>[0] = {}) {
  const events: AuditEvent[] = [];
  const broker = await startTestBroker({ ...options, audit: (event) => void events.push(event) });
  const names = () => events.map(({ event }) => event);
  return { broker, events, names };
}

test('what matters for security is told: who, from where, with which token, and why not', async () => {
  const nowMs = Date.now();
  const { broker, events } = await start({ deniedPublish: 'drop', now: () => nowMs });
  const [first, second] = [broker.token('device-1'), broker.token('device-1')];
  const client = await broker.session('device-1', {}, first);
  await subscribe(client, ['devices/device-2/#']);
  client.send(publishPacket('devices/device-2/x', 'a-secret-payload', { qos: 1 }));
  await client.next('puback');
  for (const token of ['x.y.z', second]) {
    client.send(publishPacket('$fleetgate/token', token, { qos: 1 }));
    await client.next('puback');
  }
  await broker.auth.setPolicy(parsePolicy('version: 1\nscopes: {}\n', 'policy.yaml'));
  await broker.connack('device-2', 'x.y.z');
  await broker.connack('device-2', first, { username: '' });
  await broker.auth.revoke(broker.issuer.name, { kind: 'token', tokenId: jtiOf(second) });
  await client.closed;
  const at = new Date(nowMs).toISOString();
  const address = '127.0.0.1';
  const of = { at, client_id: 'device-1', address, token_id: jtiOf(first) };
  expect(events).toEqual([
    { event: 'connect_accepted', ...of },
    { event: 'subscribe_refused', ...of, reason: 'no_rule', topic: 'devices/device-2/#' },
    { event: 'publish_refused', ...of, reason: 'no_rule', topic: 'devices/device-2/x' },
    { event: 'renewal_refused', ...of, reason: 'token_malformed' },
    { event: 'renewal_accepted', ...of, token_id: jtiOf(second) },
    { event: 'policy_changed', at },
    { event: 'connect_refused', at, address, reason: 'token_malformed', presented_client_id: 'device-2' },
    { event: 'connect_refused', ...of, reason: 'client_id_mismatch', presented_client_id: 'device-2' },
    { event: 'session_ended', ...of, reason: 'token_revoked', token_id: jtiOf(second) },
  ]);
  const written = JSON.stringify(events);
  expect(written).not.toContain('a-secret-payload');
  expect(written).not.toContain(first.slice(0, 40));
});

test('and what else there is: a session that expires, a will, a packet that breaks the protocol', async () => {
  let aheadMs = 0;
  const { broker, names } = await start({
    policy: parsePolicy('version: 1\nscopes: { s: { publish: [ a ] } }\n', 'policy.yaml'),
    now: () => Date.now() + aheadMs,
  });
  const will = { topic: 'a', payload: Buffer.from('x'), qos: 0 as const, retain: false };
  const token = broker.token('device-1', { scope: ['s'], expiresInSeconds: 3600 });
  const client = await broker.session('device-1', { will }, token);
  await broker.auth.setPolicy(undefined);
  await client.end();
  await broker.refusal({ action: 'will' });
  const short = await broker.session('device-2');
  aheadMs = 606_000;
  await short.closed;
  const other = await broker.session('device-3', {}, broker.token('device-3', { expiresInSeconds: 3600 }));
  other.write(Buffer.from([0x30, 0x04, 0x00, 0x01, 0x2b, 0x78]));
  await other.closed;
  expect(names()).toEqual([
    'connect_accepted',
    'policy_changed',
    'will_refused',
    'connect_accepted',
    'session_ended',
    'connect_accepted',
    'packet_refused',
  ]);
});

test('what is refused again and again is a bounded number of events, and a count of the rest', async () => {
  const { broker, events } = await start();
  const client = await broker.session('device-1');
  const other = await broker.session('device-2');
  await subscribe(
    client,
    Array.from({ length: 200 }, (_, n) => `other/${n}`),
  );
  await subscribe(other, ['other/x']);
  await broker.auth.revoke(broker.issuer.name, { kind: 'key', keyId: broker.issuer.kid });
  await until(() => events.some(({ event }) => event === 'refused_more'));
  const of = (clientId: string) => events.filter(({ client_id: id }) => id === clientId);
  expect(of('device-1').filter(({ event }) => event === 'subscribe_refused')).toHaveLength(50);
  expect(of('device-1').at(-1)).toEqual({
    at: expect.any(String),
    event: 'refused_more',
    client_id: 'device-1',
    count: 150,
  });
  expect(of('device-1').filter(({ event }) => event === 'session_ended')).toHaveLength(1);
  expect(of('device-2').map(({ event }) => event)).toEqual([
    'connect_accepted',
    'subscribe_refused',
    'session_ended',
  ]);
});

test('a delivery that is held back is everyday, and left out', async () => {
  const scopes = { observe: { subscribe: [{ topic: 'a/+/t', broader: 'filter' }] } };
  const policy = parsePolicy(JSON.stringify({ version: 1, scopes }), 'policy.yaml');
  const { broker, names } = await start({ policy });
  const scope = ['observe', 'mqtt:publish:a/#'];
  const client = await broker.session('device-1', {}, broker.token('device-1', { scope }));
  await subscribe(client, ['a/#']);
  client.send(publishPacket('a/1/u', 'held back'), publishPacket('a/1/t', 'delivered'));
  await client.next('publish');
  expect(await broker.refusal({ action: 'receive' })).toMatchObject({ reason: 'no_rule' });
  expect(names()).toEqual(['connect_accepted']);
});
