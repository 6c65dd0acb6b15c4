import { decodeJwt, decodeProtectedHeader } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  basic,
  form,
  type IssuerFixture,
  issuerFixture,
  json,
  type RegisteredClient,
} from '../support/issuer-fixture.ts';

let fixture: IssuerFixture;
let client: RegisteredClient;
const now = 1_700_000_000_500;

beforeEach(async () => {
  fixture = await issuerFixture({ now: () => now });
  client = await fixture.register({
    client_id: 'dev-1',
    scope: 'a b mqtt:publish:d/{client_id}/#',
    group: 'g1',
  });
});

const grant = { grant_type: 'client_credentials' };
const credentials = () => ({ client_id: client.client_id, client_secret: client.client_secret });
const answer = async (response: Response) => (await response.json()) as Record<string, unknown>;

/** What every error of the token endpoint has. */
async function refused(response: Response, status: number, error: string): Promise<void> {
  const body = await answer(response);
  expect([response.status, body['error']]).toEqual([status, error]);
  expect(Object.keys(body).sort()).toEqual(['error', 'error_description']);
  expect(body['error_description']).toMatch(/^[\x20\x21\x23-\x5b\x5d-\x7e]+$/);
  expect(response.headers.get('cache-control')).toBe('no-store');
  expect(response.headers.get('pragma')).toBe('no-cache');
  expect(response.headers.get('content-type')).toMatch(/^application\/json/);
}

describe('a token', () => {
  test('has exactly the claims and header of the contract', async () => {
    const { access_token } = await answer(await fixture.tokenFor(client));
    const token = access_token as string;
    const { keys } = fixture.issuer.jwks();
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'ES256', kid: keys[0]?.kid, typ: 'at+jwt' });
    const { jti, gid, ...claims } = decodeJwt(token);
    expect(claims).toEqual({
      iss: fixture.issuer.url,
      sub: 'dev-1',
      client_id: 'dev-1',
      aud: ['mqtt'],
      scp: ['a', 'b', 'mqtt:publish:d/dev-1/#'],
      scope: 'a b mqtt:publish:d/dev-1/#',
      stt: 1,
      iat: 1_700_000_000,
      nbf: 1_699_999_995,
      exp: 1_700_000_900,
      group: 'g1',
    });
    expect(jti).toMatch(/^[0-9a-f-]{36}$/);
    expect(gid).toEqual(expect.any(String));
  });

  test('is unlike every other one', async () => {
    const tokens = await Promise.all(
      Array.from({ length: 20 }, async () => (await answer(await fixture.tokenFor(client)))['access_token']),
    );
    expect(new Set(tokens.map((token) => decodeJwt(token as string).jti)).size).toBe(20);
  });

  test('of a client without a group has no group', async () => {
    const { access_token } = await answer(
      await fixture.tokenFor(await fixture.register({ client_id: 'lone' })),
    );
    expect(decodeJwt(access_token as string)).not.toHaveProperty('group');
  });

  test('lives as long as its client was registered with', async () => {
    const brief = await fixture.register({ client_id: 'brief', token_lifetime_seconds: 2 });
    const { access_token, expires_in } = await answer(await fixture.tokenFor(brief));
    expect(expires_in).toBe(2);
    expect(decodeJwt(access_token as string).exp).toBe(1_700_000_002);
  });

  test('lives no longer than the maximum, and nobody is registered with more', async () => {
    const strict = await issuerFixture({ tokenLifetimeSeconds: 60, maxTokenLifetimeSeconds: 60 });
    const over = await strict.call('POST', '/v1/clients', { token_lifetime_seconds: 61 });
    expect(over.status).toBe(400);
    expect((await answer(over))['error_description']).toContain('max_token_lifetime_seconds');
    const body = await answer(await strict.tokenFor(await strict.register({ token_lifetime_seconds: 60 })));
    expect(body['expires_in']).toBe(60);
  });

  test('longer than anybody takes is not issued', async () => {
    const level = 'x'.repeat(1900);
    const big = await fixture.register({
      client_id: 'big',
      scope: `mqtt:publish:${level}/1 mqtt:publish:${level}/2`,
    });
    await refused(await fixture.tokenFor(big), 400, 'invalid_scope');
    const part = await fixture.tokenFor(big, { scope: `mqtt:publish:${level}/1` });
    expect(part.status).toBe(200);
  });
});

describe('the answer', () => {
  test('is that of RFC 6749 §5.1, with the scope given', async () => {
    const response = await fixture.tokenFor(client, { scope: 'b' });
    expect(response.status).toBe(200);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('pragma')).toBe('no-cache');
    expect(response.headers.get('content-type')).toMatch(/^application\/json/);
    expect(await answer(response)).toEqual({
      access_token: expect.any(String),
      token_type: 'Bearer',
      expires_in: 900,
      scope: 'b',
    });
  });

  test.each([
    ['all that is registered', {}, 'a b mqtt:publish:d/dev-1/#'],
    ['in another order', { scope: 'b a' }, 'b a'],
    ['twice', { scope: 'b b' }, 'b'],
    ['with a placeholder', { scope: 'mqtt:publish:d/{client_id}/#' }, 'mqtt:publish:d/dev-1/#'],
    ['in another spelling', { scope: 'mqtt:publish:d%2Fdev-1%2Fx' }, 'mqtt:publish:d/dev-1/x'],
  ])('says the scope that the token has when asked for %s', async (_name, more, scope) => {
    const { access_token, scope: said } = await answer(await fixture.tokenFor(client, more));
    expect([said, decodeJwt(access_token as string)['scope']]).toEqual([scope, scope]);
  });

  test('has no scope when there is none, since RFC 6749 §3.3 knows no empty one', async () => {
    const body = await answer(await fixture.tokenFor(await fixture.register({ client_id: 'lone' })));
    expect(body).not.toHaveProperty('scope');
  });

  test.each([
    [
      'all three',
      (id: string, secret: string) => ({
        clientId: id,
        clientSecret: secret,
        grantType: 'client_credentials',
      }),
    ],
    ['clientId', (id: string, secret: string) => ({ clientId: id, client_secret: secret, ...grant })],
    ['clientSecret', (id: string, secret: string) => ({ client_id: id, clientSecret: secret, ...grant })],
    [
      'grantType',
      (id: string, secret: string) => ({
        client_id: id,
        client_secret: secret,
        grantType: 'client_credentials',
      }),
    ],
  ])('is in camelCase when %s was, and only then', async (_name, body) => {
    const { client_id, client_secret } = client;
    const camel = { ...body(client_id, client_secret), scope: ['a'], audience: 'mqtt' };
    expect(await answer(await fixture.requestToken(JSON.stringify(camel), json))).toEqual({
      status: 'OK',
      accessToken: expect.any(String),
      tokenType: 'Bearer',
      expiresIn: 900,
      scope: 'a',
    });
    const snake = JSON.stringify({ ...grant, ...credentials(), scope: ['a'] });
    expect(await answer(await fixture.requestToken(snake, json))).toHaveProperty('access_token');
  });

  test('is the same at /auth/oauth/token', async () => {
    const response = await fetch(`${fixture.issuer.url}/auth/oauth/token`, {
      method: 'POST',
      body: new URLSearchParams({ ...grant, ...credentials() }),
    });
    expect(response.status).toBe(200);
  });
});

describe('a request', () => {
  test.each([
    [
      'application/x-www-form-urlencoded; charset=UTF-8',
      () => new URLSearchParams({ ...grant, ...credentials() }).toString(),
    ],
    ['application/json; charset=utf-8', () => JSON.stringify({ ...grant, ...credentials() })],
    ['Application/JSON', () => JSON.stringify({ ...grant, ...credentials() })],
  ])('may come as %s', async (type, body) => {
    expect((await fixture.requestToken(body(), { 'content-type': type })).status).toBe(200);
  });

  test('may hold what nobody knows (RFC 6749 §3.2)', async () => {
    expect((await fixture.tokenFor(client, { vendor: 'x', toString: 'y' })).status).toBe(200);
    const body = JSON.stringify({ ...grant, ...credentials(), vendor: { deep: [1] }, constructor: 1 });
    expect((await fixture.requestToken(body, json)).status).toBe(200);
  });

  test('may leave a parameter empty, as if it were not there (RFC 6749 §3.1)', async () => {
    const body = await answer(await fixture.tokenFor(client, { scope: '', audience: '', resource: '' }));
    expect(body['scope']).toBe('a b mqtt:publish:d/dev-1/#');
  });

  test.each<[string, () => string, Record<string, string>]>([
    ['malformed JSON', () => '{"grant_type":', json],
    ['a JSON array', () => '[]', json],
    ['JSON null', () => 'null', json],
    ['a JSON string', () => '"client_credentials"', json],
    ['JSON with a byte order mark', () => `\ufeff${JSON.stringify({ ...grant, ...credentials() })}`, json],
    ['JSON nested 20,000 deep', () => `{"x":${'['.repeat(20_000)}${']'.repeat(20_000)}}`, json],
    ['an empty body', () => '', json],
    ['an empty form', () => '', form],
    ['no grant_type', () => new URLSearchParams(credentials()).toString(), form],
    [
      'a form with a parameter twice',
      () => `${new URLSearchParams({ ...grant, ...credentials() })}&scope=a&scope=b`,
      form,
    ],
    [
      'a form with grant_type twice',
      () => `${new URLSearchParams({ ...grant, ...credentials() })}&grant_type=client_credentials`,
      form,
    ],
    [
      'a form with an unknown parameter twice',
      () => `${new URLSearchParams({ ...grant, ...credentials() })}&x=1&x=1`,
      form,
    ],
    [
      'JSON with a member twice',
      () => `{"scope":"a",${JSON.stringify({ ...grant, ...credentials(), scope: 'b' }).slice(1)}`,
      json,
    ],
    [
      'JSON with a member twice, once escaped',
      () => `{"sc\\u006fpe":"a",${JSON.stringify({ ...grant, ...credentials(), scope: 'b' }).slice(1)}`,
      json,
    ],
    [
      'JSON with both spellings of the id',
      () => JSON.stringify({ ...grant, ...credentials(), clientId: 'dev-1' }),
      json,
    ],
    [
      'JSON with both spellings of the secret',
      () => JSON.stringify({ ...grant, ...credentials(), clientSecret: 'x' }),
      json,
    ],
    [
      'JSON with both spellings of the grant',
      () => JSON.stringify({ ...grant, ...credentials(), grantType: 'client_credentials' }),
      json,
    ],
    [
      'JSON with __proto__',
      () => `{"__proto__":{"scope":"a"},${JSON.stringify({ ...grant, ...credentials() }).slice(1)}`,
      json,
    ],
    ['a number for client_id', () => JSON.stringify({ ...grant, ...credentials(), client_id: 7 }), json],
    ['null for scope', () => JSON.stringify({ ...grant, ...credentials(), scope: null }), json],
    ['a number within scope', () => JSON.stringify({ ...grant, ...credentials(), scope: ['a', 1] }), json],
    ['an object for audience', () => JSON.stringify({ ...grant, ...credentials(), audience: {} }), json],
    [
      'an array for grant_type',
      () => JSON.stringify({ ...credentials(), grant_type: ['client_credentials'] }),
      json,
    ],
  ])('with %s is invalid_request', async (_name, body, headers) => {
    await refused(await fixture.requestToken(body(), headers), 400, 'invalid_request');
  });

  test('that is not UTF-8 is invalid_request', async () => {
    for (const headers of [form, json]) {
      const response = await fetch(`${fixture.issuer.url}/oauth/token`, {
        method: 'POST',
        headers,
        body: new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
      });
      await refused(response, 400, 'invalid_request');
    }
  });

  test.each([
    ['a secret', () => `?client_secret=${client.client_secret}`],
    ['a grant', () => '?grant_type=client_credentials'],
    ['nothing', () => '?'],
  ])('with %s in the query is invalid_request', async (_name, query) => {
    const response = await fetch(`${fixture.issuer.url}/oauth/token${query()}`, {
      method: 'POST',
      body: new URLSearchParams({ ...grant, ...credentials() }),
    });
    await refused(response, 400, 'invalid_request');
  });

  test.each([
    ['text/plain', 'grant_type=client_credentials'],
    ['application/xml', '<x/>'],
    ['multipart/form-data; boundary=x', '--x--'],
    ['application/jsonx', '{}'],
    ['nonsense', 'x'],
  ])('of type %s is 415', async (type, body) => {
    await refused(await fixture.requestToken(body, { 'content-type': type }), 415, 'invalid_request');
  });

  test('over 64 KiB is 413, and one just below is read', async () => {
    await refused(await fixture.requestToken(`x=${'y'.repeat(65_536)}`, form), 413, 'invalid_request');
    await refused(await fixture.requestToken(`x=${'y'.repeat(65_000)}`, form), 400, 'invalid_request');
  });

  test.each(['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])(
    'by %s is 405 with Allow',
    async (method) => {
      const response = await fetch(`${fixture.issuer.url}/oauth/token?client_secret=x`, { method });
      expect(response.status).toBe(405);
      expect(response.headers.get('allow')).toBe('POST');
      if (method !== 'HEAD') expect(await answer(response)).toHaveProperty('error', 'invalid_request');
    },
  );

  test('for another grant type is unsupported_grant_type', async () => {
    for (const grant_type of [
      'password',
      'authorization_code',
      'refresh_token',
      'CLIENT_CREDENTIALS',
      'implicit',
    ]) {
      await refused(await fixture.tokenFor(client, { grant_type }), 400, 'unsupported_grant_type');
    }
  });

  test('for more than is registered is invalid_scope or invalid_target', async () => {
    await refused(await fixture.tokenFor(client, { scope: 'a c' }), 400, 'invalid_scope');
    await refused(await fixture.tokenFor(client, { audience: 'api' }), 400, 'invalid_target');
    await refused(
      await fixture.tokenFor(client, { resource: 'https://api.example.com' }),
      400,
      'invalid_target',
    );
  });

  test('may name several audiences and resources (RFC 8707 §2)', async () => {
    const several = await fixture.register({
      client_id: 'several',
      audience: ['mqtt', 'https://a.example', 'urn:b'],
    });
    const { client_id, client_secret } = several;
    const aud = async (body: string, headers: Record<string, string>) =>
      decodeJwt((await answer(await fixture.requestToken(body, headers)))['access_token'] as string).aud;
    const base = new URLSearchParams({ ...grant, client_id, client_secret }).toString();
    expect(await aud(base, form)).toEqual(['mqtt', 'https://a.example', 'urn:b']);
    expect(await aud(`${base}&resource=https%3A%2F%2Fa.example&resource=urn%3Ab`, form)).toEqual([
      'https://a.example',
      'urn:b',
    ]);
    expect(await aud(`${base}&audience=mqtt+urn:b&resource=urn%3Ab`, form)).toEqual(['mqtt', 'urn:b']);
    const list = JSON.stringify({ ...grant, client_id, client_secret, audience: ['urn:b'] });
    expect(await aud(list, json)).toEqual(['urn:b']);
  });

  test('named thousands of times are refused before anything else, and cheaply', async () => {
    const body = `${'resource=a&'.repeat(5800)}x=1`;
    const startedMs = process.cpuUsage();
    const responses = await Promise.all(Array.from({ length: 20 }, () => fixture.requestToken(body, form)));
    // The quadratic way took 300 ms of each.
    expect(process.cpuUsage(startedMs).user / 1000).toBeLessThan(2000);
    for (const response of responses) {
      expect(response.status).toBe(400);
      expect(await answer(response)).toMatchObject({ error: 'invalid_request' });
    }
  });
});

describe('client authentication', () => {
  test('by Basic is taken, its parts form-decoded, the scheme in any case', async () => {
    const { authorization } = basic(client.client_id, client.client_secret);
    for (const value of [
      authorization,
      authorization.replace('Basic', 'bAsIc'),
      authorization.replace(' ', '  '),
    ]) {
      expect((await fixture.requestToken(grant, { authorization: value })).status).toBe(200);
    }
    const escaped = `Basic ${btoa(`dev%2D1:${client.client_secret.replaceAll('-', '%2d')}`)}`;
    expect((await fixture.requestToken(grant, { authorization: escaped })).status).toBe(200);
  });

  test('by Basic may repeat the same client_id in the body, and no other', async () => {
    const headers = basic(client.client_id, client.client_secret);
    expect((await fixture.requestToken({ ...grant, client_id: 'dev-1' }, headers)).status).toBe(200);
    const other = await fixture.requestToken({ ...grant, client_id: 'dev-2' }, headers);
    await refused(other, 400, 'invalid_request');
  });

  test('by two methods at once is invalid_request', async () => {
    const headers = basic(client.client_id, client.client_secret);
    await refused(
      await fixture.requestToken({ ...grant, ...credentials() }, headers),
      400,
      'invalid_request',
    );
    const malformed = { authorization: 'Basic !' };
    await refused(
      await fixture.requestToken({ ...grant, ...credentials() }, malformed),
      400,
      'invalid_request',
    );
  });

  test.each<[string, () => { body?: Record<string, string>; headers?: Record<string, string> }]>([
    ['none', () => ({})],
    ['an id alone', () => ({ body: { client_id: 'dev-1' } })],
    ['a secret alone', () => ({ body: { client_secret: client.client_secret } })],
    ['a wrong secret', () => ({ body: { client_id: 'dev-1', client_secret: 'wrong' } })],
    ['an unknown client', () => ({ body: { client_id: 'dev-2', client_secret: client.client_secret } })],
    ['the id in another case', () => ({ body: { ...credentials(), client_id: 'DEV-1' } })],
    ['an id that looks alike', () => ({ body: { ...credentials(), client_id: 'dev‐1' } })],
    ['an id with NUL behind', () => ({ body: { ...credentials(), client_id: 'dev-1\u0000' } })],
    ['an id with a space behind', () => ({ body: { ...credentials(), client_id: 'dev-1 ' } })],
    ['SQL for an id', () => ({ body: { ...credentials(), client_id: "' OR '1'='1" } })],
    ['SQL for a secret', () => ({ body: { client_id: 'dev-1', client_secret: "' OR 1=1 --" } })],
    ['an id of 60,000 characters', () => ({ body: { ...credentials(), client_id: 'x'.repeat(60_000) } })],
    [
      'the secret without its last character',
      () => ({ body: { ...credentials(), client_secret: client.client_secret.slice(0, -1) } }),
    ],
    ['Basic with a wrong secret', () => ({ headers: basic('dev-1', 'wrong') })],
    ['Basic with an unknown client', () => ({ headers: basic('dev-2', client.client_secret) })],
    ['Basic with nothing', () => ({ headers: { authorization: 'Basic' } })],
    ['Basic that is not base64', () => ({ headers: { authorization: 'Basic dev-1:secret' } })],
    ['Basic without a colon', () => ({ headers: { authorization: `Basic ${btoa('dev-1')}` } })],
    ['Basic with a stray percent sign', () => ({ headers: { authorization: `Basic ${btoa('dev-1:%')}` } })],
    ['Basic that is not UTF-8', () => ({ headers: { authorization: `Basic ${btoa('dev-1:\xff')}` } })],
    ['Bearer', () => ({ headers: { authorization: `Bearer ${client.client_secret}` } })],
    ['Digest', () => ({ headers: { authorization: 'Digest username="dev-1"' } })],
  ])('by %s is 401 invalid_client with a challenge', async (_name, made) => {
    const { body = {}, headers = {} } = made();
    const response = await fixture.requestToken({ ...grant, ...body }, headers);
    expect(response.headers.get('www-authenticate')).toMatch(/^Basic realm=/);
    await refused(response, 401, 'invalid_client');
  });

  test('is answered the same for an unknown client and a wrong secret', async () => {
    const seen = await Promise.all(
      ['dev-1', 'nobody'].map(async (client_id) => {
        const response = await fixture.requestToken({ ...grant, client_id, client_secret: 'wrong' });
        const headers = new Headers(response.headers);
        headers.delete('date');
        return { status: response.status, headers: Object.fromEntries(headers), body: await response.text() };
      }),
    );
    expect(seen[0]).toEqual(seen[1]);
  });

  test('fails for a deleted client, and for its old secret once the id is registered again', async () => {
    expect((await fixture.call('DELETE', '/v1/clients/dev-1')).status).toBe(204);
    await refused(await fixture.tokenFor(client), 401, 'invalid_client');
    await fixture.register({ client_id: 'dev-1' });
    await refused(await fixture.tokenFor(client), 401, 'invalid_client');
  });
});
