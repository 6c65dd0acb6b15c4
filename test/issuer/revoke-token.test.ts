import * as oauth from 'oauth4webapi';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { otherConnection, rowsOf } from '../support/database.ts';
import {
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
  client = await fixture.register({ client_id: 'a' });
  token = await tokenFor(client);
});

async function tokenFor(of: RegisteredClient): Promise<string> {
  return ((await (await fixture.tokenFor(of)).json()) as { access_token: string }).access_token;
}
const claimsOf = (text: string) =>
  JSON.parse(Buffer.from(text.split('.')[1] as string, 'base64url').toString());

const post = (
  body: Record<string, string> | string,
  headers: Record<string, string> = {},
  path = '/oauth/revoke',
) =>
  fetch(`${fixture.issuer.url}${path}`, {
    method: 'POST',
    headers,
    body: typeof body === 'string' ? body : new URLSearchParams(body),
  });
const credentials = ({ client_id, client_secret }: RegisteredClient) => ({ client_id, client_secret });
const revoked = async () =>
  (
    (await (await fixture.call('GET', '/v1/revocations')).json()) as {
      revocations: Record<string, unknown>[];
    }
  ).revocations;
async function audit(): Promise<(string | null)[][]> {
  const rows = await rowsOf<{
    actor: string;
    target: string | null;
    result: string;
    token_id: string | null;
  }>(fixture.database, "SELECT * FROM audit WHERE action = 'token.revoke' ORDER BY sequence");
  return rows.map(({ actor, target, result, token_id }) => [actor, target, result, token_id]);
}

test.each<[string, () => Promise<Response>]>([
  ['with Basic', () => post({ token }, basic(client.client_id, client.client_secret))],
  ['with the secret in the form', () => post({ ...credentials(client), token })],
  ['in JSON', () => post(JSON.stringify({ ...credentials(client), token }), json)],
  [
    "in the guide's spelling",
    () => post(JSON.stringify({ clientId: 'a', clientSecret: client.client_secret, token }), json),
  ],
  ['with a hint', () => post({ ...credentials(client), token, token_type_hint: 'access_token' })],
  [
    'with a hint that is none',
    () => post({ ...credentials(client), token, token_type_hint: 'refresh_token' }),
  ],
  ["at SuperTokens' path", () => post({ ...credentials(client), token }, {}, '/auth/oauth/revoke')],
])('a client ends its own token %s, kept until the token has expired everywhere', async (_name, ask) => {
  const response = await ask();
  expect([response.status, await response.text()]).toEqual([200, '']);
  expect(response.headers.get('cache-control')).toBe('no-store');
  const { jti, exp } = claimsOf(token);
  expect(await revoked()).toMatchObject([{ kind: 'token', jti, expires_at: exp + 300 }]);
  expect(await audit()).toEqual([['client:a', 'a', 'ok', jti]]);
});

test('a library of the field finds the endpoint by the metadata and revokes', async () => {
  const issuer = new URL(fixture.issuer.url);
  const options = { [oauth.allowInsecureRequests]: true };
  const server = await oauth.processDiscoveryResponse(
    issuer,
    await oauth.discoveryRequest(issuer, { ...options, algorithm: 'oauth2' }),
  );
  const authentication = oauth.ClientSecretBasic(client.client_secret);
  const response = await oauth.revocationRequest(server, { client_id: 'a' }, authentication, token, options);
  expect(await oauth.processRevocationResponse(response)).toBeUndefined();
  expect(await revoked()).toHaveLength(1);
});

test('a token that was ended is the same answer again, and recorded as such', async () => {
  for (let i = 0; i < 2; i += 1) expect((await post({ ...credentials(client), token })).status).toBe(200);
  expect(await revoked()).toHaveLength(1);
  const { jti } = claimsOf(token);
  expect(await audit()).toEqual([
    ['client:a', 'a', 'ok', jti],
    ['client:a', 'a', 'revoked_already', jti],
  ]);
});

const signature = () => token.split('.')[2] as string;
const unsigned = (header: object, claims = claimsOf(token)) =>
  [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');

describe('is 200 and nothing done for', () => {
  test.each<[string, () => Promise<string> | string, string]>([
    [
      "another client's token",
      async () => tokenFor(await fixture.register({ client_id: 'b' })),
      'token_foreign',
    ],
    ['what is no token', () => 'nonsense', 'token_malformed'],
    ['what is too long', () => 'x'.repeat(9000), 'token_too_long'],
    ['an unsigned token', () => `${unsigned({ alg: 'none', typ: 'at+jwt' })}.`, 'token_malformed'],
    [
      'a token with another algorithm in it',
      () =>
        `${unsigned({ alg: 'none', kid: fixture.issuer.jwks().keys[0]?.kid, typ: 'at+jwt' })}.${signature()}`,
      'token_key_unknown',
    ],
    [
      'a token that says another thing than was signed',
      () => {
        const [header, , end] = token.split('.');
        const claims = Buffer.from(JSON.stringify({ ...claimsOf(token), jti: 'other' })).toString(
          'base64url',
        );
        return `${header}.${claims}.${end}`;
      },
      'token_signature_invalid',
    ],
    ['a token with bits changed that mean nothing', () => alteredUnusedBits(token), 'token_malformed'],
    ['a token with a line break behind it', () => `${token}\n`, 'token_malformed'],
    [
      'an expired token',
      () => {
        nowMs += 900_000;
        return token;
      },
      'token_expired',
    ],
  ])('%s', async (_name, other, result) => {
    const response = await post({ ...credentials(client), token: await other() });
    expect([response.status, await response.text()]).toEqual([200, '']);
    expect(await revoked()).toEqual([]);
    expect(await audit()).toEqual([['client:a', 'a', result, null]]);
  });
});

/** A signature of 64 bytes takes 86 characters, of whose last only two bits mean anything. */
function alteredUnusedBits(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const last = alphabet.indexOf(text.at(-1) as string);
  const altered = text.slice(0, -1) + alphabet[last ^ 1];
  expect(Buffer.from(altered.split('.')[2] as string, 'base64url')).toEqual(
    Buffer.from(signature(), 'base64url'),
  );
  return altered;
}

describe('is refused', () => {
  test.each<[string, () => Promise<Response>, number, string, (string | null)[]]>([
    ['nobody', () => post({ token }), 401, 'invalid_client', ['anonymous', null]],
    [
      'a wrong secret',
      () => post({ client_id: 'a', client_secret: 'wrong', token }),
      401,
      'invalid_client',
      ['client:a', 'a'],
    ],
    [
      'an unknown client',
      () => post({ client_id: 'nobody', client_secret: 'x', token }),
      401,
      'invalid_client',
      ['client:nobody', 'nobody'],
    ],
    [
      'two authentications',
      () => post({ ...credentials(client), token }, basic('a', client.client_secret)),
      400,
      'invalid_request',
      ['client:a', 'a'],
    ],
    ['no token', () => post(credentials(client)), 400, 'invalid_request', ['client:a', 'a']],
    [
      'a token given twice',
      () => post(`client_id=a&client_secret=${client.client_secret}&token=x&token=y`, form),
      400,
      'invalid_request',
      ['anonymous', null],
    ],
    [
      'a token in the query',
      () => post(credentials(client), {}, `/oauth/revoke?token=${token}`),
      400,
      'invalid_request',
      ['anonymous', null],
    ],
  ])('%s', async (_name, ask, status, error, [actor, target]) => {
    const response = await ask();
    expect([response.status, await response.json()]).toMatchObject([status, { error }]);
    if (status === 401) expect(response.headers.get('www-authenticate')).toMatch(/^Basic /);
    expect(await revoked()).toEqual([]);
    expect(await audit()).toEqual([[actor, target, error, null]]);
  });

  test('GET, with 405', async () => {
    expect((await fetch(`${fixture.issuer.url}/oauth/revoke`)).status).toBe(405);
  });

  test('what cannot be recorded, with 503', async () => {
    const other = await otherConnection(fixture.database);
    await other.holdTurn();
    const response = await post({ ...credentials(client), token });
    expect([response.status, await response.json()]).toMatchObject([
      503,
      { error: 'temporarily_unavailable' },
    ]);
    await other.letGo();
    expect(await revoked()).toEqual([]);
  });
});

test.each(['ES256', 'EdDSA', 'RS256'] as const)(
  'a token signed by %s is known again',
  async (signingAlgorithm) => {
    fixture = await issuerFixture({ signingAlgorithm });
    const other = await fixture.register({ client_id: 'a' });
    const own = await tokenFor(other);
    await post({ ...credentials(other), token: own });
    expect(await revoked()).toMatchObject([{ jti: claimsOf(own).jti }]);
  },
);

test('a token signed by these keys under another URL is none of this issuer', async () => {
  const { startIssuer } = await import('@fleetgate/issuer');
  const options = {
    database: fixture.database,
    keyEncryptionKeyFile: fixture.keyFile,
    now: () => nowMs,
  };
  const other = await startIssuer({
    ...options,
    http: { host: '127.0.0.1', port: 0 },
    url: 'https://other.example.com',
  });
  onTestFinished(() => other.close());
  const response = await fetch(`http://127.0.0.1:${other.port}/oauth/revoke`, {
    method: 'POST',
    body: new URLSearchParams({ ...credentials(client), token }),
  });
  expect(response.status).toBe(200);
  expect(await audit()).toEqual([['client:a', 'a', 'token_issuer_unknown', null]]);
});
