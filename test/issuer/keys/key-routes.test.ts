import { decodeProtectedHeader } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { rowsOf } from '../../support/database.ts';
import { type IssuerFixture, issuerFixture } from '../../support/issuer-fixture.ts';

const NOW_MS = 1_800_000_000_000;
const AHEAD_MS = 900_000;
const DAY_MS = 86_400_000;
let nowMs: number;
let fixture: IssuerFixture;

beforeEach(async () => {
  nowMs = NOW_MS;
  fixture = await issuerFixture({ now: () => nowMs });
});

interface View {
  kid: string;
  state: string;
  [field: string]: unknown;
}
interface Answer {
  status: number;
  keys: View[];
  body: Record<string, unknown>;
}

async function call(method: string, path: string, body?: unknown): Promise<Answer> {
  const response = await fixture.call(method, path, body);
  const answered = (await response.json()) as Record<string, unknown>;
  return { status: response.status, keys: (answered['keys'] ?? []) as View[], body: answered };
}
const list = async () => (await call('GET', '/v1/keys')).keys;
const states = (keys: readonly View[]) => keys.map(({ state, kid }) => [state, kid]);
const published = () => fixture.issuer.jwks().keys.map(({ kid }) => kid);
const at = (ms: number) => new Date(ms).toISOString();

async function signingKid(): Promise<string | undefined> {
  const client = await fixture.register({});
  const { access_token } = (await (await fixture.tokenFor(client)).json()) as { access_token: string };
  return decodeProtectedHeader(access_token).kid;
}

async function auditRows(): Promise<unknown[][]> {
  const rows = await rowsOf(
    fixture.database,
    "SELECT * FROM audit WHERE action LIKE 'key.%' ORDER BY sequence",
  );
  return rows.slice(2).map(({ actor, action, target, result }) => [actor, action, target, result]);
}

test('GET /v1/keys shows the published keys with what becomes of them, and nothing private', async () => {
  nowMs += AHEAD_MS;
  const { keys: rotated } = await call('POST', '/v1/keys/rotate');
  const [active, next, retired] = rotated;
  expect(await list()).toEqual([
    {
      kid: active?.kid,
      algorithm: 'ES256',
      state: 'active',
      created_at: at(NOW_MS),
      activated_at: at(nowMs),
    },
    {
      kid: next?.kid,
      algorithm: 'ES256',
      state: 'next',
      created_at: at(nowMs),
      activates_at: at(nowMs + 30 * DAY_MS),
    },
    {
      kid: retired?.kid,
      algorithm: 'ES256',
      state: 'retired',
      created_at: at(NOW_MS),
      activated_at: at(NOW_MS),
      retired_at: at(nowMs),
      published_until: at(nowMs + 86_760_000),
    },
  ]);
});

describe('POST /v1/keys/rotate', () => {
  test('lets the next key sign at once where verifiers have had the time to see it', async () => {
    const [first, second] = await list();
    nowMs += AHEAD_MS;
    const { status, keys } = await call('POST', '/v1/keys/rotate', {});
    expect(status).toBe(200);
    expect(states(keys)).toEqual([
      ['active', second?.kid],
      ['next', expect.any(String)],
      ['retired', first?.kid],
    ]);
    expect(await signingKid()).toBe(second?.kid);
    expect(published()).toContain(first?.kid);
    expect(await auditRows()).toEqual([
      ['admin:default', 'key.activate', second?.kid, 'ok'],
      ['admin:default', 'key.retire', first?.kid, 'ok'],
      ['admin:default', 'key.publish', keys[1]?.kid, 'ok'],
    ]);
  });

  test('waits for them where they have not, says until when, and is done by itself then', async () => {
    const [first, second] = await list();
    nowMs += AHEAD_MS - 1;
    for (let i = 0; i < 2; i += 1) {
      const { status, keys } = await call('POST', '/v1/keys/rotate');
      expect([status, keys[1]]).toMatchObject([202, { kid: second?.kid, activates_at: at(nowMs + 1) }]);
    }
    expect(await signingKid()).toBe(first?.kid);
    expect(await auditRows()).toEqual([['admin:default', 'key.schedule', second?.kid, 'ok']]);
    nowMs += 1;
    await expect.poll(() => published()[0]).toBe(second?.kid);
    expect(await signingKid()).toBe(second?.kid);
    expect((await auditRows())[1]).toEqual(['issuer', 'key.activate', second?.kid, 'ok']);
  });

  test('with now does not wait', async () => {
    const [, second] = await list();
    const { status, keys } = await call('POST', '/v1/keys/rotate', { now: true });
    expect([status, keys[0]?.kid]).toEqual([200, second?.kid]);
  });

  test('is refused when more keys would be published than verifiers take, until some have left', async () => {
    for (let i = 0; i < 30; i += 1) {
      expect((await call('POST', '/v1/keys/rotate', { now: true })).status).toBe(200);
    }
    const { status, body } = await call('POST', '/v1/keys/rotate', { now: true });
    expect([status, body['error']]).toEqual([409, 'key_conflict']);
    expect(published()).toHaveLength(32);
    expect((await auditRows()).at(-1)).toEqual(['admin:default', 'key.schedule', null, 'key_conflict']);
    // A compromise is never refused.
    const [active] = await list();
    expect((await call('POST', `/v1/keys/${active?.kid}/retire`, { compromised: true })).status).toBe(200);
    nowMs += 2 * DAY_MS;
    await expect.poll(() => published().length).toBe(2);
  });

  test.each([{ now: 'yes' }, { noww: true }, []])('with %o is refused', async (body) => {
    expect(await call('POST', '/v1/keys/rotate', body)).toMatchObject({
      status: 400,
      body: { error: 'invalid_request' },
    });
  });
});

describe('POST /v1/keys/{kid}/retire', () => {
  test('of the active key lets the next one sign; what it has signed stays good', async () => {
    const [first, second] = await list();
    const { status, keys, body } = await call('POST', `/v1/keys/${first?.kid}/retire`);
    expect([status, body['repeated']]).toEqual([200, false]);
    expect(states(keys).map(([state]) => state)).toEqual(['active', 'next', 'retired']);
    expect([keys[0]?.kid, keys[2]?.kid]).toEqual([second?.kid, first?.kid]);
    const again = await call('POST', `/v1/keys/${first?.kid}/retire`);
    expect([again.status, again.body['repeated'], again.keys]).toEqual([200, true, keys]);
  });

  test('of the next key publishes another', async () => {
    const [first, second] = await list();
    const { keys } = await call('POST', `/v1/keys/${second?.kid}/retire`);
    expect(states(keys)).toEqual([
      ['active', first?.kid],
      ['next', expect.any(String)],
    ]);
    expect(published()).not.toContain(second?.kid);
  });

  test('of a compromised active key activates a new one and revokes what it signed, in one act', async () => {
    const [first, second] = await list();
    const { status, keys } = await call('POST', `/v1/keys/${first?.kid}/retire`, { compromised: true });
    expect(status).toBe(200);
    expect(states(keys).map(([state]) => state)).toEqual(['active', 'next']);
    for (const { kid } of keys) expect([first?.kid, second?.kid]).not.toContain(kid);
    expect(await signingKid()).toBe(keys[0]?.kid);
    const revocations = await (await fixture.call('GET', '/v1/revocations')).json();
    expect(revocations).toMatchObject({ revocations: [{ kind: 'key', kid: first?.kid }] });
    expect(await auditRows()).toEqual([
      ['admin:default', 'key.revoke', first?.kid, 'ok'],
      ['admin:default', 'key.remove', first?.kid, 'ok'],
      ['admin:default', 'key.remove', second?.kid, 'ok'],
      ['admin:default', 'key.activate', keys[0]?.kid, 'ok'],
      ['admin:default', 'key.publish', keys[1]?.kid, 'ok'],
    ]);
    const again = await call('POST', `/v1/keys/${first?.kid}/retire`, { compromised: true });
    expect([again.status, again.body['repeated'], again.keys]).toEqual([200, true, keys]);
  });

  test.each([{}, { compromised: true }])('of a key that is not there is refused: %o', async (body) => {
    const { status, body: answered } = await call('POST', '/v1/keys/nobody/retire', body);
    expect([status, answered['error']]).toEqual([404, 'key_unknown']);
    const action = body.compromised === true ? 'key.revoke' : 'key.retire';
    expect(await auditRows()).toEqual([['admin:default', action, 'nobody', 'key_unknown']]);
  });

  test('records no kid that could not exist', async () => {
    const { status } = await call('POST', `/v1/keys/${encodeURIComponent('a b')}/retire`);
    expect(status).toBe(400);
    expect(await auditRows()).toEqual([['admin:default', 'key.retire', null, 'invalid_request']]);
  });
});

test.each([
  ['GET', '/v1/keys'],
  ['POST', '/v1/keys/rotate'],
  ['POST', '/v1/keys/nobody/retire'],
])('%s %s needs the admin key', async (method, path) => {
  expect((await fixture.call(method, path, undefined, {})).status).toBe(401);
});
