import { readFile } from 'node:fs/promises';
import { startIssuer } from '@fleetgate/issuer';
import type { AccessTokenClaims } from '@fleetgate/shared';
import { decodeProtectedHeader } from 'jose';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { otherConnection, rowsOf } from '../support/database.ts';
import {
  type IssuerFixture,
  issuerFixture,
  issuerOptions,
  type RegisteredClient,
} from '../support/issuer-fixture.ts';

/** A moment on a clock that stands still unless a test sets it. */
const NOW = 1_800_000_000;
let nowMs: number;
let fixture: IssuerFixture;

beforeEach(async () => {
  nowMs = NOW * 1000 + 400;
  fixture = await issuerFixture({ now: () => nowMs });
});

type Body = Record<string, unknown>;
const revoke = async (body: unknown) => {
  const response = await fixture.call('POST', '/v1/revocations', body);
  return { status: response.status, body: (await response.json()) as Body };
};
const list = async (query = '') => {
  const response = await fixture.call('GET', `/v1/revocations${query}`);
  return {
    status: response.status,
    body: (await response.json()) as { revocations: Body[]; next_cursor?: string },
  };
};

async function claimsFor(client: RegisteredClient): Promise<AccessTokenClaims> {
  const response = await fixture.tokenFor(client);
  expect(response.status).toBe(200);
  const { access_token } = (await response.json()) as { access_token: string };
  return JSON.parse(Buffer.from(access_token.split('.')[1] as string, 'base64url').toString());
}

async function auditRows() {
  const rows = await rowsOf(
    fixture.database,
    "SELECT * FROM audit WHERE action LIKE '%revoke' ORDER BY sequence",
  );
  return rows.map((row) => ['actor', 'action', 'target', 'result', 'token_id'].map((name) => row[name]));
}

/** Longest lifetime of a token, and what readers' clocks may be behind. */
const KEPT = 86_400 + 300;

describe('POST /v1/revocations', () => {
  test.each<[string, Body, Body]>([
    ['a token', { kind: 'token', jti: 'j1' }, { kind: 'token', jti: 'j1', expires_at: NOW + KEPT }],
    [
      'a client, as of now',
      { kind: 'client', client_id: 'a' },
      { kind: 'client', client_id: 'a', at: NOW, expires_at: NOW + KEPT },
    ],
    [
      'all before a moment',
      { kind: 'issued_before', at: NOW - 60 },
      { kind: 'issued_before', at: NOW - 60, expires_at: NOW + KEPT },
    ],
    [
      'all that was issued so far',
      { kind: 'issued_before', at: 'now' },
      { kind: 'issued_before', at: NOW + 1, expires_at: NOW + 1 + KEPT },
    ],
    [
      'a client before a moment a little ahead',
      { kind: 'issued_before', client_id: 'a', at: NOW + 5 },
      { kind: 'issued_before', client_id: 'a', at: NOW + 5, expires_at: NOW + 5 + KEPT },
    ],
    [
      'all before a time in words',
      { kind: 'issued_before', at: new Date(NOW * 1000).toISOString() },
      { kind: 'issued_before', at: NOW, expires_at: NOW + KEPT },
    ],
    [
      'all before a part of a second, which no iat has',
      { kind: 'issued_before', at: '2020-01-01T01:00:00.25+01:00' },
      { kind: 'issued_before', at: 1_577_836_801, expires_at: NOW + KEPT },
    ],
  ])('revokes %s', async (_name, asked, made) => {
    await fixture.register({ client_id: 'a' });
    const expected = { ...made, cursor: expect.any(String), created_at: new Date(nowMs).toISOString() };
    const first = await revoke(asked);
    expect(first).toEqual({ status: 201, body: expected });
    expect(await revoke(asked)).toEqual({ status: 200, body: first.body });
    expect((await list()).body).toEqual({ revocations: [first.body] });
  });

  test.each<[string, unknown]>([
    ['no body', undefined],
    ['no kind', { jti: 'j' }],
    ['an unknown kind', { kind: 'everything' }],
    ['a kind that is a member of every object', { kind: 'constructor' }],
    ['a token without jti', { kind: 'token' }],
    ['an empty jti', { kind: 'token', jti: '' }],
    ['a jti that is too long', { kind: 'token', jti: 'j'.repeat(257) }],
    ['a jti with a line break', { kind: 'token', jti: 'j\nid: 7' }],
    ['a client without id', { kind: 'client' }],
    ['a client of a moment', { kind: 'client', client_id: 'a', at: NOW }],
    ['a client that is no identifier', { kind: 'client', client_id: 'a/b' }],
    ['before no moment', { kind: 'issued_before' }],
    ['before a moment in the future', { kind: 'issued_before', at: NOW + 6 }],
    ['before a moment in milliseconds', { kind: 'issued_before', at: nowMs }],
    ['before a negative moment', { kind: 'issued_before', at: -1 }],
    ['before a part of a second as a number', { kind: 'issued_before', at: 1.5 }],
    ['before a word', { kind: 'issued_before', at: 'Now' }],
    ['before a date', { kind: 'issued_before', at: '2020-01-01' }],
    ['before a time without an offset', { kind: 'issued_before', at: '2020-01-01T00:00:00' }],
    ['before a time that is none', { kind: 'issued_before', at: '2020-02-31T25:00:00Z' }],
    ['before seconds as text', { kind: 'issued_before', at: '1577836800' }],
    ['a token of a client', { kind: 'token', jti: 'j', client_id: 'a' }],
    ['a key without kid', { kind: 'key' }],
    ['an unknown field', { kind: 'token', jti: 'j', reason: 'stolen' }],
  ])('refuses %s', async (_name, body) => {
    await fixture.register({ client_id: 'a' });
    expect(await revoke(body)).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    expect((await list()).body.revocations).toEqual([]);
  });

  test.each<[Body, number, string]>([
    [{ kind: 'client', client_id: 'nobody' }, 404, 'client_unknown'],
    [{ kind: 'issued_before', client_id: 'nobody', at: NOW }, 404, 'client_unknown'],
    [{ kind: 'key', kid: 'nothing' }, 404, 'key_unknown'],
  ])('%o is %d %s', async (asked, status, error) => {
    expect(await revoke(asked)).toMatchObject({ status, body: { error } });
  });

  test('is done and audited once, and each further attempt is audited as such', async () => {
    await fixture.register({ client_id: 'a' });
    await revoke({ kind: 'token', jti: 'j1' });
    await revoke({ kind: 'token', jti: 'j1' });
    await revoke({ kind: 'client', client_id: 'a' });
    await revoke({ kind: 'issued_before', at: NOW });
    await revoke({ kind: 'client', client_id: 'nobody' });
    await revoke({ kind: 'client', client_id: "a'); DELETE FROM audit;--" });
    const admin = 'admin:default';
    expect(await auditRows()).toEqual([
      [admin, 'token.revoke', null, 'ok', 'j1'],
      [admin, 'token.revoke', null, 'revoked_already', 'j1'],
      [admin, 'client.revoke', 'a', 'ok', null],
      [admin, 'issued_before.revoke', null, 'ok', null],
      [admin, 'client.revoke', 'nobody', 'client_unknown', null],
      [admin, 'client.revoke', null, 'invalid_request', null],
    ]);
  });
});

describe('GET /v1/revocations', () => {
  test('answers page by page in the order they were made, without those that have expired', async () => {
    await revoke({ kind: 'token', jti: 'old' });
    nowMs += KEPT * 1000;
    for (let i = 0; i < 5; i += 1) await revoke({ kind: 'token', jti: `j${i}` });
    const ids: unknown[] = [];
    let query = '?limit=2';
    for (;;) {
      const { body } = await list(query);
      ids.push(...body.revocations.map(({ jti }) => jti));
      if (body.next_cursor === undefined) break;
      query = `?limit=2&cursor=${body.next_cursor}`;
    }
    expect(ids).toEqual(['j0', 'j1', 'j2', 'j3', 'j4']);
  });

  test.each(['?limit=0', '?limit=1001', '?cursor=', `?cursor=${'1'.repeat(65)}`, '?after=1'])(
    '%s is refused',
    async (query) => {
      expect(await list(query)).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    },
  );
});

describe('a client that was revoked', () => {
  test('gets its next token in the same second with the next iat, and nbf not ahead of the clock', async () => {
    const client = await fixture.register({ client_id: 'a' });
    expect(await claimsFor(client)).toMatchObject({ iat: NOW, nbf: NOW - 5, exp: NOW + 900 });
    await revoke({ kind: 'client', client_id: 'a' });
    expect(await claimsFor(client)).toMatchObject({ iat: NOW + 1, nbf: NOW - 5, exp: NOW + 901 });
    expect(await claimsFor(await fixture.register({ client_id: 'b' }))).toMatchObject({ iat: NOW });
    nowMs += 1000;
    expect(await claimsFor(client)).toMatchObject({ iat: NOW + 1, nbf: NOW - 4 });
    nowMs += 1000;
    expect(await claimsFor(client)).toMatchObject({ iat: NOW + 2, nbf: NOW - 3 });
  });

  test('and fetched a token in between can be revoked again in the same second, and no token escapes', async () => {
    const client = await fixture.register({ client_id: 'a' });
    for (let i = 0; i < 3; i += 1) {
      const { iat } = await claimsFor(client);
      const { body } = await revoke({ kind: 'client', client_id: 'a' });
      expect(body['at']).toBeGreaterThanOrEqual(iat);
      expect((await claimsFor(client)).iat).toBeGreaterThan(body['at'] as number);
    }
  });

  test('beside all others before the next second gets its token with that iat', async () => {
    const client = await fixture.register({ client_id: 'a' });
    await revoke({ kind: 'issued_before', at: NOW + 1 });
    expect(await claimsFor(client)).toMatchObject({ iat: NOW + 1 });
  });

  test('by a clock that was set back since gets no token that would be good only later: 503', async () => {
    const client = await fixture.register({ client_id: 'a' });
    await claimsFor(client);
    nowMs -= 3600_000;
    expect(await revoke({ kind: 'client', client_id: 'a' })).toMatchObject({ body: { at: NOW } });
    const response = await fixture.tokenFor(client);
    expect([response.status, await response.json()]).toMatchObject([
      503,
      { error: 'temporarily_unavailable' },
    ]);
    expect((await claimsFor(await fixture.register({ client_id: 'b' }))).iat).toBe(NOW - 3600);
  });

  test('while it asks for tokens is never answered one that the revocation before it hits', async () => {
    const client = await fixture.register({ client_id: 'a' });
    const rounds = Array.from({ length: 20 }, async () => {
      const { body } = await revoke({ kind: 'client', client_id: 'a' });
      const { iat } = await claimsFor(client);
      expect(iat).toBeGreaterThan(body['at'] as number);
    });
    await Promise.all(rounds);
  });
});

describe('a client that is deleted', () => {
  test.each<[string, () => Promise<Response>]>([
    ['by DELETE /v1/clients', () => fixture.call('DELETE', '/v1/clients/a')],
    ['as SuperTokens does', () => fixture.call('POST', '/recipe/oauth/clients/remove', { clientId: 'a' })],
  ])('%s is revoked in the same act, once', async (_name, remove) => {
    await fixture.register({ client_id: 'a' });
    expect((await remove()).ok).toBe(true);
    await remove();
    expect((await list()).body.revocations).toMatchObject([{ kind: 'client', client_id: 'a', at: NOW }]);
    const again = await fixture.register({ client_id: 'a' });
    expect(await claimsFor(again)).toMatchObject({ iat: NOW + 1 });
  });
});

describe("SuperTokens' routes", () => {
  const recipe = async (path: string, body: unknown) => {
    const response = await fixture.call('POST', `/recipe/oauth${path}`, body);
    return { status: response.status, text: await response.text() };
  };

  test.each(['/tokens/revoke', '/tokens/revoke/'])('%s revokes all tokens of a client', async (path) => {
    await fixture.register({ client_id: 'a' });
    const { status, text } = await recipe(path, { client_id: 'a' });
    expect([status, JSON.parse(text)]).toEqual([200, { status: 'OK' }]);
    expect((await list()).body.revocations).toMatchObject([{ kind: 'client', client_id: 'a' }]);
  });

  test.each(['nobody', 'a/b'])(
    '/tokens/revoke of an unknown client "%s" is 200 and says so',
    async (client_id) => {
      const { status, text } = await recipe('/tokens/revoke', { client_id });
      expect([status, JSON.parse(text)]).toEqual([200, { status: 'CLIENT_NOT_FOUND_ERROR' }]);
    },
  );

  test('/clients/remove says whether there was one', async () => {
    await fixture.register({ client_id: 'a' });
    expect(JSON.parse((await recipe('/clients/remove', { clientId: 'a' })).text)).toEqual({
      status: 'OK',
      didExist: true,
    });
    expect(JSON.parse((await recipe('/clients/remove', { clientId: 'a' })).text)).toEqual({
      status: 'OK',
      didExist: false,
    });
  });

  test.each([
    ['/tokens/revoke', {}],
    ['/tokens/revoke', { client_id: 7 }],
    ['/clients/remove', { client_id: 'a' }],
  ])('%s with %o is 400 and text', async (path, body) => {
    const { status, text } = await recipe(path, body);
    expect(status).toBe(400);
    expect(text).not.toMatch(/^[{[]/);
  });
});

describe('a signing key', () => {
  test('that is revoked is published no longer, by another process either, and stays so', async () => {
    const [old, next] = fixture.issuer.jwks().keys;
    const second = await startIssuer(issuerOptions(fixture.directory));
    onTestFinished(() => second.close());
    const client = await fixture.register({ client_id: 'a' });
    const before = (await (await fixture.tokenFor(client)).json()) as { access_token: string };
    expect(await revoke({ kind: 'key', kid: old?.kid })).toMatchObject({
      status: 201,
      body: { kid: old?.kid },
    });
    for (const issuer of [fixture.issuer, second]) {
      await expect.poll(() => issuer.jwks().keys.map(({ kid }) => kid)).not.toContain(old?.kid);
      const published = await (await fetch(`${issuer.url}/.well-known/jwks.json`)).text();
      expect(published).not.toContain(old?.kid);
      // It lay beside the one that was seen.
      expect(published).not.toContain(next?.kid);
    }
    expect(await revoke({ kind: 'key', kid: old?.kid })).toMatchObject({ status: 200 });
    const [active] = fixture.issuer.jwks().keys;
    const { access_token } = (await (await fixture.tokenFor(client)).json()) as { access_token: string };
    expect(decodeProtectedHeader(access_token).kid).toBe(active?.kid);
    expect(decodeProtectedHeader(before.access_token).kid).toBe(old?.kid);
  });

  test('that was revoked signs no token of another process that has not heard of it yet', async () => {
    const second = await startIssuer(issuerOptions(fixture.directory, { now: () => nowMs }));
    onTestFinished(() => second.close());
    const client = await fixture.register({ client_id: 'a' });
    const [old] = fixture.issuer.jwks().keys;
    await revoke({ kind: 'key', kid: old?.kid });
    const response = await fetch(`${second.url}/oauth/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: client.client_id,
        client_secret: client.client_secret,
      }),
    });
    const { access_token } = (await response.json()) as { access_token: string };
    expect(decodeProtectedHeader(access_token).kid).toBe(fixture.issuer.jwks().keys[0]?.kid);
  });
});

test('no revocation is answered that could not be recorded, and none is recorded without its audit row', async () => {
  await fixture.register({ client_id: 'a' });
  const other = await otherConnection(fixture.database);
  await other.holdTurn();
  expect(await revoke({ kind: 'token', jti: 'j1' })).toMatchObject({ status: 503 });
  await other.letGo();
  await other.execute('ALTER TABLE audit RENAME TO away');
  expect((await revoke({ kind: 'client', client_id: 'a' })).status).toBe(503);
  expect((await fixture.call('DELETE', '/v1/clients/a')).status).toBe(503);
  await other.execute('ALTER TABLE away RENAME TO audit');
  expect((await list()).body.revocations).toEqual([]);
  expect((await fixture.call('GET', '/v1/clients/a')).status).toBe(200);
});

test('expired revocations are forgotten at the next start', async () => {
  await revoke({ kind: 'token', jti: 'old' });
  await fixture.issuer.close();
  const later = nowMs + KEPT * 1000;
  const next = await startIssuer(issuerOptions(fixture.directory, { now: () => later }));
  onTestFinished(() => next.close());
  const other = await otherConnection(fixture.database);
  await expect.poll(() => other.rows('SELECT sequence FROM revocations')).toEqual([]);
});

test('docs/revocation.md names each kind and each field', async () => {
  const text = await readFile(new URL('../../docs/revocation.md', import.meta.url), 'utf8');
  for (const name of [
    'token',
    'client',
    'issued_before',
    'key',
    'jti',
    'client_id',
    'at',
    'kid',
    'expires_at',
    'cursor',
  ]) {
    expect(text).toContain(`\`${name}\``);
  }
});
