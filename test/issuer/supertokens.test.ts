import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { type AppFixture, createApp, defaultApp } from '../support/app-fixture.ts';
import { adminKey, hasApps, issuerFixture, json, type RegisteredClient } from '../support/issuer-fixture.ts';

let app: AppFixture;

const ask = async (method: string, path: string, body?: unknown) => {
  const response = await app.call(method, path, body);
  const text = await response.text();
  return { status: response.status, text, body: text.startsWith('{') ? JSON.parse(text) : {} };
};
const create = (body: unknown, path = '/recipe/oauth/clients') => ask('POST', path, body);
const show = (clientId: string) => ask('GET', `/recipe/oauth/clients?${new URLSearchParams({ clientId })}`);
const list = (query: Record<string, string> = {}) =>
  ask('GET', `/recipe/oauth/clients/list?${new URLSearchParams(query)}`);
const tokenFor = ({ clientId, clientSecret }: { clientId: string; clientSecret: string }) =>
  app.tokenFor({ client_id: clientId, client_secret: clientSecret } as RegisteredClient);

/** The fields of a client as SuperTokens documents them, with the values they have where nothing was given. */
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

const times = { createdAt: expect.stringMatching(/Z$/), updatedAt: expect.stringMatching(/Z$/) };

describe.each(hasApps ? ['', '/appid-x'] : [''])('at %j', (prefix) => {
  beforeEach(async () => {
    const fixture = await issuerFixture();
    app = prefix === '' ? defaultApp(fixture, adminKey) : await createApp(fixture, 'x');
  });

  test('an empty object makes a client, answered with exactly the documented fields', async () => {
    const { status, body } = await create({});
    expect(status).toBe(200);
    expect(body).toEqual({
      ...defaults,
      clientId: expect.stringMatching(/^stcl_[0-9a-f-]{36}$/),
      clientSecret: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
      ...times,
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
      ['a secret a person made up', { clientSecret: 'chosen' }, 'invalid_request', 400],
      ['more than is kept', { logoUri: 'x'.repeat(9000) }, 'invalid_request', 400],
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
      expect(body).toEqual({
        status: 'OAUTH_ERROR',
        error,
        errorDescription: expect.any(String),
        statusCode,
      });
    });
  });

  test('a client may bring the random secret it has', async () => {
    const clientSecret = randomBytes(20).toString('base64url').slice(0, 26);
    const { body } = await create({ clientId: 'a', clientSecret });
    expect(body).toMatchObject({ status: 'OK', clientSecret });
    expect((await tokenFor(body)).status).toBe(200);
    expect((await show('a')).text).not.toContain(clientSecret);
  });

  test('a client for other grants only gets no token', async () => {
    const { body } = await create({ grantTypes: ['authorization_code'] });
    const response = await tokenFor(body);
    expect([response.status, await response.json()]).toMatchObject([400, { error: 'unauthorized_client' }]);
  });

  test('a client is shown with the same fields, but never with its secret', async () => {
    await create({ clientId: 'calendar', clientName: 'Calendar', metadata: { team: 'x' } });
    expect(await show('calendar')).toMatchObject({ status: 200 });
    expect((await show('calendar')).body).toEqual({
      ...defaults,
      clientId: 'calendar',
      clientName: 'Calendar',
      metadata: { team: 'x' },
      ...times,
    });
  });

  test.each(['nobody', 'a/b', '', 'x'.repeat(1000)])(
    'a client %j that is not there is 200 with its status',
    async (id) => {
      const { status, body } = await show(id);
      expect([status, body]).toEqual([200, { status: 'CLIENT_NOT_FOUND_ERROR' }]);
    },
  );

  test('addresses to go to after a logout are echoed where they were given, as SuperTokens does', async () => {
    const postLogoutRedirectUris = ['https://example.com/'];
    expect((await create({ clientId: 'a', postLogoutRedirectUris })).body).toMatchObject({
      postLogoutRedirectUris,
    });
    expect((await show('a')).body).toMatchObject({ postLogoutRedirectUris });
  });

  describe('the list', () => {
    test('is without secrets, and without a token when there is no next page', async () => {
      await create({ clientId: 'a' });
      const { status: _status, ...fields } = defaults;
      expect(await list()).toMatchObject({ status: 200 });
      expect((await list()).body).toEqual({
        status: 'OK',
        clients: [{ ...fields, clientId: 'a', ...times }],
      });
    });

    test('comes in pages, each client once', async () => {
      for (const clientId of ['a', 'b', 'c', 'd', 'e']) await create({ clientId });
      const pages: string[][] = [];
      let pageToken: string | undefined;
      do {
        const { body } = await list({ pageSize: '2', ...(pageToken === undefined ? {} : { pageToken }) });
        pages.push(body.clients.map((client: { clientId: string }) => client.clientId));
        pageToken = body.nextPaginationToken;
      } while (pageToken !== undefined);
      expect(pages).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
    });

    test('is of those with a name, the whole name', async () => {
      for (const clientId of ['a', 'b', 'c']) await create({ clientId, clientName: 'Press' });
      await create({ clientId: 'd', clientName: 'Presses' });
      await create({ clientId: 'e' });
      const ids = async (query: Record<string, string>) =>
        (await list(query)).body.clients.map((client: { clientId: string }) => client.clientId);
      expect(await ids({ clientName: 'Press' })).toEqual(['a', 'b', 'c']);
      expect(await ids({ clientName: 'press' })).toEqual([]);
      expect(await ids({ clientName: '' })).toEqual(['a', 'b', 'c', 'd', 'e']);
      const { nextPaginationToken: pageToken } = (await list({ clientName: 'Press', pageSize: '2' })).body;
      expect(await ids({ clientName: 'Press', pageSize: '2', pageToken })).toEqual(['c']);
    });

    test('takes a page that is larger than any as the largest', async () => {
      await create({ clientId: 'a' });
      expect((await list({ pageSize: '999999999' })).body).toMatchObject({ clients: [{ clientId: 'a' }] });
    });
  });

  describe('a change', () => {
    const change = (body: unknown) => ask('PUT', '/recipe/oauth/clients', body);

    test('replaces what is given, field by field, and leaves the rest', async () => {
      const { body: before } = await create({
        clientId: 'a',
        clientName: 'A',
        scope: 'x y',
        audience: ['one', 'two'],
        metadata: { team: { name: 'x' }, site: 1 },
        redirectUris: ['https://example.com/'],
        clientCredentialsGrantAccessTokenLifespan: '1h',
      });
      const given = {
        scope: 'z',
        audience: ['three'],
        metadata: { team: {} },
        clientCredentialsGrantAccessTokenLifespan: '30m',
        tokenEndpointAuthMethod: 'client_secret_post',
        logoUri: 'https://example.com/logo',
      };
      const { status, body } = await change({ clientId: 'a', ...given });
      const { clientSecret: _secret, ...shown } = before;
      expect([status, body]).toEqual([200, { ...shown, ...given, ...times }]);
      expect((await show('a')).body).toEqual(body);
      const token = (await (await tokenFor(before)).json()) as Record<string, unknown>;
      expect(token).toMatchObject({ expires_in: 1800, scope: 'z' });
    });

    test('by null takes back what a client has that nothing was given for', async () => {
      await create({
        clientId: 'a',
        redirectUris: ['https://example.com/'],
        grantTypes: ['authorization_code'],
        metadata: { team: 'x' },
        clientCredentialsGrantAccessTokenLifespan: '1h',
      });
      const { body } = await change({
        clientId: 'a',
        redirectUris: null,
        grantTypes: null,
        metadata: null,
        clientCredentialsGrantAccessTokenLifespan: null,
      });
      expect(body).toEqual({ ...defaults, clientId: 'a', ...times });
    });

    test('of the secret ends the old one at once, and is answered this once', async () => {
      const { body: before } = await create({ clientId: 'a' });
      const clientSecret = randomBytes(32).toString('base64url');
      const { body } = await change({ clientId: 'a', clientSecret });
      expect(body).toEqual({ ...defaults, clientId: 'a', clientSecret, ...times });
      expect((await tokenFor(before)).status).toBe(401);
      expect((await tokenFor({ clientId: 'a', clientSecret })).status).toBe(200);
      expect((await show('a')).text).not.toContain(clientSecret);
    });

    test('of the lifetime elsewhere is seen here', async () => {
      await create({ clientId: 'a', clientCredentialsGrantAccessTokenLifespan: '1h' });
      const patch = { 'api-key': app.adminKey, 'content-type': 'application/merge-patch+json' };
      const patched = await app.call('PATCH', '/v1/clients/a', { token_lifetime_seconds: 60 }, patch);
      expect(patched.status).toBe(200);
      expect((await show('a')).body).toMatchObject({ clientCredentialsGrantAccessTokenLifespan: '60s' });
    });

    test('of a client that is not there is told', async () => {
      for (const clientId of ['nobody', 'a/b', '']) {
        const { status, body } = await change({ clientId, scope: 'a' });
        expect([status, body]).toEqual([200, { status: 'CLIENT_NOT_FOUND_ERROR' }]);
      }
    });

    test.each<[string, Record<string, unknown>, string]>([
      ['a malformed scope', { scope: 'a  b' }, 'invalid_scope'],
      ['a method that does not exist', { tokenEndpointAuthMethod: 'secret_handshake' }, 'invalid_request'],
      ['a lifespan over a day', { clientCredentialsGrantAccessTokenLifespan: '25h' }, 'invalid_request'],
      ['a secret a person made up', { scope: 'z', clientSecret: 'chosen' }, 'invalid_request'],
    ])('to %s is refused and changes nothing', async (_name, given, error) => {
      await create({ clientId: 'a', scope: 'x' });
      const before = (await show('a')).body;
      expect((await change({ clientId: 'a', ...given })).body).toEqual({
        status: 'OAUTH_ERROR',
        error,
        errorDescription: expect.any(String),
        statusCode: 400,
      });
      expect((await show('a')).body).toEqual(before);
    });
  });

  test('a client that was there is removed, one that was not did not exist', async () => {
    const { body } = await create({ clientId: 'a' });
    expect((await create({ clientId: 'a' }, '/recipe/oauth/clients/remove')).body).toEqual({
      status: 'OK',
      didExist: true,
    });
    expect((await tokenFor(body)).status).toBe(401);
    for (const clientId of ['a', 'a/b', '']) {
      const again = await create({ clientId }, '/recipe/oauth/clients/remove');
      expect([again.status, again.body]).toEqual([200, { status: 'OK', didExist: false }]);
    }
  });

  test('tokens of a client are revoked by its id, spelled client_id', async () => {
    await create({ clientId: 'a' });
    const revoke = (client_id: string) => create({ client_id }, '/recipe/oauth/tokens/revoke');
    expect((await revoke('a')).body).toEqual({ status: 'OK' });
    for (const id of ['b', 'a/b', ''])
      expect((await revoke(id)).body).toEqual({ status: 'CLIENT_NOT_FOUND_ERROR' });
  });

  test('a token is introspected for whoever has a key, with what RFC 7662 says of it', async () => {
    const introspect = (token: string) => ask('POST', '/recipe/oauth/introspect', { token });
    const token = await app.token({ client_id: 'a', scope: 'x y', audience: ['api'] });
    expect((await introspect(token)).body).toEqual({
      status: 'OK',
      active: true,
      client_id: 'a',
      sub: 'a',
      iss: app.url,
      aud: ['api'],
      scope: 'x y',
      token_type: 'Bearer',
      jti: expect.any(String),
      exp: expect.any(Number),
      iat: expect.any(Number),
      nbf: expect.any(Number),
    });
    await create({ client_id: 'a' }, '/recipe/oauth/tokens/revoke');
    for (const bad of [token, 'none', '']) {
      expect((await introspect(bad)).body).toEqual({ status: 'OK', active: false });
    }
    const refused = await app.call('POST', '/recipe/oauth/introspect', { token }, {});
    expect(refused.status).toBe(401);
  });

  test('the key set is there for whoever has no key', async () => {
    const published = await app.call('GET', '/.well-known/jwks.json', undefined, {});
    expect(published.status).toBe(200);
    expect(await published.json()).toEqual(await (await fetch(`${app.url}/.well-known/jwks.json`)).json());
  });

  test('the versions of the driver interface are told to whoever has a key', async () => {
    expect((await ask('GET', '/apiversion?apiDomain=a&websiteDomain=b')).body).toEqual({
      versions: ['5.2', '5.3', '5.4'],
    });
    expect((await app.call('GET', '/apiversion', undefined, {})).status).toBe(401);
  });

  test.each([
    ['api-key', (key: string) => ({ 'api-key': key })],
    ['Authorization: Bearer', (key: string) => ({ authorization: `Bearer ${key}` })],
  ])('the key is taken as %s', async (_name, headers) => {
    const path = '/recipe/oauth/clients/list';
    expect((await app.call('GET', path, undefined, headers(app.adminKey))).status).toBe(200);
    const refused = await app.call('GET', path, undefined, headers('x'.repeat(43)));
    expect([refused.status, await refused.text()]).toEqual([401, 'Invalid API key']);
  });

  test('an auditor may read and a provisioner change; who may not is 403, as text', async () => {
    const [auditor, provisioner] = [await app.apiKey('a', 'auditor'), await app.apiKey('p', 'provisioner')];
    const statuses = (key: string) =>
      Promise.all(
        (
          [
            ['GET', '/apiversion'],
            ['GET', '/recipe/oauth/clients?clientId=a'],
            ['GET', '/recipe/oauth/clients/list'],
            ['POST', '/recipe/oauth/introspect', { token: 'none' }],
            ['POST', '/recipe/oauth/clients', {}],
            ['PUT', '/recipe/oauth/clients', { clientId: 'a' }],
            ['POST', '/recipe/oauth/clients/remove', { clientId: 'a' }],
            ['POST', '/recipe/oauth/tokens/revoke', { client_id: 'a' }],
          ] as const
        ).map(async ([method, path, body]) => {
          const answer = await app.call(method, path, body, { 'api-key': key });
          return answer.status === 200 || /^text/.test(answer.headers.get('content-type') ?? '')
            ? answer.status
            : 'not text';
        }),
      );
    expect(await statuses(auditor)).toEqual([200, 200, 200, 200, 403, 403, 403, 403]);
    expect(await statuses(provisioner)).toEqual(Array(8).fill(200));
  });

  describe('malformed input is told in the words of SuperTokens', () => {
    test.each<[string, string, unknown, string]>([
      ['POST', '/recipe/oauth/clients', '{', 'Invalid Json Input'],
      ['POST', '/recipe/oauth/clients', '[]', 'Invalid Json Input'],
      ['POST', '/recipe/oauth/clients', undefined, 'Invalid Json Input'],
      ['POST', '/recipe/oauth/clients', '{"scope":"a","scope":"b"}', 'Invalid Json Input'],
      ['POST', '/recipe/oauth/clients', { scope: ['a'] }, "Field name 'scope' is invalid in JSON input"],
      ['POST', '/recipe/oauth/clients', { audience: [7] }, "Field name 'audience' is invalid in JSON input"],
      ['POST', '/recipe/oauth/clients/remove', {}, "Field name 'clientId' is invalid in JSON input"],
      [
        'POST',
        '/recipe/oauth/clients/remove',
        { clientId: 7 },
        "Field name 'clientId' is invalid in JSON input",
      ],
      ['POST', '/recipe/oauth/tokens/revoke', {}, "Field name 'client_id' is invalid in JSON input"],
      ['PUT', '/recipe/oauth/clients', {}, "Field name 'clientId' is invalid in JSON input"],
      ['PUT', '/recipe/oauth/clients', '{', 'Invalid Json Input'],
      ['GET', '/recipe/oauth/clients', undefined, "Field name 'clientId' is missing in GET request"],
      [
        'GET',
        '/recipe/oauth/clients/list?pageSize=ten',
        undefined,
        "Field name 'pageSize' must be an int in the GET request",
      ],
      [
        'GET',
        '/recipe/oauth/clients/list?pageSize=0',
        undefined,
        "Field name 'pageSize' must be an int in the GET request",
      ],
      [
        'GET',
        '/recipe/oauth/clients/list?pageToken=%00',
        undefined,
        "Field name 'pageToken' is invalid in GET request",
      ],
    ])('%s %s %j', async (method, path, body, text) => {
      const response = await app.call(method, path, body, { 'api-key': app.adminKey, ...json });
      expect([response.status, await response.text()]).toEqual([400, text]);
      expect(response.headers.get('content-type')).toMatch(/^text\/plain/);
    });
  });

  test.each([
    ['POST', '/recipe/oauth/clients/'],
    ['GET', '/recipe/oauth/clients/list/'],
    ['GET', '/recipe/oauth/clients/?clientId=a'],
    ['PUT', '/recipe/oauth/clients/'],
    ['POST', '/recipe/oauth/clients/remove/'],
    ['POST', '/recipe/oauth/tokens/revoke/'],
    ['GET', '/apiversion/'],
  ])('%s %s is served as without the slash', async (method, path) => {
    const body = method === 'GET' ? undefined : { clientId: 'a', client_id: 'a' };
    expect((await app.call(method, path, body)).status).toBe(200);
  });

  test('what SuperTokens has and this has not is 404, as text', async () => {
    const answer = await ask('POST', '/recipe/oauth/auth', {});
    expect([answer.status, answer.text]).toEqual([404, 'Not found']);
  });
});
