import { readFile } from 'node:fs/promises';
import { pino } from 'pino';
import { beforeEach, expect, test } from 'vitest';
import { otherConnection, rowsOf, storedBytes } from '../support/database.ts';
import { adminKey, basic, form, type IssuerFixture, issuerFixture, json } from '../support/issuer-fixture.ts';

let fixture: IssuerFixture;
let logged: string[];

beforeEach(async () => {
  logged = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => logged.push(line) });
  fixture = await issuerFixture({ log });
});

interface Row {
  actor: string;
  address: string | null;
  action: string;
  target: string | null;
  result: string;
  request_id: string | null;
  token_id: string | null;
  at_ms: number;
}

async function rows(): Promise<Row[]> {
  return rowsOf<Row>(fixture.database, 'SELECT * FROM audit ORDER BY sequence');
}
const brief = async () =>
  (await rows()).map(({ actor, action, target, result }) => [actor, action, target, result]);

const grant = { grant_type: 'client_credentials' };

test('every administrative act and every token issued or refused is one row, in order', async () => {
  const client = await fixture.register({ client_id: 'a', scope: 'x' });
  await fixture.call('POST', '/v1/clients', { client_id: 'a' });
  await fixture.call('POST', '/v1/clients', { client_id: 'b', scope: 'x  y' });
  await fixture.tokenFor(client);
  await fixture.tokenFor(client, { scope: 'y' });
  await fixture.tokenFor(client, { audience: 'other' });
  await fixture.tokenFor(client, { grant_type: 'password' });
  await fixture.tokenFor({ client_id: 'a', client_secret: 'wrong' });
  await fixture.tokenFor({ client_id: 'nobody', client_secret: 'wrong' });
  await fixture.tokenFor({ client_id: 'not an id', client_secret: 'wrong' });
  await fixture.requestToken('{', json);
  await fixture.requestToken('grant_type=a&grant_type=b', form);
  await fixture.call('DELETE', '/v1/clients/a');
  await fixture.call('DELETE', '/v1/clients/a');
  await fixture.tokenFor(client);
  await fixture.call('GET', '/v1/clients', undefined, { 'api-key': 'wrong' });
  await fixture.call('POST', '/recipe/oauth/clients', { clientId: 'c' });
  const [active, next] = fixture.issuer.jwks().keys;
  expect(await brief()).toEqual([
    ['issuer', 'key.activate', active?.kid, 'ok'],
    ['issuer', 'key.publish', next?.kid, 'ok'],
    ['admin:default', 'client.create', 'a', 'ok'],
    ['admin:default', 'client.create', 'a', 'registry_conflict'],
    ['admin:default', 'client.create', 'b', 'scope_malformed'],
    ['client:a', 'secret.first_use', 'a', 'ok'],
    ['client:a', 'token.issue', 'a', 'ok'],
    ['client:a', 'token.issue', 'a', 'invalid_scope'],
    ['client:a', 'token.issue', 'a', 'invalid_target'],
    ['client:a', 'token.issue', 'a', 'unsupported_grant_type'],
    ['client:a', 'token.issue', 'a', 'invalid_client'],
    ['client:nobody', 'token.issue', 'nobody', 'invalid_client'],
    ['anonymous', 'token.issue', null, 'invalid_client'],
    ['anonymous', 'token.issue', null, 'invalid_request'],
    ['anonymous', 'token.issue', null, 'invalid_request'],
    ['admin:default', 'client.delete', 'a', 'ok'],
    ['admin:default', 'client.delete', 'a', 'client_unknown'],
    ['client:a', 'token.issue', 'a', 'invalid_client'],
    ['anonymous', 'admin.authenticate', null, 'api_key_invalid'],
    ['admin:default', 'client.create', 'c', 'ok'],
  ]);
});

test('a row says when, from which socket, by which request, and of a token its jti', async () => {
  const client = await fixture.register({ client_id: 'a' });
  const before = Date.now();
  const response = await fixture.requestToken(
    { ...grant, client_id: client.client_id, client_secret: client.client_secret },
    { 'x-forwarded-for': '192.0.2.77' },
  );
  const { access_token } = (await response.json()) as { access_token: string };
  const claims = JSON.parse(Buffer.from(access_token.split('.')[1] as string, 'base64url').toString());
  const row = (await rows()).at(-1);
  expect(row).toMatchObject({ address: '127.0.0.1', token_id: claims.jti });
  expect(row?.request_id).toMatch(/^[0-9a-f-]{36}$/);
  expect(row?.at_ms).toBeGreaterThanOrEqual(before - 1000);
  expect(logged.some((line) => line.includes(row?.request_id as string))).toBe(true);
});

test('what an attacker writes into an id makes no row of its own', async () => {
  await fixture.tokenFor({ client_id: 'a\n2026 admin client.create ok', client_secret: 'x' });
  await fixture.tokenFor({ client_id: "a'); DELETE FROM audit;--", client_secret: 'x' });
  expect((await brief()).slice(2)).toEqual([
    ['anonymous', 'token.issue', null, 'invalid_client'],
    ['anonymous', 'token.issue', null, 'invalid_client'],
  ]);
});

test('a secret sent in the place of a client id is in no row', async () => {
  const { client_secret: secret } = await fixture.register({ client_id: 'a' });
  await fixture.tokenFor({ client_id: secret, client_secret: 'a' });
  await fixture.call('DELETE', `/v1/clients/${secret}`);
  await fixture.call('POST', '/v1/revocations', { kind: 'client', client_id: secret });
  expect((await brief()).slice(-3)).toEqual([
    ['anonymous', 'token.issue', null, 'invalid_client'],
    ['admin:default', 'client.delete', null, 'client_unknown'],
    ['admin:default', 'client.revoke', null, 'client_unknown'],
  ]);
});

test('each of many concurrent tokens has its row when it is answered', async () => {
  const client = await fixture.register({ client_id: 'a' });
  const ids = await Promise.all(
    Array.from({ length: 200 }, async () => {
      const { access_token } = (await (await fixture.tokenFor(client)).json()) as { access_token: string };
      const { jti } = JSON.parse(Buffer.from(access_token.split('.')[1] as string, 'base64url').toString());
      return jti as string;
    }),
  );
  const recorded = new Set((await rows()).map(({ token_id }) => token_id));
  expect(ids.filter((id) => !recorded.has(id))).toEqual([]);
});

test('while nothing can be recorded no token is issued and no client made: 503, and it recovers', async () => {
  const client = await fixture.register({ client_id: 'a' });
  const other = await otherConnection(fixture.database);
  await other.holdTurn();
  const [issued, refused, created] = await Promise.all([
    fixture.tokenFor(client),
    fixture.tokenFor({ client_id: 'a', client_secret: 'wrong' }),
    fixture.call('POST', '/v1/clients', { client_id: 'b' }),
  ]);
  for (const response of [issued, refused, created]) {
    expect(response?.status).toBe(503);
    expect(response?.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(await response?.json()).toMatchObject({ error: 'temporarily_unavailable' });
  }
  await other.letGo();
  expect((await fixture.tokenFor(client)).status).toBe(200);
  expect((await fixture.call('GET', '/v1/clients/b')).status).toBe(404);
});

test('no secret, token or key is in a log line, an audit row, a file or an error', async () => {
  const canary = 'canary-c0ffee-in-a-coal-mine';
  const client = await fixture.register({ client_id: 'a', scope: 'x' });
  const { client_secret } = client;
  const tokens: string[] = [];
  const errors: string[] = [];
  const keep = async (response: Response) => {
    const text = await response.text();
    const { access_token } = (text.startsWith('{') ? JSON.parse(text) : {}) as { access_token?: string };
    if (access_token !== undefined) tokens.push(access_token);
    // SuperTokens' answer to a creation holds the secret it was made with.
    else if (response.status !== 200) errors.push(text, JSON.stringify([...response.headers]));
  };
  await keep(await fixture.tokenFor(client));
  await keep(await fixture.requestToken(grant, basic('a', client_secret)));
  for (const secret of [canary, client_secret]) {
    await keep(await fixture.tokenFor({ client_id: 'b', client_secret: secret }));
    await keep(
      await fixture.requestToken({ ...grant, client_id: 'a', client_secret: secret }, basic('a', secret)),
    );
    await keep(await fixture.requestToken(`{"client_secret":"${secret}"`, json));
    await keep(await fixture.requestToken(`{"client_secret":"${secret}","client_secret":"${secret}"}`, json));
    await keep(await fixture.requestToken(`client_secret=${secret}`, { 'content-type': 'text/plain' }));
    await keep(await fixture.requestToken(grant, { authorization: `Bearer ${secret}` }));
    for (const path of ['/oauth/token', '/readyz', '/nothing', '/%zz', `/${secret}`, '/v1/clients']) {
      for (const method of ['GET', 'POST']) {
        await keep(await fetch(`${fixture.issuer.url}${path}?client_secret=${secret}`, { method }));
      }
    }
    await keep(await fixture.call('POST', '/v1/clients', { client_secret: secret }));
    await keep(await fixture.call('POST', '/v1/clients', `{"metadata":"${secret}"}`));
    await keep(await fixture.call('POST', '/recipe/oauth/clients', { clientSecret: secret }));
    await keep(await fixture.call('GET', '/v1/clients', undefined, { 'api-key': secret }));
  }
  expect(tokens).toHaveLength(2);
  const privateNumbers = Buffer.from(await readFile(fixture.keyFile));
  const places: [string, Buffer][] = [
    ['log', Buffer.from(logged.join(''))],
    ['audit', Buffer.from(JSON.stringify(await rows()))],
    ['errors', Buffer.from(errors.join('\n'))],
  ];
  const stored = await storedBytes(fixture.database);
  expect(stored.length).toBeGreaterThan(1);
  places.push(...stored);
  const needles = [
    canary,
    client_secret,
    btoa(`a:${client_secret}`),
    adminKey,
    ...tokens,
    '"d":',
    privateNumbers,
  ];
  const found = places.flatMap(([name, content]) =>
    needles.filter((needle) => content.includes(needle)).map((needle) => `${name}: ${needle}`),
  );
  expect(found).toEqual([]);
  // The search would find something: the client's id is where it may be.
  expect(places.filter(([, content]) => content.includes('client:a')).length).toBeGreaterThan(0);
});
