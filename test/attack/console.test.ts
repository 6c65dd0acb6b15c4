import { describe, expect, test } from 'vitest';
import { MAX_STREAMS_OF_ONE } from '../../cli/console/live-route.ts';
import { MAX_AGE_MS, MAX_IDLE_MS, STEP_UP_MS } from '../../cli/console/sign-ins.ts';
import { codeOf, serveConsole as serve } from '../support/console-server.ts';
import { adminKey } from '../support/issuer-fixture.ts';

test('without a sign-in there is the page and nothing else', async () => {
  const { call, url } = await serve();
  expect((await call('GET', '/')).status).toBe(200);
  for (const [method, path] of [
    ['GET', '/api/session'],
    ['DELETE', '/api/session'],
    ['POST', '/api/step-up'],
    ['POST', '/api/decide'],
    ['POST', '/api/who-may'],
    ['GET', '/api/live'],
    ['GET', '/api/sessions/press-1'],
    ['GET', '/api/audit/verify'],
    ['GET', '/api/audit/export'],
    ['GET', '/api/v1/clients'],
    ['POST', '/api/v1/clients'],
    ['GET', '/api/v1/whoami'],
  ] as const) {
    expect(await codeOf(await call(method, path)), path).toEqual([401, 'signed_out']);
    // The key itself opens the admin API, and not the console's way to it.
    const withKey = { 'sec-fetch-site': 'same-origin', 'api-key': adminKey };
    expect((await call(method, path, { headers: withKey })).status, path).toBe(401);
    const forged = { cookie: '__Host-fleetgate=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' };
    expect((await call(method, path, forged)).status, path).toBe(401);
  }
  for (const path of [
    '/console/assets/..%2findex.html',
    '/console/assets/../../package.json',
    '/console/assets/x.js',
  ]) {
    expect((await fetch(`${url}${path}`)).status, path).toBe(404);
  }
});

test.each(['', 'wrong', `${adminKey}x`, 'x'.repeat(600), 'a b', 'ключ', 'x\r\ncookie: a=b'])(
  'the key %j signs nobody in',
  async (key) => {
    const { call } = await serve();
    const answer = await call('POST', '/api/session', { body: { api_key: key } });
    expect(answer.headers.get('set-cookie')).toBeNull();
    expect(await codeOf(answer)).toEqual([401, 'api_key_invalid']);
  },
);

test('the cookie is of this host, for no script, other site or connection without TLS, and holds no key', async () => {
  const { call } = await serve();
  const answer = await call('POST', '/api/session', { body: { api_key: adminKey } });
  const cookie = answer.headers.get('set-cookie') as string;
  expect(cookie).toMatch(
    /^__Host-fleetgate=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; Secure; SameSite=Strict$/,
  );
  expect(JSON.stringify([cookie, await answer.json()])).not.toContain(adminKey);
});

describe('what another site has the browser send is refused', () => {
  test.each<[string, Record<string, string>]>([
    ['cross-site', { 'sec-fetch-site': 'cross-site' }],
    ['another name of the same domain', { 'sec-fetch-site': 'same-site' }],
    ['an old browser, other origin', { origin: 'https://evil.example' }],
    ['a sandboxed frame', { origin: 'null' }],
    ['no word of where it comes from', {}],
    ['typed into the address bar', { 'sec-fetch-site': 'none' }],
  ])('%s', async (_name, headers) => {
    const { call, signIn } = await serve();
    const cookie = await signIn();
    for (const [method, path] of [
      ['POST', '/api/v1/clients'],
      ['DELETE', '/api/v1/clients/x'],
      ['PATCH', '/api/v1/clients/x'],
      ['DELETE', '/api/session'],
      ['POST', '/api/step-up'],
    ] as const) {
      const answer = await call(method, path, { cookie, headers, body: { client_id: 'made-by-others' } });
      expect(await codeOf(answer)).toEqual([403, 'cross_site']);
    }
    expect((await call('GET', '/api/v1/clients/made-by-others', { cookie })).status).toBe(404);
  });

  test('also what only reads, so that nobody times it', async () => {
    const { call, signIn } = await serve();
    const cookie = await signIn();
    const answer = await call('GET', '/api/v1/clients', {
      cookie,
      headers: { 'sec-fetch-site': 'cross-site' },
    });
    expect(answer.status).toBe(403);
  });

  test('a page of this origin is let past by an old browser too', async () => {
    const { call, signIn, url } = await serve();
    const cookie = await signIn();
    const answer = await call('POST', '/api/v1/clients', { cookie, headers: { origin: url }, body: {} });
    expect(answer.status).toBe(201);
  });
});

test('no page frames it, and nothing foreign runs in it', async () => {
  const { call, signIn } = await serve();
  const cookie = await signIn();
  for (const path of ['/', '/api/session', '/api/v1/clients']) {
    const { headers } = await call('GET', path, { cookie });
    const policy = headers.get('content-security-policy') as string;
    expect(policy).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self';/);
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).toContain("require-trusted-types-for 'script'; trusted-types 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|data:|\*/);
    expect(headers.get('x-frame-options')).toBe('DENY');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('referrer-policy')).toBe('no-referrer');
  }
  const { headers } = await call('GET', '/api/v1/clients', { cookie });
  expect(headers.get('cache-control')).toBe('no-store');
});

test('a cookie that was taken is worth nothing after the sign-out', async () => {
  const { call, signIn } = await serve();
  const cookie = await signIn();
  expect((await call('GET', '/api/v1/clients', { cookie })).status).toBe(200);
  expect((await call('DELETE', '/api/session', { cookie })).status).toBe(204);
  expect((await call('GET', '/api/v1/clients', { cookie })).status).toBe(401);
});

test('a sign-in ends when it is idle, and after a day of work', async () => {
  const { call, clock, signIn } = await serve();
  const idle = await signIn();
  const busy = await signIn();
  for (let t = 0; t < MAX_IDLE_MS; t += MAX_IDLE_MS / 3) {
    clock.nowMs += MAX_IDLE_MS / 3;
    expect((await call('GET', '/api/session', { cookie: busy })).status).toBe(200);
  }
  expect((await call('GET', '/api/session', { cookie: idle })).status).toBe(401);
  const endMs = clock.nowMs + MAX_AGE_MS;
  let status = 200;
  while (status === 200 && clock.nowMs < endMs) {
    clock.nowMs += MAX_IDLE_MS / 2;
    status = (await call('GET', '/api/session', { cookie: busy })).status;
  }
  expect([status, clock.nowMs < endMs]).toEqual([401, true]);
});

test('a page that only watches is signed out like one that does nothing', async () => {
  const { call, clock, signIn } = await serve();
  const cookie = await signIn();
  const headers = { 'sec-fetch-site': 'same-origin', 'fleetgate-watching': '1' };
  const watch = async () => (await call('GET', '/api/v1/clients', { cookie, headers })).status;
  clock.nowMs += MAX_IDLE_MS - 1;
  expect(await watch()).toBe(200);
  clock.nowMs += 1;
  expect(await watch()).toBe(401);
  expect((await call('GET', '/api/session', { cookie })).status).toBe(401);
});

test('a key that is no longer good ends every sign-in with it', async () => {
  const { apiKey, call, signIn, url } = await serve();
  const key = await apiKey('provisioner');
  const one = await signIn(key);
  const other = await signIn(key);
  const deleted = await fetch(`${url}/v1/api-keys/key-provisioner`, {
    method: 'DELETE',
    headers: { 'api-key': adminKey },
  });
  expect(deleted.ok).toBe(true);
  expect((await call('GET', '/api/v1/clients', { cookie: one })).status).toBe(401);
  expect((await call('GET', '/api/session', { cookie: other })).status).toBe(401);
});

test.each(['auditor', 'provisioner'])('%s may do what its role may, and no more', async (role) => {
  const { apiKey, call, signIn } = await serve();
  const cookie = await signIn(await apiKey(role));
  expect((await call('GET', '/api/v1/clients', { cookie })).status).toBe(200);
  const created = await call('POST', '/api/v1/clients', { cookie, body: { client_id: 'made' } });
  expect(created.status).toBe(role === 'auditor' ? 403 : 201);
  expect(await codeOf(await call('POST', '/api/v1/keys/rotate', { cookie, body: {} }))).toEqual([
    403,
    'role_insufficient',
  ]);
  // Another key in a header changes nothing.
  const headers = {
    'sec-fetch-site': 'same-origin',
    'api-key': adminKey,
    authorization: `Bearer ${adminKey}`,
  };
  expect((await call('POST', '/api/v1/keys/rotate', { cookie, headers, body: {} })).status).toBe(403);
});

describe('what touches many at once wants the key once more', () => {
  test.each<[string, string, unknown]>([
    ['POST', '/api/v1/fleet/quarantine?selector=group%3Dx', {}],
    ['POST', '/api/v1/fleet/delete', { selector: 'group=x' }],
    ['POST', '/api/v1/%66leet/quarantine', { selector: 'group=x' }],
    ['POST', '/api/v1/fleet%2Fquarantine', { selector: 'group=x' }],
    ['POST', '/api/v1//fleet/quarantine', { selector: 'group=x' }],
    ['POST', '/api/v1/./fleet/quarantine', { selector: 'group=x' }],
    ['POST', '/api/v1/keys/rotate', {}],
    ['POST', '/api/v1/revocations', { issued_before: 1 }],
    ['POST', '/api/v1/api-keys', { name: 'mine', role: 'admin' }],
    ['POST', '/api/v1/enrollments', { template: 'box', max_uses: 1000 }],
  ])('%s %s', async (method, path, body) => {
    const { call, clock, signIn } = await serve();
    const cookie = await signIn();
    clock.nowMs += STEP_UP_MS;
    const answer = await call(method, path, { cookie, body });
    expect([403, 404]).toContain(answer.status);
    if (answer.status === 403)
      expect(((await answer.json()) as { code: string }).code).toBe('step_up_required');
  });

  test('which is given, and holds for a while', async () => {
    const { call, clock, signIn } = await serve();
    const cookie = await signIn();
    clock.nowMs += STEP_UP_MS;
    const rotate = () => call('POST', '/api/v1/keys/rotate', { cookie, body: {} });
    expect((await rotate()).status).toBe(403);
    expect((await call('POST', '/api/step-up', { cookie, body: { api_key: 'wrong' } })).status).toBe(403);
    expect((await rotate()).status).toBe(403);
    expect((await call('POST', '/api/step-up', { cookie, body: { api_key: adminKey } })).status).toBe(204);
    expect((await rotate()).status).toBeLessThan(300);
    clock.nowMs += STEP_UP_MS;
    expect((await rotate()).status).toBe(403);
  });
});

test('one sign-in has no more streams than tabs, and a stream that ends makes room', async () => {
  const { call, signIn } = await serve();
  const cookie = await signIn();
  const open = await Promise.all(
    Array.from({ length: MAX_STREAMS_OF_ONE }, () => call('GET', '/api/live', { cookie })),
  );
  expect(open.map(({ status }) => status)).toEqual(open.map(() => 200));
  expect((await call('GET', '/api/live', { cookie })).status).toBe(429);
  const other = await call('GET', '/api/live', { cookie: await signIn() });
  expect(other.status).toBe(200);
  await open[0]?.body?.cancel();
  await expect.poll(async () => (await call('GET', '/api/live', { cookie })).status).toBe(200);
  for (const { body } of [...open.slice(1), other]) await body?.cancel();
});

test('what is live goes on behind the last event that was seen, and ends with the sign-in', async () => {
  const { call, live, signIn } = await serve();
  const cookie = await signIn();
  live.refused({ action: 'publish', reason: 'no_rule', topic: '</script>\n\nevent: figures\ndata: {}' });
  live.refused({ action: 'publish', reason: 'second' });
  const first = await firstEvents(await call('GET', '/api/live', { cookie }), 2);
  expect(first.map(({ event }) => event)).toEqual(['refusal', 'refusal']);
  expect(JSON.parse(first[0]?.data ?? '')).toMatchObject({ topic: '</script>\n\nevent: figures\ndata: {}' });
  const headers = { 'sec-fetch-site': 'same-origin', 'last-event-id': first[0]?.id ?? '' };
  const [next] = await firstEvents(await call('GET', '/api/live', { cookie, headers }), 1);
  expect(next?.id).toBe(first[1]?.id);
});

async function firstEvents(answer: Response, count: number) {
  expect(answer.headers.get('content-type')).toBe('text/event-stream');
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  let text = '';
  while (text.split('\n\n').length <= count)
    text += Buffer.from((await reader.read()).value ?? []).toString();
  await reader.cancel();
  return text
    .split('\n\n')
    .slice(0, count)
    .map(
      (block) =>
        Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2))) as {
          id: string;
          event: string;
          data: string;
        },
    );
}

test('what a client may do is decided as the broker does, and nonsense is refused', async () => {
  const { call, signIn } = await serve();
  const cookie = await signIn();
  for (const id of ['press-1', 'press-2']) {
    await call('POST', '/api/v1/clients', { cookie, body: { client_id: id, scope: 'telemetry.write' } });
  }
  const decide = async (body: unknown) =>
    (await (await call('POST', '/api/decide', { cookie, body })).json()) as { status?: number };
  const topic = 'devices/press-1/telemetry/t';
  expect(await decide({ client_id: 'press-1', action: 'publish', topic })).toMatchObject({
    decision: { allowed: true },
  });
  expect(await decide({ client_id: 'press-2', action: 'publish', topic })).toMatchObject({
    decision: { allowed: false, reason: 'no_rule' },
    nearestMiss: expect.stringContaining('`press-1`, not `press-2`'),
    needed: [],
    neededMore: 0,
  });
  const who = await call('POST', '/api/who-may', { cookie, body: { action: 'publish', topic } });
  expect(await who.json()).toEqual({ clients: ['press-1'], looked_at: 2, complete: true });
  for (const body of [
    null,
    [],
    'x',
    {},
    { action: 'fly', topic },
    { client_id: 7, action: 'publish', topic },
  ]) {
    expect((await call('POST', '/api/decide', { cookie, body })).status).toBe(400);
  }
  const selector = { action: 'publish', topic, selector: 'group=' };
  expect((await call('POST', '/api/who-may', { cookie, body: selector })).status).toBe(400);
  expect((await decide({ client_id: '../keys', action: 'publish', topic })).status).toBe(404);
});
