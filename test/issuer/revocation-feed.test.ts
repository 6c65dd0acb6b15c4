import { once } from 'node:events';
import { connect } from 'node:net';
import { type RecordedRevocation, type RunningIssuer, startIssuer } from '@fleetgate/issuer';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { auditEvent } from '../../issuer/audit.ts';
import { openRegistry } from '../../issuer/registry/open-registry.ts';
import { openRevocationFeed } from '../../issuer/revocation-feed.ts';
import { otherConnection } from '../support/database.ts';
import {
  databaseIn,
  type IssuerFixture,
  issuerFixture,
  issuerOptions,
  temporaryDirectory,
} from '../support/issuer-fixture.ts';
import { openFeed, type RevocationReader } from '../support/revocation-reader.ts';

const SCOPE = 'fleetgate.revocations';

/** From an act to its event, at most. The contract's second. */
const WITHIN_MS = 1000;

async function feedToken(fixture: IssuerFixture, more: Record<string, unknown> = {}): Promise<string> {
  const client = await fixture.register({ scope: SCOPE, ...more });
  const { access_token } = (await (await fixture.tokenFor(client)).json()) as { access_token: string };
  return access_token;
}

async function open(
  fixture: IssuerFixture,
  options?: Parameters<typeof openFeed>[2],
): Promise<RevocationReader> {
  return openAs(fixture, await feedToken(fixture), options);
}

async function openAs(
  { issuer }: IssuerFixture,
  token: string,
  options?: Parameters<typeof openFeed>[2],
): Promise<RevocationReader> {
  const reader = await openFeed(issuer.url, token, options);
  onTestFinished(() => reader.close());
  return reader;
}

const revokeToken = (fixture: IssuerFixture, jti: string) =>
  fixture.call('POST', '/v1/revocations', { kind: 'token', jti });
const ids = (revocations: readonly object[]) => revocations.map((one) => (one as { jti?: string }).jti);

describe('a reader', () => {
  test('is told what was revoked before, then ready, then each as it happens', async () => {
    const fixture = await issuerFixture();
    await fixture.register({ client_id: 'a' });
    for (const jti of ['j1', 'j2']) await revokeToken(fixture, jti);
    const reader = await open(fixture);
    expect(reader.response.status).toBe(200);
    expect(reader.response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    expect(reader.response.headers.get('cache-control')).toBe('no-store');
    expect(ids(await reader.untilReady())).toEqual(['j1', 'j2']);
    for (const body of [
      { kind: 'token', jti: 'j3' },
      { kind: 'client', client_id: 'a' },
      { kind: 'issued_before', at: 1000 },
    ]) {
      const made = (await (await fixture.call('POST', '/v1/revocations', body)).json()) as Record<
        string,
        unknown
      >;
      const { created_at, ...expected } = made;
      const beganMs = performance.now();
      const event = await reader.next();
      expect(performance.now() - beganMs).toBeLessThan(WITHIN_MS);
      expect([event.id, event.event, JSON.parse(event.data)]).toEqual([made['cursor'], undefined, expected]);
    }
    await fixture.call('DELETE', '/v1/clients/a');
    expect(await reader.nextRevocation()).toMatchObject({ kind: 'client', client_id: 'a' });
  });

  test.each([0, 1, 199, 200, 201, 400])('is told ready once, after %d revocations', async (count) => {
    const fixture = await issuerFixture();
    await insertTokens(fixture.database, count);
    const reader = await open(fixture);
    expect(await reader.untilReady()).toHaveLength(count);
    await revokeToken(fixture, 'last');
    expect(await reader.next()).toMatchObject({ event: undefined });
  });

  test('that comes back with its cursor is told only what came later, by the header before the URL', async () => {
    const fixture = await issuerFixture();
    for (const jti of ['j1', 'j2', 'j3']) await revokeToken(fixture, jti);
    const [first, second] = await (await open(fixture)).untilReady();
    const after = first?.cursor;
    const lastEventId = second?.cursor;
    expect(ids(await (await open(fixture, { after })).untilReady())).toEqual(['j2', 'j3']);
    expect(ids(await (await open(fixture, { lastEventId })).untilReady())).toEqual(['j3']);
    expect(ids(await (await open(fixture, { after, lastEventId })).untilReady())).toEqual(['j3']);
  });

  test.each(['nonsense', '0000000000000002.1', '9'.repeat(64)])(
    'with a cursor nobody knows, "%s", is told all',
    async (after) => {
      const fixture = await issuerFixture();
      for (const jti of ['j1', 'j2']) await revokeToken(fixture, jti);
      expect(ids(await (await open(fixture, { after })).untilReady())).toEqual(['j1', 'j2']);
    },
  );

  test('is told within a second what another process on the same database has revoked', async () => {
    const fixture = await issuerFixture();
    const reader = await open(fixture);
    await reader.untilReady();
    const other = await openRegistry(fixture.database);
    onTestFinished(() => other.close());
    for (const tokenId of ['j1', 'j2', 'j3']) {
      const expiresAtSeconds = Math.ceil(Date.now() / 1000) + 60;
      const event = auditEvent({ atMs: Date.now(), actor: 'issuer', action: 'token.revoke', tokenId });
      await other.revoke({ kind: 'token', tokenId, expiresAtSeconds }, event);
      const beganMs = performance.now();
      expect(await reader.nextRevocation()).toMatchObject({ jti: tokenId });
      expect(performance.now() - beganMs).toBeLessThan(WITHIN_MS);
    }
  });

  test('hears a comment now and then', async () => {
    const fixture = await issuerFixture({ revocationFeed: { heartbeatSeconds: 0.02 } });
    const reader = await open(fixture);
    await reader.untilReady();
    // Comments are read while the next event is waited for.
    const next = reader.next();
    await expect.poll(() => reader.comments.length).toBeGreaterThan(2);
    await revokeToken(fixture, 'j1');
    await next;
  });

  test('is ended when its token expires', async () => {
    const fixture = await issuerFixture();
    const reader = await openAs(fixture, await feedToken(fixture, { token_lifetime_seconds: 1 }));
    await reader.ended();
  });

  test.each<[string, (claims: { jti: string }) => object]>([
    ['is revoked', ({ jti }) => ({ kind: 'token', jti })],
    ['was issued to a client that is revoked', () => ({ kind: 'client', client_id: 'reader' })],
    [
      'was issued before a moment that all are revoked up to',
      () => ({ kind: 'issued_before', at: inASecond() }),
    ],
  ])('is told that its own token %s, and is ended', async (_name, revocation) => {
    const fixture = await issuerFixture();
    const token = await feedToken(fixture, { client_id: 'reader' });
    const reader = await openAs(fixture, token);
    await reader.untilReady();
    const claims = JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString());
    await fixture.call('POST', '/v1/revocations', revocation(claims));
    expect(await reader.nextRevocation()).toMatchObject({ kind: expect.any(String) });
    await reader.ended();
    expect((await openAs(fixture, token)).response.status).toBe(401);
  });

  test('is ended promptly when the issuer closes', async () => {
    const fixture = await issuerFixture();
    const readers = [await open(fixture), await open(fixture)];
    for (const reader of readers) await reader.untilReady();
    const beganMs = performance.now();
    await fixture.issuer.close();
    expect(performance.now() - beganMs).toBeLessThan(2000);
    for (const reader of readers) await reader.ended();
  });

  test('beyond the most that are served is told to come back, until one has gone', async () => {
    const fixture = await issuerFixture({ revocationFeed: { maxReaders: 2 } });
    const token = await feedToken(fixture);
    const first = await openAs(fixture, token);
    await first.untilReady();
    await (await openAs(fixture, token)).untilReady();
    const { response } = await openAs(fixture, token);
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(await response.json()).toMatchObject({ error: 'temporarily_unavailable' });
    first.close();
    await expect.poll(async () => (await openAs(fixture, token)).response.status).toBe(200);
  });

  test('of another client is served where one has taken all places: that one gives up its oldest', async () => {
    const fixture = await issuerFixture({ revocationFeed: { maxReaders: 3 } });
    const [greedy, other] = [await feedToken(fixture), await feedToken(fixture)];
    const ofGreedy = [];
    for (let i = 0; i < 3; i += 1) {
      const reader = await openAs(fixture, greedy);
      await reader.untilReady();
      ofGreedy.push(reader);
    }
    const ofOther = await openAs(fixture, other);
    await ofOther.untilReady();
    await ofGreedy[0]?.ended();
    // It does not come back for it, nor does the other get more than half.
    for (const token of [greedy, other]) expect((await openAs(fixture, token)).response.status).toBe(503);
    await revokeToken(fixture, 'j1');
    for (const reader of [ofOther, ofGreedy[1], ofGreedy[2]]) {
      expect(await reader?.nextRevocation()).toMatchObject({ jti: 'j1' });
    }
  });

  test('that reads nothing is cut off, and others are told meanwhile', async () => {
    let gone = () => {};
    const hasGone = new Promise<void>((resolve) => {
      gone = resolve;
    });
    const log = pino({}, { write: (line: string) => void (line.includes('has gone') && gone()) });
    // Long enough for the other reader, which shares this process with the server.
    const fixture = await issuerFixture({ log, revocationFeed: { drainTimeoutSeconds: 2 } });
    // More than the buffers of both ends hold.
    await insertTokens(fixture.database, 60_000, 'x'.repeat(250));
    const token = await feedToken(fixture);
    const socket = connect(fixture.issuer.port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.pause();
    socket.write(`GET /revocations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n\r\n`);
    const reader = await openAs(fixture, token);
    const closed = once(socket, 'close');
    expect(await reader.untilReady()).toHaveLength(60_000);
    // The other is still there.
    await hasGone;
    let received = 0;
    socket.on('data', (bytes: Buffer) => {
      received += bytes.length;
    });
    socket.resume();
    await closed;
    expect(received).toBeLessThan(60_000 * 250);
    await revokeToken(fixture, 'last');
    expect(await reader.nextRevocation()).toMatchObject({ jti: 'last' });
  });

  test('that reads nothing does not hold up a stop', async () => {
    const fixture = await issuerFixture();
    await insertTokens(fixture.database, 60_000, 'x'.repeat(250));
    const token = await feedToken(fixture);
    const socket = connect(fixture.issuer.port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.write(`GET /revocations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n\r\n`);
    await once(socket, 'data');
    socket.pause();
    // Reads all there is: by then the other's buffers are full.
    await (await openAs(fixture, token)).untilReady();
    const beganMs = performance.now();
    await fixture.issuer.close();
    expect(performance.now() - beganMs).toBeLessThan(4000);
  });

  test('is ended when the database cannot be read, and can come back after', async () => {
    const fixture = await issuerFixture();
    const token = await feedToken(fixture);
    const reader = await openAs(fixture, token);
    await reader.untilReady();
    const other = await otherConnection(fixture.database);
    await other.execute('ALTER TABLE revocations RENAME TO away');
    await reader.ended();
    await other.execute('ALTER TABLE away RENAME TO revocations');
    await (await openAs(fixture, token)).untilReady();
  });
});

const inASecond = () => Math.floor(Date.now() / 1000) + 1;

describe('who may read', () => {
  const ask = (issuer: RunningIssuer, headers: Record<string, string>, query = '', method = 'GET') =>
    fetch(`${issuer.url}/revocations${query}`, { method, headers });

  test.each<[string, Record<string, string>, string | null]>([
    ['nobody', {}, null],
    ['Basic', { authorization: 'Basic eDp5' }, 'invalid_token'],
    ['an empty token', { authorization: 'Bearer ' }, 'invalid_token'],
    ['nonsense', { authorization: 'Bearer nonsense' }, 'invalid_token'],
    ['what is too long', { authorization: `Bearer ${'x'.repeat(9000)}` }, 'invalid_token'],
  ])('%s may not: 401 with a challenge as RFC 6750 has it', async (_name, headers, error) => {
    const { issuer } = await issuerFixture();
    const response = await ask(issuer, headers);
    expect(response.status).toBe(401);
    const challenge = response.headers.get('www-authenticate') ?? '';
    expect(challenge).toMatch(/^Bearer realm="[^"]+", scope="fleetgate\.revocations"/);
    expect(/error="([^"]*)"/.exec(challenge)?.[1] ?? null).toBe(error);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(await response.json()).toEqual({ error: 'invalid_token', error_description: expect.any(String) });
  });

  test.each(['telemetry.write', 'fleetgate.revocations.all', 'fleetgate', ''])(
    'a token with the scope "%s" may not: 403',
    async (scope) => {
      const fixture = await issuerFixture();
      const token = await feedToken(fixture, { scope });
      const response = await ask(fixture.issuer, { authorization: `Bearer ${token}` });
      expect([response.status, await response.json()]).toMatchObject([403, { error: 'insufficient_scope' }]);
      expect(response.headers.get('www-authenticate')).toMatch(/error="insufficient_scope"/);
    },
  );

  test.each(['?after=a&after=b', `?after=${'1'.repeat(65)}`, '?since=1'])('%s is 400', async (query) => {
    const fixture = await issuerFixture();
    const response = await ask(
      fixture.issuer,
      { authorization: `Bearer ${await feedToken(fixture)}` },
      query,
    );
    expect([response.status, await response.json()]).toMatchObject([400, { error: 'invalid_request' }]);
  });

  test('HEAD is answered and done, and POST is 405', async () => {
    const fixture = await issuerFixture({ revocationFeed: { maxReaders: 1 } });
    const authorization = `Bearer ${await feedToken(fixture)}`;
    const head = await ask(fixture.issuer, { authorization }, '', 'HEAD');
    expect([head.status, await head.text()]).toEqual([200, '']);
    expect((await ask(fixture.issuer, { authorization }, '', 'POST')).status).toBe(405);
    await (await open(fixture)).untilReady();
  });

  test('no token is in a log line, whether it is taken or not', async () => {
    const logged: string[] = [];
    const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });
    const fixture = await issuerFixture({ log });
    const token = await feedToken(fixture);
    const reader = await openAs(fixture, token);
    await reader.untilReady();
    reader.close();
    await ask(fixture.issuer, { authorization: `Bearer ${token}x` });
    await ask(fixture.issuer, { authorization: `Bearer ${token}` }, `?token=${token}`);
    await expect.poll(() => logged.filter((line) => line.includes('has gone'))).toHaveLength(1);
    expect(logged.filter((line) => line.includes('/revocations'))).toHaveLength(2);
    for (const part of token.split('.')) expect(logged.join('')).not.toContain(part);
  });
});

describe('in the same process', () => {
  async function opened() {
    const fixture = await issuerFixture();
    const told: RecordedRevocation[] = [];
    const states: string[] = [];
    const subscribe = () =>
      fixture.issuer.revocations.subscribe((revocation) => told.push(revocation), {
        current: () => states.push('current'),
        away: () => states.push('away'),
      });
    return { fixture, told, states, subscribe };
  }

  test('a subscriber is told what was revoked before, that it is current, and each as it happens', async () => {
    const { fixture, told, states, subscribe } = await opened();
    await insertTokens(fixture.database, 450);
    subscribe();
    expect(told).toEqual([]);
    await expect.poll(() => states.at(-1)).toBe('current');
    expect(told).toHaveLength(450);
    await revokeToken(fixture, 'new');
    await expect.poll(() => told.at(-1)).toMatchObject({ kind: 'token', tokenId: 'new' });
    expect(told).toHaveLength(451);
  });

  test('a subscriber that has ended is told nothing more', async () => {
    const { fixture, told, states, subscribe } = await opened();
    const stop = subscribe();
    await expect.poll(() => states).toEqual(['current']);
    stop();
    const more: RecordedRevocation[] = [];
    fixture.issuer.revocations.subscribe((revocation) => more.push(revocation));
    await revokeToken(fixture, 'new');
    await expect.poll(() => more).toHaveLength(1);
    expect(told).toEqual([]);
  });

  test('a subscriber that throws is told on, and harms no other', async () => {
    const { fixture, told, subscribe } = await opened();
    let thrown = 0;
    fixture.issuer.revocations.subscribe(() => {
      thrown += 1;
      throw new Error('not this one');
    });
    subscribe();
    for (const jti of ['j1', 'j2']) await revokeToken(fixture, jti);
    await expect.poll(() => told).toHaveLength(2);
    await expect.poll(() => thrown).toBe(2);
  });

  test('a subscriber is away while the database cannot be read, and current again with nothing missed', async () => {
    const { fixture, told, states, subscribe } = await opened();
    await revokeToken(fixture, 'j1');
    subscribe();
    await expect.poll(() => states).toEqual(['current']);
    const other = await otherConnection(fixture.database);
    await other.execute('ALTER TABLE revocations RENAME TO elsewhere');
    await expect.poll(() => states.at(-1)).toBe('away');
    await other.execute('ALTER TABLE elsewhere RENAME TO revocations');
    await expect.poll(() => states.at(-1)).toBe('current');
    await revokeToken(fixture, 'j2');
    await expect.poll(() => told.map((one) => 'tokenId' in one && one.tokenId)).toEqual(['j1', 'j2']);
  });

  test('a subscriber is told what a client revoked at another process', async () => {
    const { fixture, told, states, subscribe } = await opened();
    subscribe();
    await expect.poll(() => states).toEqual(['current']);
    const other = await startIssuer(issuerOptions(fixture.directory, { url: fixture.issuer.url }));
    onTestFinished(() => other.close());
    const { client_id, client_secret } = await fixture.register({ client_id: 'a' });
    const { access_token: token } = (await (await fixture.tokenFor({ client_id, client_secret })).json()) as {
      access_token: string;
    };
    const body = new URLSearchParams({ client_id, client_secret, token });
    const answer = await fetch(`http://127.0.0.1:${other.port}/oauth/revoke`, { method: 'POST', body });
    expect(answer.status).toBe(200);
    await expect.poll(() => told).toMatchObject([{ kind: 'token' }]);
  });
});

test('what is revoked while a reader is busy is told without waiting for the next look', async () => {
  const registry = await openRegistry(databaseIn(await temporaryDirectory()));
  const feed = openRevocationFeed({ registry, now: Date.now });
  const ending = new AbortController();
  onTestFinished(async () => {
    ending.abort();
    await feed.close();
    await registry.close();
  });
  const batches = feed.follow({ signal: ending.signal });
  await batches.next();
  const expiresAtSeconds = Math.ceil(Date.now() / 1000) + 60;
  const event = auditEvent({ atMs: Date.now(), actor: 'issuer', action: 'token.revoke' });
  const beganMs = performance.now();
  for (let i = 0; i < 10; i += 1) {
    const revocation = { kind: 'token', tokenId: `${i}`, expiresAtSeconds } as const;
    await registry.revoke(revocation, event);
    feed.wake();
    expect((await batches.next()).value).toMatchObject({ revocations: [revocation], isCurrent: true });
  }
  // The look at the table comes twice a second.
  expect(performance.now() - beganMs).toBeLessThan(2000);
});

test('readers at one place ask the registry once when something is revoked', async () => {
  const opened = await openRegistry(databaseIn(await temporaryDirectory()));
  let lists = 0;
  const registry: typeof opened = {
    ...opened,
    listRevocations: (page) => {
      lists += 1;
      return opened.listRevocations(page);
    },
    // By `wake` alone.
    onOtherRevocations: () => () => {},
  };
  const feed = openRevocationFeed({ registry, now: Date.now });
  const ending = new AbortController();
  onTestFinished(async () => {
    ending.abort();
    await feed.close();
    await opened.close();
  });
  const readers = Array.from({ length: 100 }, () => feed.follow({ signal: ending.signal }));
  await Promise.all(readers.map((reader) => reader.next()));
  // Each of them asks by itself what there is.
  expect(lists).toBe(100);
  const next = readers.map((reader) => reader.next());
  const expiresAtSeconds = Math.ceil(Date.now() / 1000) + 60;
  const event = auditEvent({ atMs: Date.now(), actor: 'issuer', action: 'token.revoke' });
  await registry.revoke({ kind: 'token', tokenId: 'j', expiresAtSeconds }, event);
  feed.wake();
  for (const { value } of await Promise.all(next)) {
    expect(value).toMatchObject({ revocations: [{ tokenId: 'j' }], isCurrent: true });
  }
  // The look that comes twice a second may have woken them as well.
  expect(lists).toBeLessThanOrEqual(103);
});

test('of a burst by many processes each revocation is told once, in order', async () => {
  const database = databaseIn(await temporaryDirectory());
  const registries = await Promise.all(Array.from({ length: 3 }, () => openRegistry(database)));
  const [registry] = registries as [(typeof registries)[0]];
  const feed = openRevocationFeed({ registry, now: Date.now });
  onTestFinished(async () => {
    await feed.close();
    for (const each of registries) await each.close();
  });
  const cursors: string[] = [];
  const told = new Set<string>();
  feed.subscribe((revocation) => {
    cursors.push(revocation.cursor);
    if (revocation.kind === 'token') told.add(revocation.tokenId);
  });
  const expiresAtSeconds = Math.ceil(Date.now() / 1000) + 60;
  const event = auditEvent({ atMs: Date.now(), actor: 'issuer', action: 'token.revoke' });
  await Promise.all(
    registries.flatMap((each, process) =>
      Array.from({ length: 300 }, (_, i) =>
        each
          .revoke({ kind: 'token', tokenId: `${process}-${i}`, expiresAtSeconds }, event)
          .then(() => feed.wake()),
      ),
    ),
  );
  await expect.poll(() => told.size).toBe(900);
  expect(cursors).toEqual([...new Set(cursors)].sort());
});

/** Writes token revocations as another process would, many at once. */
async function insertTokens(database: string, count: number, suffix = ''): Promise<void> {
  const other = await otherConnection(database);
  const expiresAt = Math.ceil(Date.now() / 1000) + 3600;
  const row = (i: number) => `('token', '${String(i).padStart(6, '0')}${suffix}', 1, ${expiresAt})`;
  for (let from = 0; from < count; from += 10_000) {
    const rows = Array.from({ length: Math.min(10_000, count - from) }, (_, i) => row(from + i));
    await other.execute(
      `INSERT INTO revocations (kind, token_id, created_at_ms, expires_at) VALUES ${rows.join(', ')}`,
    );
  }
}
