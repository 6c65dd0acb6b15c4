import { expect, test } from 'vitest';
import { publishPacket, startTestBroker } from '../support/broker-fixture.ts';
import { connackOf, connectPacket } from '../support/broker-raw-client.ts';
import { basic, issuerFixture, type RegisteredClient } from '../support/issuer-fixture.ts';

/** An issuer, and a broker that knows of its revocations by introspection alone. */
async function start(observer: Record<string, unknown> = { scope: 'fleetgate.introspect' }) {
  const fixture = await issuerFixture();
  const { client_secret: clientSecret } = await fixture.register({ client_id: 'broker', ...observer });
  const device = await fixture.register({ client_id: 'device', scope: 'mqtt:publish:devices/{client_id}/#' });
  const { url } = fixture.issuer;
  const broker = await startTestBroker({
    issuers: [
      {
        issuer: url,
        keys: { discover: true },
        introspection: { clientId: 'broker', clientSecret, intervalSeconds: 10 },
      },
    ],
  });
  const token = async () =>
    ((await (await fixture.tokenFor(device)).json()) as { access_token: string }).access_token;
  const revoke = (text: string, of: RegisteredClient = device) =>
    fetch(`${url}/oauth/revoke`, {
      method: 'POST',
      headers: basic(of.client_id, of.client_secret),
      body: new URLSearchParams({ token: text }),
    });
  return { broker, token, revoke };
}

test('a session ends when its token was revoked meanwhile, and another token of the client serves', async () => {
  const { broker, token, revoke } = await start();
  const [text, other] = [await token(), await token()];
  const client = await broker.session('device', {}, text);
  client.send(publishPacket('devices/device/a', 'x', { qos: 1 }));
  await client.next('puback');
  expect((await revoke(text)).status).toBe(200);
  await client.closed;
  expect(await broker.refusal({ action: 'session' })).toMatchObject({ reason: 'token_revoked' });
  expect(await broker.connack('device', text)).toBe(4);
  expect(await broker.connack('device', other)).toBe(0);
  expect(broker.log()).not.toContain('introspection_unavailable');
});

test('a token that was revoked before is found at once', async () => {
  const { broker, token, revoke } = await start();
  const text = await token();
  await revoke(text);
  const client = await broker.raw();
  expect(await connackOf(client, connectPacket('device', text))).toBe(0);
  await client.closed;
  expect(await broker.refusal({ action: 'session' })).toMatchObject({ reason: 'token_revoked' });
});

test('a broker that may not introspect sees no token as active, so it serves nobody', async () => {
  const { broker, token } = await start({});
  const client = await broker.raw();
  expect(await connackOf(client, connectPacket('device', await token()))).toBe(0);
  await client.closed;
  expect(await broker.refusal({ action: 'session' })).toMatchObject({ reason: 'token_revoked' });
});
