import { expect, test } from 'vitest';
import { payloads, publishPacket, startTestBroker, subscribe } from '../support/broker-fixture.ts';

test('a session is closed at the expiry of its token and the skew, not before', async () => {
  let aheadMs = 0;
  const broker = await startTestBroker({ now: () => Date.now() + aheadMs, clockSkewSeconds: 5 });
  const other = await broker.session('device-2', {}, broker.token('device-2', { expiresInSeconds: 3600 }));
  const client = await broker.session('device-1', {}, broker.token('device-1', { expiresInSeconds: 60 }));
  aheadMs = 40_000;
  expect(await client.settle()).toEqual([]);
  aheadMs = 65_001;
  await client.closed;
  expect(await broker.refusal({ action: 'session' })).toMatchObject({
    reason: 'session_expired',
    clientId: 'device-1',
  });
  expect(await other.settle()).toEqual([]);
  await other.end();
});

test('an expired session may do nothing, even before it is closed', async () => {
  let aheadMs = 0;
  const broker = await startTestBroker({ now: () => Date.now() + aheadMs });
  const publisher = await broker.session(
    'publisher',
    {},
    broker.token('publisher', { scope: ['mqtt:publish:#'], expiresInSeconds: 3600 }),
  );
  const client = await broker.session('device-1', {}, broker.token('device-1', { expiresInSeconds: 60 }));
  await subscribe(client, ['devices/device-1/#']);
  aheadMs = 66_000;
  publisher.send(publishPacket('devices/device-1/x', 'late', { qos: 1 }));
  await publisher.next('puback');
  client.send(publishPacket('devices/device-1/x', 'late'));
  await client.closed;
  expect(payloads(client.received)).toEqual([]);
});

test('a session of a token that lives on is not closed by the end of another', async () => {
  const broker = await startTestBroker({ clockSkewSeconds: 0 });
  const client = await broker.session('device-1', {}, broker.token('device-1', { expiresInSeconds: 1 }));
  await client.closed;
  expect(await broker.refusal({ action: 'session' })).toMatchObject({ reason: 'session_expired' });
  expect(await broker.connack('device-1', broker.token('device-1'))).toBe(0);
}, 30_000);
