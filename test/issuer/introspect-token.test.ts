import { decodeJwt } from 'jose';
import * as oauth from 'oauth4webapi';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { otherConnection, rowsOf } from '../support/database.ts';
import {
  adminKey,
  basic,
  form,
  type IssuerFixture,
  issuerFixture,
  json,
  type RegisteredClient,
} from '../support/issuer-fixture.ts';

let nowMs: number;
let fixture: IssuerFixture;
let client: RegisteredClient;
let token: string;

beforeEach(async () => {
  nowMs = 1_800_000_000_400;
  fixture = await issuerFixture({ now: () => nowMs });
  client = await fixture.register({ client_id: 'a', scope: 'x y', audience: ['mqtt', 'api'] });
  token = await tokenFor(client);
});

async function tokenFor(of: RegisteredClient, more: Record<string, string> = {}): Promise<string> {
  return ((await (await fixture.tokenFor(of, more)).json()) as { access_token: string }).access_token;
}

const ask = (
  body: Record<string, string> | string,
  headers: Record<string, string> = {},
  path = '/oauth/introspect',
) =>
  fetch(`${fixture.issuer.url}${path}`, {
    method: 'POST',
    headers,
    body: typeof body === 'string' ? body : new URLSearchParams(body),
  });
const credentials = ({ client_id, client_secret }: RegisteredClient) => ({ client_id, client_secret });

/** What `of` is answered about `text`. */
async function introspected(of: RegisteredClient, text: string): Promise<unknown> {
  const response = await ask({ ...credentials(of), token: text });
  expect(response.status).toBe(200);
  return response.json();
}
const inactive = { active: false };
const activeAnswer = () => {
  const { client_id, scope, exp, iat, nbf, sub, aud, iss, jti } = decodeJwt(token);
  return { active: true, token_type: 'Bearer', client_id, scope, exp, iat, nbf, sub, aud, iss, jti };
};
async function audit(): Promise<(string | null)[][]> {
  const rows = await rowsOf<{
    actor: string;
    target: string | null;
    result: string;
    token_id: string | null;
  }>(fixture.database, "SELECT * FROM audit WHERE action = 'token.introspect' ORDER BY sequence");
  return rows.map(({ actor, target, result, token_id }) => [actor, target, result, token_id]);
}

describe('a client sees its own token', () => {
  test.each<[string, () => Promise<Response>]>([
    ['with Basic', () => ask({ token }, basic(client.client_id, client.client_secret))],
    ['with the secret in the form', () => ask({ ...credentials(client), token })],
    ['in JSON', () => ask(JSON.stringify({ ...credentials(client), token }), json)],
    [
      "in the guide's spelling",
      () => ask(JSON.stringify({ clientId: 'a', clientSecret: client.client_secret, token }), json),
    ],
    ['with a hint', () => ask({ ...credentials(client), token, token_type_hint: 'access_token' })],
    ['with a wrong hint', () => ask({ ...credentials(client), token, token_type_hint: 'refresh_token' })],
    ["at SuperTokens' path", () => ask({ ...credentials(client), token }, {}, '/auth/oauth/introspect')],
  ])('%s', async (_name, made) => {
    const response = await made();
    expect([response.status, await response.json()]).toEqual([200, activeAnswer()]);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('pragma')).toBe('no-cache');
    expect(response.headers.get('content-type')).toMatch(/^application\/json/);
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
  });

  test('without a scope when the token has none', async () => {
    const lone = await fixture.register({ client_id: 'lone' });
    const answer = await introspected(lone, await tokenFor(lone));
    expect(answer).toMatchObject({ active: true, client_id: 'lone' });
    expect(answer).not.toHaveProperty('scope');
  });

  test('again and again, and the audit does not grow by it', async () => {
    for (let i = 0; i < 3; i += 1) expect(await introspected(client, token)).toEqual(activeAnswer());
    expect(await audit()).toEqual([]);
  });

  test('when a library of the field finds the endpoint by the metadata', async () => {
    const issuer = new URL(fixture.issuer.url);
    const insecure = { [oauth.allowInsecureRequests]: true };
    const discovery = await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oauth2' });
    const server = await oauth.processDiscoveryResponse(issuer, discovery);
    const authentication = oauth.ClientSecretBasic(client.client_secret);
    const as = { client_id: 'a' };
    const response = await oauth.introspectionRequest(server, as, authentication, token, insecure);
    expect(await oauth.processIntrospectionResponse(server, as, response)).toEqual(activeAnswer());
  });
});

describe('of a token of another client', () => {
  const introspect = { scope: 'fleetgate.introspect' };

  test.each<[string, Record<string, unknown>, boolean]>([
    ['one without fleetgate.introspect sees nothing', { audience: ['mqtt'] }, false],
    ['one with it and an audience of the token sees it', { ...introspect, audience: ['api'] }, true],
    ['one with the default audience sees what is for that', introspect, true],
    ['one with an audience more too', { ...introspect, audience: ['other', 'mqtt'] }, true],
    ['one with another audience does not', { ...introspect, audience: ['other'] }, false],
    ['nor with one that only begins alike', { ...introspect, audience: ['mqtt2', 'ap'] }, false],
    ['one whose scope is among others does', { scope: 'a fleetgate.introspect b', audience: ['api'] }, true],
    ['one whose scope only begins alike does not', { scope: 'fleetgate.introspection' }, false],
    ['nor one with another scope of the issuer', { scope: 'fleetgate.revocations' }, false],
    ['nor one in another case', { scope: 'Fleetgate.Introspect' }, false],
    ['nor one with it as a topic', { scope: 'mqtt:publish:fleetgate.introspect' }, false],
    ['nor one in the same group', { group: 'g' }, false],
  ])('%s', async (_rule, registration, sees) => {
    const other = await fixture.register({ client_id: 'other', ...registration });
    expect(await introspected(other, token)).toEqual(sees ? activeAnswer() : inactive);
  });

  test('what is narrowed to another audience is not seen', async () => {
    const api = await fixture.register({ client_id: 'api', ...introspect, audience: ['api'] });
    expect(await introspected(api, await tokenFor(client, { audience: 'api' }))).toHaveProperty(
      'active',
      true,
    );
    expect(await introspected(api, await tokenFor(client, { audience: 'mqtt' }))).toEqual(inactive);
  });
});

const corrupt = (part: 0 | 1 | 2, text: string) =>
  token
    .split('.')
    .map((one, index) => (index === part ? text : one))
    .join('.');
const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('is inactive and nothing more', () => {
  test.each<[string, () => string | Promise<string>]>([
    ['what is no token', () => 'nonsense'],
    ['a token with NUL in it', () => token.replace('.', '\0.')],
    ['a token with a line break behind it', () => `${token}\n`],
    ['a token of 8,193 characters', () => `${token}${'A'.repeat(8193 - token.length)}`],
    ['one of 60,000', () => 'A'.repeat(60_000)],
    ['an unsigned token', () => `${encoded({ alg: 'none', typ: 'at+jwt' })}.${token.split('.')[1]}.`],
    ['one of an unknown key', () => corrupt(0, encoded({ alg: 'ES256', kid: 'other', typ: 'at+jwt' }))],
    ['one without a kid', () => corrupt(0, encoded({ alg: 'ES256', typ: 'at+jwt' }))],
    ['one with other claims', () => corrupt(1, encoded({ ...decodeJwt(token), scope: 'admin' }))],
    ['one with another signature', () => corrupt(2, 'A'.repeat(86))],
    ['the secret of the client', () => client.client_secret],
    ['the admin key', () => adminKey],
    [
      'an expired token',
      () => {
        nowMs += 900_000;
        return token;
      },
    ],
    [
      'one that is not valid yet',
      () => {
        nowMs -= 60_000;
        return token;
      },
    ],
    [
      'one its client has revoked',
      async () => {
        await ask({ ...credentials(client), token }, {}, '/oauth/revoke');
        return token;
      },
    ],
    [
      'one of which all of the client were revoked',
      async () => {
        await fixture.call('POST', '/v1/revocations', { kind: 'client', client_id: 'a' });
        return token;
      },
    ],
  ])('%s', async (_name, made) => {
    const text = await made();
    const observer = await fixture.register({ client_id: 'observer', scope: 'fleetgate.introspect' });
    expect(await introspected(client, text)).toEqual(inactive);
    expect(await introspected(observer, text)).toEqual(inactive);
    expect(await audit()).toEqual([]);
  });

  test('a token of a client that was deleted, also once its id is registered again', async () => {
    const observer = await fixture.register({ client_id: 'observer', scope: 'fleetgate.introspect' });
    expect(await introspected(observer, token)).toHaveProperty('active', true);
    await fixture.call('DELETE', '/v1/clients/a');
    expect(await introspected(observer, token)).toEqual(inactive);
    expect(await introspected(await fixture.register({ client_id: 'a' }), token)).toEqual(inactive);
  });

  test('a token of another issuer, and one by these keys under another URL', async () => {
    const elsewhere = await issuerFixture({ now: () => nowMs });
    const foreign = await elsewhere.tokenFor(await elsewhere.register({ client_id: 'a' }));
    const { access_token } = (await foreign.json()) as { access_token: string };
    expect(await introspected(client, access_token)).toEqual(inactive);
    const { startIssuer } = await import('@fleetgate/issuer');
    const other = await startIssuer({
      database: fixture.database,
      keyEncryptionKeyFile: fixture.keyFile,
      now: () => nowMs,
      http: { host: '127.0.0.1', port: 0 },
      url: 'https://other.example.com',
    });
    onTestFinished(() => other.close());
    const response = await fetch(`http://127.0.0.1:${other.port}/oauth/introspect`, {
      method: 'POST',
      body: new URLSearchParams({ ...credentials(client), token }),
    });
    expect([response.status, await response.json()]).toEqual([200, inactive]);
  });
});

describe('is refused', () => {
  test.each<[string, () => Promise<Response>, number, string, (string | null)[]]>([
    ['nobody', () => ask({ token }), 401, 'invalid_client', ['anonymous', null]],
    [
      'who holds the token and nothing else',
      () => ask({ token }, { authorization: `Bearer ${token}` }),
      401,
      'invalid_client',
      ['anonymous', null],
    ],
    [
      'a wrong secret',
      () => ask({ client_id: 'a', client_secret: 'wrong', token }),
      401,
      'invalid_client',
      ['client:a', 'a'],
    ],
    [
      'an unknown client',
      () => ask({ client_id: 'nobody', client_secret: 'x', token }),
      401,
      'invalid_client',
      ['client:nobody', 'nobody'],
    ],
    [
      'two authentications',
      () => ask({ ...credentials(client), token }, basic('a', client.client_secret)),
      400,
      'invalid_request',
      ['client:a', 'a'],
    ],
    ['no token', () => ask(credentials(client)), 400, 'invalid_request', ['client:a', 'a']],
    [
      'an empty token',
      () => ask({ ...credentials(client), token: '' }),
      400,
      'invalid_request',
      ['client:a', 'a'],
    ],
    [
      'a token given twice',
      () => ask(`client_id=a&client_secret=${client.client_secret}&token=x&token=y`, form),
      400,
      'invalid_request',
      ['anonymous', null],
    ],
    [
      'a token that is a list',
      () => ask(JSON.stringify({ ...credentials(client), token: [token] }), json),
      400,
      'invalid_request',
      ['anonymous', null],
    ],
    [
      'a token in the query',
      () => ask(credentials(client), {}, `/oauth/introspect?token=${token}`),
      400,
      'invalid_request',
      ['anonymous', null],
    ],
  ])('%s', async (_name, made, status, error, [actor, target]) => {
    const response = await made();
    expect([response.status, await response.json()]).toMatchObject([status, { error }]);
    expect(response.headers.get('cache-control')).toBe('no-store');
    if (status === 401) expect(response.headers.get('www-authenticate')).toMatch(/^Basic /);
    expect(await audit()).toEqual([[actor, target, error, null]]);
  });

  test('GET, with 405', async () => {
    const response = await fetch(`${fixture.issuer.url}/oauth/introspect?token=${token}`);
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST']);
  });

  test('who asks while the registry is away, with 503 and not as inactive', async () => {
    const other = await otherConnection(fixture.database);
    await other.execute('ALTER TABLE revocations RENAME TO away');
    const response = await ask({ ...credentials(client), token });
    expect([response.status, await response.json()]).toMatchObject([
      503,
      { error: 'temporarily_unavailable' },
    ]);
    await other.execute('ALTER TABLE away RENAME TO revocations');
    expect(await introspected(client, token)).toEqual(activeAnswer());
  });
});

test.each(['ES256', 'EdDSA', 'RS256'] as const)('a token signed by %s is known', async (signingAlgorithm) => {
  fixture = await issuerFixture({ signingAlgorithm });
  const own = await fixture.register({ client_id: 'a' });
  expect(await introspected(own, await tokenFor(own))).toHaveProperty('active', true);
});
