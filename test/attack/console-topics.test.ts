import { describe, expect, test } from 'vitest';
import { registerClients } from '../../bench/issuer/registration.ts';
import { codeOf, serveConsole } from '../support/console-server.ts';
import { adminKey } from '../support/issuer-fixture.ts';

const questions = [
  '/api/decide',
  '/api/who-may',
  '/api/matrix',
  '/api/matrix/cell',
  '/api/difference',
  '/api/scope-notes',
];

const good: Record<string, object> = {
  '/api/matrix': { by: 'group' },
  '/api/matrix/cell': { clients: ['press-1'], topic: 'devices/{client_id}/telemetry/t' },
  '/api/difference': { by: 'scope', policy: 'version: 1\nscopes: {}\n' },
  '/api/scope-notes': { scope: 'x' },
};

describe.each(questions)('%s', (path) => {
  test('answers nobody who is not signed in, whatever key is in a header', async () => {
    const { call } = await serveConsole();
    const body = good[path] ?? {};
    expect(await codeOf(await call('POST', path, { body }))).toEqual([401, 'signed_out']);
    const headers = { 'sec-fetch-site': 'same-origin', 'api-key': adminKey };
    expect((await call('POST', path, { body, headers })).status).toBe(401);
  });

  test('is not asked by another site, nor by a link', async () => {
    const { call, signIn } = await serveConsole();
    const cookie = await signIn();
    const body = good[path] ?? {};
    for (const headers of [
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { origin: 'https://evil.example' },
      { 'sec-fetch-site': 'none' },
    ]) {
      expect(await codeOf(await call('POST', path, { cookie, headers, body }))).toEqual([403, 'cross_site']);
    }
    expect((await call('GET', path, { cookie })).status).toBe(404);
  });

  test('takes nonsense for what it is', async () => {
    const { call, signIn } = await serveConsole();
    const cookie = await signIn();
    for (const body of [
      null,
      [],
      7,
      'x',
      {},
      { by: 'planet' },
      { by: { $gt: '' } },
      { __proto__: { by: 'group' } },
    ]) {
      expect((await call('POST', path, { cookie, body })).status, JSON.stringify(body)).toBe(400);
    }
  });
});

test('notes on scopes are of the policy in force, for its audience alone, and of what can be one', async () => {
  const { call, signIn } = await serveConsole({ audience: 'mqtt', defaultAudience: ['mqtt'] });
  const cookie = await signIn();
  const notes = async (body: object) => (await call('POST', '/api/scope-notes', { cookie, body })).json();
  expect(await notes({ scope: 'telemetri mqtt:publish:a' })).toEqual({
    notes: [expect.stringMatching(/^scope 'telemetri' grants nothing: policy\.yaml does not define it; /)],
  });
  expect(await notes({ scope: '' })).toEqual({ notes: [] });
  expect(await notes({ scope: 'telemetri', audience: ['weather'] })).toEqual({ notes: [] });
  for (const scope of ['x'.repeat(4097), 'a\tb', 'a"b']) {
    expect((await call('POST', '/api/scope-notes', { cookie, body: { scope } })).status).toBe(400);
  }
});

test.each(['auditor', 'provisioner'])('%s may look, and of a key that is gone nobody may', async (role) => {
  const { apiKey, call, signIn, url } = await serveConsole();
  const cookie = await signIn(await apiKey(role));
  for (const [path, body] of Object.entries(good)) {
    expect((await call('POST', path, { cookie, body })).status, path).toBe(200);
  }
  const gone = await fetch(`${url}/v1/api-keys/key-${role}`, {
    method: 'DELETE',
    headers: { 'api-key': adminKey },
  });
  expect(gone.ok).toBe(true);
  for (const [path, body] of Object.entries({
    ...good,
    '/api/decide': { token: 'a.b.c', action: 'publish', topic: 'x' },
  })) {
    expect((await call('POST', path, { cookie, body })).status, path).toBe(401);
  }
});

test('a matrix has no more topics than a page draws, and each is one', async () => {
  const { call, signIn } = await serveConsole();
  const cookie = await signIn();
  for (const topics of [
    'a',
    {},
    [7],
    [null],
    [''],
    ['a#'],
    ['a/\u0000'],
    ['x'.repeat(1025)],
    Array(101).fill('a'),
    Array(100_000).fill('a'),
  ]) {
    const answer = await call('POST', '/api/matrix', { cookie, body: { by: 'group', topics } });
    expect(answer.status, JSON.stringify(topics).slice(0, 40)).toBe(400);
  }
  for (const more of [{ selector: 'group=' }, { cursor: '../../keys' }, { selector: 'x'.repeat(10_000) }]) {
    expect((await call('POST', '/api/matrix', { cookie, body: { by: 'client', ...more } })).status).toBe(400);
  }
});

test('a cell asks of few clients, by their ids alone', async () => {
  const { call, signIn } = await serveConsole();
  const cookie = await signIn();
  for (const clients of ['a', [7], ['../keys'], ['a?x=1'], Array(9).fill('a'), [['a']]]) {
    expect((await call('POST', '/api/matrix/cell', { cookie, body: { clients, topic: 'x' } })).status).toBe(
      400,
    );
  }
  const gone = await call('POST', '/api/matrix/cell', { cookie, body: { clients: ['nobody'], topic: 'x' } });
  expect(await gone.json()).toEqual({ clients: [] });
});

describe('a policy that is compared', () => {
  test.each<[string, string, RegExp]>([
    ['has aliases that multiply', 'version: 1\nscopes: &a { s: { publish: [ x ] } }\nb: *a\n', /anchors/],
    ['is larger than a policy', `version: 1\n# ${'x'.repeat(300_000)}\n`, /larger than 262144 bytes/],
    [
      'is deeper than a policy',
      `version: 1\nscopes: ${'['.repeat(5_000)}${']'.repeat(5_000)}\n`,
      /inside each other/,
    ],
    [
      'has more rules',
      `version: 1\nscopes:\n  s: { publish: [ ${Array(1_001).fill('x').join(', ')} ] }\n`,
      /more than 1000 rules/,
    ],
    ['has a tag', 'version: 1\nscopes: !!js/function "x"\n', /tags/],
    ['grants what is reserved', 'version: 1\nscopes: { s: { publish: [ $SYS/# ] } }\n', /\$SYS/],
  ])('that %s is refused by line', async (_what, policy, words) => {
    const { call, signIn } = await serveConsole();
    const cookie = await signIn();
    const answer = await call('POST', '/api/difference', { cookie, body: { by: 'scope', policy } });
    const { status, code, detail } = (await answer.json()) as {
      status: number;
      code: string;
      detail: string;
    };
    expect([status, code]).toEqual([400, 'policy_invalid']);
    expect(detail).toMatch(words);
    expect(detail).toMatch(/^new-policy\.yaml:\d+:\d+: /);
  });

  test('is no path: no file of the host is read, and its name is text', async () => {
    const { call, signIn } = await serveConsole();
    const cookie = await signIn();
    for (const file of ['/etc/passwd', '../policy.yaml', 'x\n: y', 7, 'x'.repeat(200)]) {
      const body = { by: 'scope', policy: 'nonsense: 1', file };
      const { detail } = (await (await call('POST', '/api/difference', { cookie, body })).json()) as {
        detail: string;
      };
      expect(detail).toMatch(/^new-policy\.yaml:1:/);
    }
  });

  test('is longer than any request may be', async () => {
    const { call, signIn } = await serveConsole();
    const cookie = await signIn();
    const body = { by: 'scope', policy: 'x'.repeat(2_000_000) };
    expect((await call('POST', '/api/difference', { cookie, body })).status).toBe(413);
  });

  test('changes nothing: the one in force decides as before', async () => {
    const { call, signIn } = await serveConsole();
    const cookie = await signIn();
    await call('POST', '/api/v1/clients', {
      cookie,
      body: { client_id: 'press-1', scope: 'telemetry.write' },
    });
    const policy = 'version: 1\nscopes: { telemetry.write: { publish: [ everything/# ] } }\n';
    const compared = await call('POST', '/api/difference', { cookie, body: { by: 'group', policy } });
    expect(await compared.json()).toMatchObject({ changes: [{ change: 'gains' }, { change: 'loses' }] });
    const attempt = { client_id: 'press-1', action: 'publish', topic: 'everything/x' };
    const decided = await call('POST', '/api/decide', { cookie, body: attempt });
    expect(await decided.json()).toMatchObject({ decision: { allowed: false, reason: 'no_rule' } });
  });
});

test('script in topics and scopes is data of an answer that no browser takes for a page', async () => {
  const script = '<script>alert(1)<\\/script>';
  const text = `version: 1\nscopes: { '<b>': { publish: [ '${script}/x' ] } }\n`;
  const { call, signIn } = await serveConsole({ text });
  const cookie = await signIn();
  await call('POST', '/api/v1/clients', { cookie, body: { client_id: 'press-1', scope: '<b>' } });
  const answer = await call('POST', '/api/matrix', { cookie, body: { by: 'client' } });
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
  expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
  expect(answer.headers.get('cache-control')).toBe('no-store');
  expect(await answer.json()).toMatchObject({ rows: [{ cells: [{ publish: 1 }] }] });
});

test('a token is taken in a body alone, of who is signed in, and comes back in no answer', async () => {
  const asked: string[] = [];
  const { call, signIn } = await serveConsole({
    explainToken: async (token) => {
      asked.push(token);
      return { refused: { returnCode: 4, reason: 'token_expired' }, because: 'the token has expired' };
    },
  });
  const cookie = await signIn();
  const token = 'aaaa.bbbb.cccc';
  const attempt = { action: 'publish', topic: 'x' };
  expect((await call('POST', `/api/decide?token=${token}`, { cookie, body: attempt })).status).toBe(400);
  for (const body of [{ ...attempt, token, client_id: 'a' }, { ...attempt, token: [token] }, { token }]) {
    expect((await call('POST', '/api/decide', { cookie, body })).status).toBe(400);
  }
  expect(asked).toEqual([]);
  const answer = await call('POST', '/api/decide', { cookie, body: { ...attempt, token: ` ${token}\n` } });
  const text = await answer.text();
  expect(JSON.parse(text)).toMatchObject({ decision: { allowed: false, reason: 'token_expired' } });
  expect(text).not.toContain('bbbb');
  expect(asked).toEqual([token]);
});

test('of more clients than one look takes the rest is looked at when asked, and others are served meanwhile', async () => {
  const { call, fixture, signIn, url } = await serveConsole();
  await registerClients(fixture.database, 20_300, 'client_secret_basic');
  const cookie = await signIn();
  const ask = async (path: string, body: object) => {
    let isAsked = true;
    let served = 0;
    const others = (async () => {
      for (; isAsked; served += 1) await (await fetch(`${url}/console/`)).text();
    })();
    const answer = await call('POST', path, { cookie, body });
    isAsked = false;
    await others;
    // Without a turn between its pages it is one or two.
    expect(served, path).toBeGreaterThan(5);
    return (await answer.json()) as {
      looked_at: number;
      next_cursor?: string;
      topics: string[];
      rows: { clients: number }[];
      changes: { clients: number }[];
    };
  };
  const policy = 'version: 1\nscopes: { telemetry.write: { publish: [ x ] } }\n';
  for (const [path, question] of [
    ['/api/matrix', { by: 'group' }],
    ['/api/difference', { by: 'group', policy }],
  ] as const) {
    const first = await ask(path, question);
    expect(first).toMatchObject({ looked_at: 20_000, next_cursor: expect.any(String) });
    expect((first.rows ?? first.changes)[0]?.clients).toBe(20_000);
    const rest = await call('POST', path, { cookie, body: { ...question, cursor: first.next_cursor } });
    const { looked_at, next_cursor } = (await rest.json()) as typeof first;
    expect([looked_at, next_cursor]).toEqual([300, undefined]);
  }
  expect(await ask('/api/who-may', { action: 'publish', topic: 'x' })).toMatchObject({
    looked_at: 20_000,
    complete: false,
  });
}, 60_000);
