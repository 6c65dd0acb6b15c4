import { beforeEach, describe, expect, test } from 'vitest';
import { type IssuerFixture, issuerFixture, type RegisteredClient } from '../support/issuer-fixture.ts';

let fixture: IssuerFixture;
beforeEach(async () => {
  fixture = await issuerFixture();
});

const create = async (body: unknown, path = '/recipe/oauth/clients') => {
  const response = await fixture.call('POST', path, body);
  const text = await response.text();
  return { status: response.status, text, body: text.startsWith('{') ? JSON.parse(text) : {} };
};
const tokenFor = ({ clientId, clientSecret }: { clientId: string; clientSecret: string }) =>
  fixture.tokenFor({ client_id: clientId, client_secret: clientSecret } as RegisteredClient);

const defaults = {
  status: 'OK',
  clientName: '',
  scope: '',
  redirectUris: null,
  enableRefreshTokenRotation: false,
  authorizationCodeGrantAccessTokenLifespan: null,
  authorizationCodeGrantIdTokenLifespan: null,
  authorizationCodeGrantRefreshTokenLifespan: null,
  clientCredentialsGrantAccessTokenLifespan: null,
  implicitGrantAccessTokenLifespan: null,
  implicitGrantIdTokenLifespan: null,
  refreshTokenGrantAccessTokenLifespan: null,
  refreshTokenGrantIdTokenLifespan: null,
  refreshTokenGrantRefreshTokenLifespan: null,
  tokenEndpointAuthMethod: 'client_secret_basic',
  clientUri: '',
  allowedCorsOrigins: [],
  audience: [],
  grantTypes: ['client_credentials'],
  responseTypes: null,
  logoUri: '',
  policyUri: '',
  tosUri: '',
  metadata: {},
};

test('an empty object makes a client, answered with exactly the documented fields', async () => {
  const { status, body } = await create({});
  expect(status).toBe(200);
  expect(body).toEqual({
    ...defaults,
    clientId: expect.stringMatching(/^stcl_[0-9a-f-]{36}$/),
    clientSecret: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
    createdAt: expect.stringMatching(/Z$/),
    updatedAt: expect.stringMatching(/Z$/),
  });
  expect((await tokenFor(body)).status).toBe(200);
});

test('what is given is kept, also what client credentials do not use', async () => {
  const given = {
    clientId: 'calendar',
    clientName: 'Calendar',
    scope: 'event.create event.view',
    audience: ['api'],
    grantTypes: ['client_credentials', 'authorization_code'],
    tokenEndpointAuthMethod: 'client_secret_post',
    metadata: { team: 'x' },
    clientCredentialsGrantAccessTokenLifespan: '30m',
    redirectUris: ['https://example.com/callback'],
    enableRefreshTokenRotation: true,
    clientUri: 'https://example.com',
    allowedCorsOrigins: ['https://example.com'],
    responseTypes: ['code'],
    refreshTokenGrantIdTokenLifespan: '1h',
  };
  const { body } = await create(given);
  expect(body).toMatchObject({ ...defaults, ...given });
  const token = (await (await tokenFor(body)).json()) as Record<string, unknown>;
  expect(token).toMatchObject({ expires_in: 1800, scope: 'event.create event.view' });
});

test('a trailing slash is tolerated', async () => {
  expect((await create({}, '/recipe/oauth/clients/')).body).toMatchObject({ status: 'OK' });
});

test.each([
  ['1h', 3600],
  ['30m', 1800],
  ['90s', 90],
  ['1h30m', 5400],
])('a lifespan of %s is %d seconds', async (lifespan, seconds) => {
  const { body } = await create({ clientCredentialsGrantAccessTokenLifespan: lifespan });
  expect(body).toMatchObject({ clientCredentialsGrantAccessTokenLifespan: lifespan });
  expect(await (await tokenFor(body)).json()).toMatchObject({ expires_in: seconds });
});

describe('malformed input is 400 and text', () => {
  test.each<[string, unknown]>([
    ['not JSON', '{'],
    ['a list', []],
    ['a number for a name', { clientName: 7 }],
    ['text for audiences', { audience: 'api' }],
    ['a lifespan without a unit', { clientCredentialsGrantAccessTokenLifespan: '3600' }],
    ['a lifespan that is a number', { clientCredentialsGrantAccessTokenLifespan: 3600 }],
    ['a lifespan in days', { clientCredentialsGrantAccessTokenLifespan: '1d' }],
    ['an empty lifespan', { clientCredentialsGrantAccessTokenLifespan: '' }],
  ])('%s', async (_name, input) => {
    const { status, text, body } = await create(input);
    expect([status, body]).toEqual([400, {}]);
    expect(text).not.toBe('');
  });
});

describe('what cannot be done is 200 with OAUTH_ERROR', () => {
  test.each<[string, Record<string, unknown>, string, number]>([
    ['an id that is taken', { clientId: 'taken' }, 'invalid_request', 409],
    ['an id that is none', { clientId: 'a/b' }, 'invalid_request', 400],
    ['a malformed scope', { scope: 'a  b' }, 'invalid_scope', 400],
    ['a secret of its own', { clientSecret: 'chosen' }, 'invalid_request', 400],
    [
      'a method that does not exist',
      { tokenEndpointAuthMethod: 'client_secret_jwt' },
      'invalid_request',
      400,
    ],
    ['a lifespan over a day', { clientCredentialsGrantAccessTokenLifespan: '25h' }, 'invalid_request', 400],
  ])('%s', async (_name, input, error, statusCode) => {
    await create({ clientId: 'taken' });
    const { status, body } = await create(input);
    expect(status).toBe(200);
    expect(body).toEqual({ status: 'OAUTH_ERROR', error, errorDescription: expect.any(String), statusCode });
  });
});

test('a client for other grants only gets no token', async () => {
  const { body } = await create({ grantTypes: ['authorization_code'] });
  const response = await tokenFor(body);
  expect([response.status, await response.json()]).toMatchObject([400, { error: 'unauthorized_client' }]);
});
