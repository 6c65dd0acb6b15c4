import { pino } from 'pino';
import { beforeEach, describe, expect, test } from 'vitest';
import { otherConnection, rowsOf, storedBytes } from '../support/database.ts';
import { adminKey, type IssuerFixture, issuerFixture } from '../support/issuer-fixture.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

let fixture: IssuerFixture;
let nowMs: number;
beforeEach(async () => {
  // Whole seconds, as expiries are.
  nowMs = Math.floor(Date.now() / 1000) * 1000;
  fixture = await issuerFixture({ now: () => nowMs });
});

type Json = Record<string, unknown>;
const json = async (response: Response) => (await response.json()) as Json;
const post = (path: string, body?: unknown) => fixture.call('POST', `/v1/api-keys${path}`, body);
async function make(name: string, role = 'provisioner', more: Json = {}): Promise<string> {
  const response = await post('', { name, role, ...more });
  expect(response.status).toBe(201);
  return (await json(response))['api_key'] as string;
}
const use = async (apiKey: string, path = '/v1/clients') =>
  (await fixture.call('GET', path, undefined, { 'api-key': apiKey })).status;
const show = async (name: string) => json(await fixture.call('GET', `/v1/api-keys/${name}`));
const at = (ms: number) => new Date(ms).toISOString();
async function refused(response: Response, status: number, code: string): Promise<string> {
  const body = await json(response);
  expect([response.status, body['code']]).toEqual([status, code]);
  return String(body['detail']);
}
async function rows<Row>(sql: string): Promise<Row[]> {
  return rowsOf<Row>(fixture.database, sql);
}
const audited = async () =>
  (
    await rows<Record<string, string | null>>(
      "SELECT actor, action, target, result FROM audit WHERE action NOT IN ('key.activate', 'key.publish') ORDER BY sequence",
    )
  ).map((row) => Object.values(row));

describe('making a key', () => {
  test('answers it this once; kept is its hash', async () => {
    const response = await post('', { name: 'ci', role: 'provisioner' });
    expect([response.status, response.headers.get('location')]).toEqual([201, '/v1/api-keys/ci']);
    const { api_key, ...shown } = await json(response);
    expect(api_key).toMatch(/^fgk_[A-Za-z0-9_-]{43}$/);
    expect(shown).toEqual({ name: 'ci', role: 'provisioner', created_at: at(nowMs), rotated_at: at(nowMs) });
    expect(await show('ci')).toEqual(shown);
    expect(await json(await fixture.call('GET', '/v1/api-keys'))).toEqual({ api_keys: [shown] });
    expect(JSON.stringify(await rows('SELECT * FROM api_keys'))).not.toContain(String(api_key).slice(4));
    expect(await use(api_key as string)).toBe(200);
  });

  test('under a name that is taken, or that of admin.key, is refused', async () => {
    const first = await make('ci');
    await refused(await post('', { name: 'ci', role: 'admin' }), 409, 'registry_conflict');
    await refused(await post('', { name: 'default', role: 'admin' }), 400, 'invalid_request');
    expect(await use(first)).toBe(200);
    expect(await show('ci')).toMatchObject({ role: 'provisioner' });
  });

  test.each<[string, unknown]>([
    ['no name', { role: 'admin' }],
    ['no role', { name: 'a' }],
    ['an unknown role', { name: 'a', role: 'root' }],
    ['a name with a slash', { name: 'a/b', role: 'admin' }],
    ['a name of two lines', { name: 'a\nb', role: 'admin' }],
    ['an expiry in the past', { name: 'a', role: 'admin', expires_at: '2020-01-01T00:00:00Z' }],
    ['an expiry that is a day', { name: 'a', role: 'admin', expires_at: '2099-01-01' }],
    ['an expiry in milliseconds', { name: 'a', role: 'admin', expires_at: 4_000_000_000_000 }],
    ['a key of its own', { name: 'a', role: 'admin', api_key: 'fgk_x' }],
  ])('with %s is 400', async (_name, body) => {
    await refused(await post('', body), 400, 'invalid_request');
    expect(await json(await fixture.call('GET', '/v1/api-keys'))).toEqual({ api_keys: [] });
  });
});

test('a key stands in the audit trail by its name', async () => {
  const apiKey = await make('ci');
  await fixture.call('POST', '/v1/clients', { client_id: 'a' }, { authorization: `Bearer ${apiKey}` });
  await fixture.call('GET', '/v1/api-keys', undefined, { 'api-key': apiKey });
  await post('/ci/rotate');
  await fixture.call('DELETE', '/v1/api-keys/ci');
  await fixture.call('DELETE', '/v1/api-keys/ci');
  await use(apiKey);
  // But for the keys of the start.
  expect((await audited()).filter(([actor]) => actor !== 'issuer')).toEqual([
    ['admin:default', 'api_key.create', 'ci', 'ok'],
    ['admin:ci', 'client.create', 'a', 'ok'],
    ['admin:ci', 'admin.authorize', null, 'role_insufficient'],
    ['admin:default', 'api_key.rotate', 'ci', 'ok'],
    ['admin:default', 'api_key.delete', 'ci', 'ok'],
    ['admin:default', 'api_key.delete', 'ci', 'api_key_unknown'],
    ['anonymous', 'admin.authenticate', null, 'api_key_invalid'],
  ]);
});

test('of keys that are not good 60 a minute are recorded, and all are refused', async () => {
  const provisioner = await make('ci');
  // The start of a minute.
  nowMs = Math.ceil(nowMs / MINUTE_MS) * MINUTE_MS;
  const recorded = async (result: string) => (await audited()).filter((row) => row.at(-1) === result).length;
  for (let i = 0; i < 70; i += 1) expect(await use(`fgk_${i}`)).toBe(401);
  expect(await recorded('api_key_invalid')).toBe(60);
  // Of a good one, which somebody answers for, all.
  for (let i = 0; i < 70; i += 1) expect(await use(provisioner, '/v1/api-keys')).toBe(403);
  expect(await recorded('role_insufficient')).toBe(70);
  nowMs += MINUTE_MS;
  expect(await use('wrong')).toBe(401);
  expect(await recorded('api_key_invalid')).toBe(61);
});

describe('a key that ends', () => {
  test('is taken until its expiry, and then named as expired', async () => {
    const apiKey = await make('ci', 'auditor', { expires_at: at(nowMs + DAY_MS) });
    nowMs += DAY_MS - 1;
    expect(await use(apiKey)).toBe(200);
    nowMs += 1;
    const response = await fixture.call('GET', '/v1/clients', undefined, { 'api-key': apiKey });
    expect(await refused(response, 401, 'api_key_invalid')).toContain("'ci'");
    expect((await audited()).at(-1)).toEqual(['admin:ci', 'admin.authenticate', null, 'api_key_invalid']);
  });

  test('by deletion is refused at once', async () => {
    const apiKey = await make('ci');
    expect((await fixture.call('DELETE', '/v1/api-keys/ci')).status).toBe(204);
    expect(await use(apiKey)).toBe(401);
    await refused(await fixture.call('GET', '/v1/api-keys/ci'), 404, 'api_key_unknown');
    await refused(await fixture.call('DELETE', '/v1/api-keys/ci'), 404, 'api_key_unknown');
  });
});

describe('rotation', () => {
  test('replaces the key at once', async () => {
    const old = await make('ci');
    nowMs += 5;
    const response = await post('/ci/rotate');
    const { api_key, ...shown } = await json(response);
    expect([response.status, shown]).toEqual([
      200,
      { name: 'ci', role: 'provisioner', created_at: at(nowMs - 5), rotated_at: at(nowMs) },
    ]);
    expect([await use(old), await use(api_key as string)]).toEqual([401, 200]);
  });

  test('with an overlap takes both until it ends', async () => {
    const old = await make('ci');
    const { api_key, previous_until } = await json(await post('/ci/rotate', { overlap_seconds: 60 }));
    expect(previous_until).toBe(at(nowMs + MINUTE_MS));
    nowMs += MINUTE_MS - 1;
    expect([await use(old), await use(api_key as string)]).toEqual([200, 200]);
    nowMs += 1;
    expect([await use(old), await use(api_key as string)]).toEqual([401, 200]);
  });

  test('again ends the overlap of the key before', async () => {
    const first = await make('ci');
    const second = (await json(await post('/ci/rotate', { overlap_seconds: 600 })))['api_key'] as string;
    await post('/ci/rotate', { overlap_seconds: 600 });
    expect([await use(first), await use(second)]).toEqual([401, 200]);
  });

  test('never makes the old key last longer than it would have', async () => {
    const old = await make('ci', 'auditor', { expires_at: at(nowMs + MINUTE_MS) });
    await post('/ci/rotate', { overlap_seconds: 600 });
    nowMs += MINUTE_MS;
    expect(await use(old)).toBe(401);
  });

  test('keeps how long a key lasts, unless another expiry is given', async () => {
    await make('ci', 'auditor', { expires_at: at(nowMs + 10 * DAY_MS) });
    nowMs += 11 * DAY_MS;
    expect(await json(await post('/ci/rotate'))).toMatchObject({ expires_at: at(nowMs + 10 * DAY_MS) });
    expect(await json(await post('/ci/rotate', { expires_at: at(nowMs + DAY_MS) }))).toMatchObject({
      expires_at: at(nowMs + DAY_MS),
    });
    nowMs += MINUTE_MS;
    expect(await json(await post('/ci/rotate'))).toMatchObject({ expires_at: at(nowMs + DAY_MS) });
    expect(await json(await post('/ci/rotate', { expires_at: nowMs / 1000 + 60 }))).toMatchObject({
      expires_at: at(nowMs + MINUTE_MS),
    });
  });

  test('of no key is 404, and malformed 400', async () => {
    await refused(await post('/ghost/rotate'), 404, 'api_key_unknown');
    await refused(await post('/default/rotate'), 404, 'api_key_unknown');
    await make('ci');
    for (const body of [{ overlap_seconds: -1 }, { overlap_seconds: 604_801 }, { overlap: 5 }, []]) {
      await refused(await post('/ci/rotate', body), 400, 'invalid_request');
    }
  });
});

test('when a key was used is kept to the minute', async () => {
  const apiKey = await make('ci', 'auditor');
  expect(await show('ci')).not.toHaveProperty('last_used_at');
  const first = nowMs;
  await use(apiKey);
  nowMs += MINUTE_MS - 1;
  await use(apiKey);
  expect((await show('ci'))['last_used_at']).toBe(at(first));
  nowMs += 1;
  await use(apiKey);
  expect((await show('ci'))['last_used_at']).toBe(at(nowMs));
});

test('no key is in a log line, a file, an audit row or an error', async () => {
  const logged: string[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => logged.push(line) });
  fixture = await issuerFixture({ log });
  const first = await make('ci');
  const second = (await json(await post('/ci/rotate', { overlap_seconds: 60 })))['api_key'] as string;
  const said: string[] = [];
  for (const key of [first, second, `${second}x`]) {
    for (const path of [
      '/v1/clients',
      '/v1/api-keys',
      `/v1/${key}`,
      `/v1/clients?x=${key}`,
      `/v1/api-keys/${key}`,
    ]) {
      for (const headers of [{ 'api-key': key }, { authorization: `Bearer ${key}` }]) {
        said.push(await (await fixture.call('GET', path, undefined, headers)).text());
      }
    }
  }
  const places = [
    logged.join(''),
    said.join(''),
    ...(await storedBytes(fixture.database)).map(([, bytes]) => bytes.toString('latin1')),
  ];
  expect(places.length).toBeGreaterThan(3);
  for (const place of places) for (const key of [first, second]) expect(place).not.toContain(key.slice(4));
  expect(logged.length).toBeGreaterThan(0);
});

test('what is no key of ours is refused alike: another prefix, a hash, the empty one', async () => {
  const apiKey = await make('ci');
  const hash = (await rows<{ hash: Buffer }>('SELECT hash FROM api_keys'))[0]?.hash.toString('base64url');
  for (const wrong of [apiKey.slice(4), `fgk_${hash}`, 'fgk_', `${apiKey}x`, apiKey.toUpperCase(), 'ci']) {
    expect(await use(wrong)).toBe(401);
  }
});

test('while the database cannot be written, who only reads is still let in', async () => {
  const apiKey = await make('ci', 'auditor');
  const other = await otherConnection(fixture.database);
  await other.holdTurn();
  expect(await use(apiKey)).toBe(200);
  expect((await fixture.call('DELETE', '/v1/api-keys/ci')).status).toBe(503);
  await other.letGo();
  expect(await use(apiKey)).toBe(200);
});

test('an API key of role admin may do what the key in admin.key may', async () => {
  const apiKey = await make('boss', 'admin');
  const response = await fixture.call(
    'POST',
    '/v1/api-keys',
    { name: 'next', role: 'admin' },
    { 'api-key': apiKey },
  );
  expect(response.status).toBe(201);
  expect(await use(adminKey)).toBe(200);
});
