import { remoteRevocations } from '@fleetgate/broker';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { type AppFixture, createApp, defaultApp } from '../support/app-fixture.ts';
import { startTestBroker } from '../support/broker-fixture.ts';
import { adminKey, type IssuerFixture, issuerFixture } from '../support/issuer-fixture.ts';
import { openFeed } from '../support/revocation-reader.ts';

/** What is of one app is shown to another: the default one and two beside it, each way. */
const pairs = [
  ['a', 'b'],
  ['a', 'default'],
  ['default', 'a'],
] as const;

let fixture: IssuerFixture;
let apps: Readonly<Record<'a' | 'b' | 'default', AppFixture>>;
beforeEach(async () => {
  fixture = await issuerFixture();
  apps = {
    a: await createApp(fixture, 'a'),
    b: await createApp(fixture, 'b'),
    default: defaultApp(fixture, adminKey),
  };
});

const scope = 'fleetgate.revocations';

describe.each(pairs)('of %s, shown to %s,', (from, to) => {
  let own: AppFixture;
  let other: AppFixture;
  beforeEach(() => {
    own = apps[from];
    other = apps[to];
  });

  test.each([
    ['an admin key', () => own.adminKey],
    ['an API key with the role admin', () => own.apiKey('script', 'admin')],
  ])('%s opens nothing', async (_name, keyOf) => {
    const headers = { 'api-key': await keyOf() };
    expect((await own.call('GET', '/v1/clients', undefined, headers)).status).toBe(200);
    for (const [method, path] of [
      ['GET', '/v1/clients'],
      ['POST', '/v1/revocations'],
      ['POST', '/recipe/oauth/clients'],
      ['POST', '/recipe/oauth/tokens/revoke'],
    ] as const) {
      const answer = await other.call(method, path, method === 'GET' ? undefined : {}, headers);
      expect(answer.status, path).toBe(401);
    }
  });

  test('a token is inactive, also to a client of the same id and to one that may introspect', async () => {
    const mine = await own.register({ client_id: 'sensor-1', scope: 'fleetgate.introspect' });
    const { access_token: token } = (await (await own.tokenFor(mine)).json()) as { access_token: string };
    const introspected = async (at: AppFixture, { client_id, client_secret }: typeof mine) => {
      const body = new URLSearchParams({ client_id, client_secret, token });
      return (await fetch(`${at.url}/oauth/introspect`, { method: 'POST', body })).json();
    };
    const theirs = await other.register({ client_id: 'sensor-1', scope: 'fleetgate.introspect' });
    expect(await introspected(own, mine)).toMatchObject({ active: true, iss: own.url });
    expect(await introspected(other, theirs)).toEqual({ active: false });
  });

  test('a secret is wrong, also for a client of the same id', async () => {
    const mine = await own.register({ client_id: 'sensor-1' });
    expect((await other.tokenFor(mine)).status).toBe(401);
    await other.register({ client_id: 'sensor-1' });
    expect((await other.tokenFor(mine)).status).toBe(401);
    expect((await own.tokenFor(mine)).status).toBe(200);
  });

  test('a token is none, also of a client of the same id and scope', async () => {
    const token = await own.token({ client_id: 'reader', scope });
    await other.register({ client_id: 'reader', scope });
    const refused = await openFeed(other.url, token);
    expect([refused.response.status, await refused.response.json()]).toMatchObject([
      401,
      { error: 'invalid_token' },
    ]);
    const reader = await openFeed(own.url, token);
    expect(reader.response.status).toBe(200);
    reader.close();
  });

  test('a key is published nowhere', async () => {
    const { kid } = decodeProtectedHeader(await own.token());
    const keysOf = async ({ url }: AppFixture) =>
      ((await (await fetch(`${url}/.well-known/jwks.json`)).json()) as { keys: { kid: string }[] }).keys.map(
        (key) => key.kid,
      );
    expect(await keysOf(own)).toContain(kid);
    expect(await keysOf(other)).not.toContain(kid);
  });

  test('a token is not revoked', async () => {
    const token = await own.token({ client_id: 'reader', scope });
    const revoker = await other.register({ client_id: 'reader', scope });
    const answer = await fetch(`${other.url}/oauth/revoke`, {
      method: 'POST',
      body: new URLSearchParams({
        client_id: revoker.client_id,
        client_secret: revoker.client_secret,
        token,
      }),
    });
    // RFC 7009 §2.2: a token it does not know is revoked already.
    expect(answer.status).toBe(200);
    const reader = await openFeed(own.url, token);
    expect(reader.response.status).toBe(200);
    reader.close();
  });

  test('a client is unknown, and one of the same id keeps its tokens when that is revoked and deleted', async () => {
    await own.register({ client_id: 'sensor-1' });
    expect((await other.call('GET', '/v1/clients/sensor-1')).status).toBe(404);
    expect((await other.call('DELETE', '/v1/clients/sensor-1')).status).toBe(404);
    expect(await (await other.call('GET', '/v1/clients')).json()).toMatchObject({ clients: [] });

    const token = await other.token({ client_id: 'sensor-1', scope });
    await own.call('POST', '/v1/revocations', { kind: 'client', client_id: 'sensor-1' });
    await own.call('DELETE', '/v1/clients/sensor-1');
    const reader = await openFeed(other.url, token);
    expect(await reader.untilReady()).toEqual([]);
    reader.close();
  });

  test('a revocation revokes nothing, also of all or by the very jti', async () => {
    const token = await other.token({ client_id: 'reader', scope });
    const { jti } = decodeJwt(token);
    const { kid } = decodeProtectedHeader(token);
    await own.call('POST', '/v1/revocations', { kind: 'token', jti });
    await own.call('POST', '/v1/revocations', {
      kind: 'issued_before',
      at: Math.floor(Date.now() / 1000) + 5,
    });
    const key = await own.call('POST', '/v1/revocations', { kind: 'key', kid });
    expect(await key.json()).toMatchObject({ error: 'key_unknown' });
    const reader = await openFeed(other.url, token);
    expect(await reader.untilReady()).toEqual([]);
    reader.close();
  });

  test('a cursor is of nothing: all is told, on the feed and in the list', async () => {
    for (const jti of ['mine-1', 'mine-2']) await own.call('POST', '/v1/revocations', { kind: 'token', jti });
    const mine = (await (await own.call('GET', '/v1/revocations')).json()) as {
      revocations: { cursor: string }[];
    };
    const after = mine.revocations.at(-1)?.cursor as string;
    await other.call('POST', '/v1/revocations', { kind: 'token', jti: 'other-1' });
    const reader = await openFeed(other.url, await other.token({ scope }), { after });
    expect(await reader.untilReady()).toMatchObject([{ jti: 'other-1' }]);
    reader.close();
    const page = await other.call('GET', `/v1/revocations?cursor=${after}`);
    expect(await page.json()).toMatchObject({ revocations: [{ jti: 'other-1' }] });
  });
});

test('a broker takes the tokens of the app it trusts and of no other, and is told of its revocations only', async () => {
  const { a, b } = apps;
  const reader = await a.register({ client_id: 'broker', scope });
  const feedToken = async () =>
    ((await (await a.tokenFor(reader)).json()) as { access_token: string }).access_token;
  const broker = await startTestBroker({
    issuers: [
      {
        issuer: a.url,
        keys: { discover: true },
        revocations: { source: remoteRevocations({ url: `${a.url}/revocations`, token: feedToken }) },
      },
    ],
  });
  const sensor = { client_id: 'sensor-1', scope: 'mqtt:publish:devices/{client_id}/#' };
  const tokens = [await a.token(sensor), await b.token(sensor), await apps.default.token(sensor)];
  const answers = await Promise.all(tokens.map((token) => broker.connack('sensor-1', token)));
  expect(answers).toEqual([0, 4, 4]);

  const session = await broker.session('sensor-1', {}, tokens[0]);
  for (const each of [b, apps.default]) {
    await each.call('POST', '/v1/revocations', { kind: 'client', client_id: 'sensor-1' });
  }
  await session.settle();
  await a.call('POST', '/v1/revocations', { kind: 'client', client_id: 'sensor-1' });
  await session.closed;
  expect(await broker.connack('sensor-1', tokens[0])).toBe(4);
});
