import { beforeEach, describe, expect, test } from 'vitest';
import { adminKey, type IssuerFixture, issuerFixture } from '../support/issuer-fixture.ts';

let fixture: IssuerFixture;
beforeEach(async () => {
  fixture = await issuerFixture();
});

const answer = async (response: Response) => (await response.json()) as Record<string, unknown>;
async function refused(response: Response, status: number, error: string): Promise<string> {
  const body = await answer(response);
  expect([response.status, body['error']]).toEqual([status, error]);
  const isProblem = response.headers.get('content-type')?.startsWith('application/problem+json');
  expect(body).toEqual({
    error,
    error_description: expect.stringMatching(/./),
    ...(isProblem && {
      type: `urn:fleetgate:error:${error}`,
      title: expect.stringMatching(/^[A-Z][a-z ]+$/),
      status,
      detail: body['error_description'],
      code: error,
    }),
  });
  expect(isProblem).toBe(response.url.startsWith(`${fixture.admin}/v1/`));
  return String(body['error_description']);
}
const create = (body: unknown) => fixture.call('POST', '/v1/clients', body);

describe('the admin key', () => {
  test.each<[string, Record<string, string>]>([
    ['in api-key', { 'api-key': adminKey }],
    ['as a bearer', { authorization: `Bearer ${adminKey}` }],
    ['as a bearer in any case', { authorization: `bEaReR ${adminKey}` }],
  ])('is taken %s', async (_name, headers) => {
    expect((await fixture.call('GET', '/v1/clients', undefined, headers)).status).toBe(200);
  });

  test.each<[string, Record<string, string>]>([
    ['none', {}],
    ['empty', { 'api-key': '' }],
    ['wrong', { 'api-key': `${adminKey}x` }],
    ['a prefix', { 'api-key': adminKey.slice(0, -1) }],
    ['Basic', { authorization: `Basic ${btoa(`admin:${adminKey}`)}` }],
    ['wrong in api-key and right as a bearer', { 'api-key': 'x', authorization: `Bearer ${adminKey}` }],
  ])('%s is refused everywhere, on unknown paths and before the body is read too', async (_name, headers) => {
    for (const [method, path] of [
      ['GET', '/v1/clients'],
      ['POST', '/v1/clients'],
      ['DELETE', '/v1/clients/x'],
      ['GET', '/v1/issuer'],
      ['GET', '/v1/nothing'],
      ['PUT', '/v1/clients'],
    ] as const) {
      await refused(
        await fixture.call(method, path, method === 'POST' ? '{' : undefined, headers),
        401,
        'api_key_invalid',
      );
    }
    for (const [method, path] of [
      ['POST', '/recipe/oauth/clients'],
      ['GET', '/recipe/nothing'],
    ] as const) {
      const response = await fixture.call(method, path, undefined, headers);
      expect([response.status, await response.text()]).toEqual([401, 'Invalid API key']);
    }
  });
});

describe('creating a client', () => {
  test('answers 201 with one flat object and its secret', async () => {
    const response = await create({
      client_id: 'sensor-1',
      name: 'Ofen №1',
      scope: 'a mqtt:publish:d/{client_id}/#',
      audience: ['mqtt', 'api'],
      auth_method: 'client_secret_post',
      group: 'plant-7',
      labels: { hw: 'rev-a' },
      metadata: { nested: { list: [1] } },
      token_lifetime_seconds: 60,
    });
    expect(response.status).toBe(201);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('location')).toBe('/v1/clients/sensor-1');
    expect(await answer(response)).toEqual({
      client_id: 'sensor-1',
      name: 'Ofen №1',
      scope: 'a mqtt:publish:d/{client_id}/#',
      audience: ['mqtt', 'api'],
      auth_method: 'client_secret_post',
      group: 'plant-7',
      labels: { hw: 'rev-a' },
      metadata: { nested: { list: [1] } },
      token_lifetime_seconds: 60,
      state: 'active',
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      updated_at: expect.any(String),
      client_secret: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
    });
  });

  test('needs nothing: an id is made, and the defaults are shown', async () => {
    const made = await Promise.all([create({}), create({})].map(async (response) => answer(await response)));
    for (const client of made) {
      expect(client).toMatchObject({ audience: ['mqtt'], auth_method: 'client_secret_basic', scope: '' });
      expect(client['client_id']).toMatch(/^[A-Za-z0-9._-]{1,64}$/);
    }
    expect(made[0]?.['client_id']).not.toBe(made[1]?.['client_id']);
    expect(made[0]?.['client_secret']).not.toBe(made[1]?.['client_secret']);
  });

  test('shows the secret this once', async () => {
    const { client_secret } = await fixture.register({ client_id: 'a' });
    for (const path of ['/v1/clients', '/v1/clients/a']) {
      const text = await (await fixture.call('GET', path)).text();
      expect(text).not.toContain('client_secret"');
      expect(text).not.toContain(client_secret);
    }
  });

  test('under an id that is taken is 409, and the first one stays', async () => {
    const first = await fixture.register({ client_id: 'a', name: 'first' });
    await refused(await create({ client_id: 'a', name: 'second' }), 409, 'registry_conflict');
    expect(await answer(await fixture.call('GET', '/v1/clients/a'))).toMatchObject({ name: 'first' });
    expect((await fixture.tokenFor(first)).status).toBe(200);
  });

  test.each<[string, Record<string, unknown>, string]>([
    ['an empty id', { client_id: '' }, 'invalid_request'],
    ['an id of 65 characters', { client_id: 'x'.repeat(65) }, 'invalid_request'],
    ['an id with a slash', { client_id: 'a/b' }, 'invalid_request'],
    ['an id with a wildcard', { client_id: '+' }, 'invalid_request'],
    ['an id with a line break', { client_id: 'a\n' }, 'invalid_request'],
    ['an id that is a number', { client_id: 7 }, 'invalid_request'],
    ['an id that is null', { client_id: null }, 'invalid_request'],
    ['a group with a slash', { group: 'a/b' }, 'invalid_request'],
    ['a name with a line break', { name: 'a\nb' }, 'invalid_request'],
    ['a name with an escape sequence', { name: '\u001b[2J' }, 'invalid_request'],
    ['a name of 257 characters', { name: 'x'.repeat(257) }, 'invalid_request'],
    ['a malformed scope', { scope: 'a  b' }, 'invalid_scope'],
    ['a scope that is a list', { scope: ['a'] }, 'invalid_request'],
    ['a malformed direct scope', { scope: 'mqtt:publish:a#' }, 'invalid_scope'],
    ['an unknown placeholder', { scope: 'mqtt:publish:{clientid}' }, 'invalid_scope'],
    ['an audience that is text', { audience: 'mqtt' }, 'invalid_request'],
    ['an empty audience', { audience: [''] }, 'invalid_request'],
    ['an audience with a space', { audience: ['a b'] }, 'invalid_request'],
    ['17 audiences', { audience: Array.from({ length: 17 }, String) }, 'invalid_request'],
    ['labels that are not text', { labels: { a: 1 } }, 'invalid_request'],
    ['a label with a line break', { labels: { a: 'x\ny' } }, 'invalid_request'],
    ['a label name with a space', { labels: { 'a b': 'x' } }, 'invalid_request'],
    [
      '65 labels',
      { labels: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`l${i}`, ''])) },
      'invalid_request',
    ],
    ['metadata that is a list', { metadata: [] }, 'invalid_request'],
    ['metadata of 9,000 characters', { metadata: { x: 'y'.repeat(9000) } }, 'invalid_request'],
    ['a lifetime of 0', { token_lifetime_seconds: 0 }, 'invalid_request'],
    ['a negative lifetime', { token_lifetime_seconds: -1 }, 'invalid_request'],
    ['a lifetime that is a fraction', { token_lifetime_seconds: 1.5 }, 'invalid_request'],
    ['a lifetime in text', { token_lifetime_seconds: '900' }, 'invalid_request'],
    ['a lifetime over a day', { token_lifetime_seconds: 86_401 }, 'invalid_request'],
    ['a lifetime of 1e400', JSON.parse('{"token_lifetime_seconds":1e400}'), 'invalid_request'],
    ['a method that does not exist', { auth_method: 'client_secret_jwt' }, 'not_supported'],
    ['no authentication', { auth_method: 'none' }, 'not_supported'],
    ['a method named like a property', { auth_method: 'constructor' }, 'not_supported'],
    ['keys beside a secret', { jwks: { keys: [] } }, 'invalid_request'],
    ['a secret of its own', { client_secret: 'chosen' }, 'invalid_request'],
  ])('with %s is 400, and nothing is created', async (_name, body, error) => {
    await refused(await create(body), 400, error);
    expect(await answer(await fixture.call('GET', '/v1/clients'))).toEqual({ clients: [] });
  });

  test('with an unknown field names the nearest, or all there are', async () => {
    expect(await refused(await create({ scopes: 'a' }), 400, 'invalid_request')).toContain(
      'did you mean scope?',
    );
    expect(await refused(await create({ zzzzzz: 1 }), 400, 'invalid_request')).toContain(
      'token_lifetime_seconds',
    );
  });

  test('by an unsupported method names those that exist', async () => {
    const description = await refused(
      await create({ auth_method: 'client_secret_jwt' }),
      400,
      'not_supported',
    );
    expect(description).toContain('client_secret_basic, client_secret_post');
  });

  test.each([
    ['malformed JSON', '{'],
    ['a list', '[]'],
    ['null', 'null'],
    ['a member twice', '{"client_id":"a","client_id":"b"}'],
    ['a member twice inside', '{"metadata":{"a":1,"a":2}}'],
    ['__proto__', '{"metadata":{"__proto__":{}}}'],
    ['nested 10,000 deep', `{"metadata":{"x":${'['.repeat(10_000)}${']'.repeat(10_000)}}}`],
    ['no body', undefined],
  ])('from %s is 400', async (_name, body) => {
    await refused(await create(body), 400, 'invalid_request');
  });

  test('from a body of 65 KiB is 413, from a form 415', async () => {
    await refused(await create({ name: 'x'.repeat(66_000) }), 413, 'invalid_request');
    const response = await fetch(`${fixture.admin}/v1/clients`, {
      method: 'POST',
      headers: { 'api-key': adminKey },
      body: new URLSearchParams({ client_id: 'a' }),
    });
    await refused(response, 415, 'invalid_request');
  });
});

describe('the list of clients', () => {
  test('comes in pages that follow one another, each client once, and ends without a cursor', async () => {
    const ids = ['b', 'a', 'd', 'c', 'e'];
    for (const client_id of ids) await fixture.register({ client_id });
    const seen: string[] = [];
    let path = '/v1/clients?limit=2';
    for (let pages = 1; ; pages += 1) {
      const page = await answer(await fixture.call('GET', path));
      seen.push(...(page['clients'] as { client_id: string }[]).map(({ client_id }) => client_id));
      if (page['next_cursor'] === undefined) {
        expect(pages).toBe(3);
        break;
      }
      path = `/v1/clients?limit=2&cursor=${page['next_cursor']}`;
    }
    expect(seen).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  test('has no cursor when the last page is full', async () => {
    for (const client_id of ['a', 'b']) await fixture.register({ client_id });
    expect(await answer(await fixture.call('GET', '/v1/clients?limit=2'))).not.toHaveProperty('next_cursor');
  });

  test.each([
    'limit=0',
    'limit=-1',
    'limit=1001',
    'limit=x',
    'limit=1.5',
    'cursor=!',
    'cursor=',
    'limits=1',
    'limit=1&limit=2',
  ])('with %s is 400', async (query) => {
    await refused(await fixture.call('GET', `/v1/clients?${query}`), 400, 'invalid_request');
  });
});

test('one client is shown, an unknown one is 404', async () => {
  await fixture.register({ client_id: 'a', labels: { x: 'y' } });
  expect(await answer(await fixture.call('GET', '/v1/clients/a'))).toMatchObject({
    client_id: 'a',
    labels: { x: 'y' },
  });
  for (const id of ['b', 'A', '%00', 'a%2Fb', "'%20OR%201=1"]) {
    await refused(await fixture.call('GET', `/v1/clients/${id}`), 404, 'client_unknown');
  }
});

test('deleting is 204 once, then 404', async () => {
  await fixture.register({ client_id: 'a' });
  const response = await fixture.call('DELETE', '/v1/clients/a');
  expect([response.status, await response.text()]).toEqual([204, '']);
  await refused(await fixture.call('DELETE', '/v1/clients/a'), 404, 'client_unknown');
  expect((await fixture.call('GET', '/v1/clients/a')).status).toBe(404);
});

test('the issuer is named', async () => {
  expect(await answer(await fixture.call('GET', '/v1/issuer'))).toEqual({ issuer: fixture.issuer.url });
});

test('a method that is not served is 405 with Allow, an unknown path 404', async () => {
  const response = await fixture.call('PUT', '/v1/clients/a');
  expect(response.headers.get('allow')).toBe('GET, PATCH, DELETE, HEAD');
  await refused(response, 405, 'invalid_request');
  await refused(await fixture.call('GET', '/v1/nothing'), 404, 'invalid_request');
});

test('the admin API is not on the public listener', async () => {
  for (const path of ['/v1/clients', '/recipe/oauth/clients']) {
    const response = await fetch(`${fixture.issuer.url}${path}`, { headers: { 'api-key': adminKey } });
    await refused(response, 404, 'invalid_request');
  }
});
