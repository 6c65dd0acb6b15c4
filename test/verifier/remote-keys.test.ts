import type { PublicJsonWebKey } from '@fleetgate/shared';
import { describe, expect, test } from 'vitest';
import type { TokenIssuer } from '../../verifier/issuer.ts';
import { keysAt, remoteKeys } from '../../verifier/remote-keys.ts';
import { until } from '../support/broker-fixture.ts';
import { type TestIssuer, testIssuer } from '../support/broker-tokens.ts';
import {
  type Answer,
  fakeClock,
  type HttpServer,
  httpServer,
  jsonServer,
  testVerifier,
} from '../support/verifier-fixture.ts';

const MINUTE = 60;
const HOUR = 3_600;

/** A verifier that trusts one issuer whose keys are at `server`, on a clock of its own. */
function trusting(issuer: TestIssuer, server: HttpServer, more: Partial<TokenIssuer> = {}) {
  const clock = fakeClock();
  const keys = { jwksUri: `${server.origin}/jwks.json` };
  const verifier = testVerifier({
    issuers: [{ issuer: issuer.name, keys, ...more }],
    monotonicMs: clock.ms,
    // What is remembered would hide which keys are in force.
    maxCachedTokens: 0,
  });
  return { ...verifier, clock };
}

/** An issuer whose answer can be changed. */
async function changingServer(first: Answer) {
  const state: { answer: Answer | undefined } = { answer: first };
  const server = await jsonServer(() => state.answer);
  return { server, state };
}

const away: Answer = { status: 503 };

describe('a fetch', () => {
  test('is made when keys are first needed, once for many tokens at once', async () => {
    const issuer = testIssuer();
    const server = await jsonServer(() => ({ body: issuer.jwks() }));
    const { codeOf, verify } = trusting(issuer, server);
    expect(server.requests).toHaveLength(0);
    const all = await Promise.all(Array.from({ length: 20 }, () => codeOf(issuer.token())));
    expect(new Set(all)).toEqual(new Set(['accepted']));
    expect(server.requests).toHaveLength(1);
    expect(verify.stats()).toMatchObject({ keyFetches: 1, keyFetchFailures: 0 });
  });

  test('is not made for a token that is refused without its key', async () => {
    const issuer = testIssuer();
    const server = await jsonServer(() => ({ body: issuer.jwks() }));
    const { codeOf } = trusting(issuer, server);
    expect(await codeOf(issuer.token({ claims: { aud: 'other' } }))).toBe('token_audience_refused');
    expect(await codeOf(issuer.token({ header: { alg: 'none' } }))).toBe('token_algorithm_refused');
    expect(server.requests).toHaveLength(0);
  });

  test('carries no credentials and asks for JSON', async () => {
    const issuer = testIssuer();
    const server = await jsonServer(() => ({ body: issuer.jwks(), headers: { 'set-cookie': 'a=b' } }));
    const { codeOf, clock } = trusting(issuer, server);
    await codeOf(issuer.token());
    clock.pass(MINUTE);
    await codeOf(issuer.token({ header: { kid: 'made-up' } }));
    expect(server.requests).toHaveLength(2);
    for (const { method, url, headers } of server.requests) {
      expect({ method, url, accept: headers.accept }).toEqual({
        method: 'GET',
        url: '/jwks.json',
        accept: 'application/json',
      });
      expect(Object.keys(headers).filter((name) => /cookie|authorization|referer|origin/.test(name))).toEqual(
        [],
      );
    }
  });

  const valid = JSON.stringify(testIssuer().jwks());
  test.each<[string, Answer]>([
    ['answers 500', { status: 500 }],
    ['answers 203', { status: 203, body: valid }],
    ['answers HTML', { body: valid, headers: { 'content-type': 'text/html' } }],
    ['does not say what it answers', { body: valid, headers: { 'content-type': '' } }],
    ['answers what is no JSON', { body: '<html>' }],
    ['answers no key set', { body: { keys: 1 } }],
    ['answers an array', { body: [] }],
    ['answers null', { body: 'null' }],
    ['answers more than 256 KiB', { body: { keys: [], padding: 'x'.repeat(262_144) } }],
    ['answers 65 keys', { body: { keys: Array(65).fill({}) } }],
  ])('that %s makes the keys unavailable, and says so in a line', async (_what, answer) => {
    const issuer = testIssuer();
    const server = await jsonServer(() => answer);
    const { codeOf, log, verify } = trusting(issuer, server);
    expect(await codeOf(issuer.token())).toBe('keys_unavailable');
    expect(log).toMatchObject([{ level: 'warn', event: 'keys_unavailable', issuer: issuer.name }]);
    expect(verify.stats()).toMatchObject({ keyFetches: 1, keyFetchFailures: 1 });
  });

  test('takes JSON by its other names', async () => {
    for (const type of ['application/jwk-set+json', 'Application/JSON; charset=utf-8']) {
      const issuer = testIssuer();
      const server = await jsonServer(() => ({ body: issuer.jwks(), headers: { 'content-type': type } }));
      expect(await trusting(issuer, server).codeOf(issuer.token())).toBe('accepted');
    }
  });

  test('does not follow a redirect', async () => {
    const issuer = testIssuer();
    const target = await jsonServer(() => ({ body: issuer.jwks() }));
    for (const status of [301, 302, 307]) {
      const server = await jsonServer(() => ({
        status,
        headers: { location: `${target.origin}/jwks.json` },
      }));
      expect(await trusting(issuer, server).codeOf(issuer.token())).toBe('keys_unavailable');
    }
    expect(target.requests).toHaveLength(0);
  });

  test.each<[string, (end: { write(text: string): void }) => void]>([
    ['no answer', () => {}],
    ['an answer that does not end', (response) => response.write('{"keys":[')],
  ])('with %s is given up in time, and nobody waits longer', async (_what, begin) => {
    const server = await httpServer((_request, response) => {
      response.setHeader('content-type', 'application/json');
      begin(response);
    });
    const counts = { keyFetches: 0, keyFetchFailures: 0 };
    const findKey = remoteKeys({
      issuer: 'x',
      locate: keysAt(`${server.origin}/`),
      maxStaleSeconds: 0,
      reportSkipped: () => {},
      log: { debug() {}, info() {}, warn() {} },
      monotonicMs: () => performance.now(),
      counts,
      timeoutMs: 100,
    });
    await expect(findKey({ kid: 'a', alg: 'ES256' })).rejects.toMatchObject({ code: 'keys_unavailable' });
    expect(counts).toEqual({ keyFetches: 1, keyFetchFailures: 1 });
    await until(() => server.requests[0]?.socket.destroyed === true);
  });
});

describe('an unknown kid', () => {
  test('is another thing than keys that cannot be had, and made-up ones cause no storm of fetches', async () => {
    const issuer = testIssuer();
    const server = await jsonServer(() => ({ body: issuer.jwks() }));
    const { codeOf, clock } = trusting(issuer, server);
    const madeUp = (kid: string) => codeOf(issuer.token({ header: { kid } }));
    for (let i = 0; i < 10; i += 1) expect(await madeUp(`made-up-${i}`)).toBe('token_key_unknown');
    expect(server.requests).toHaveLength(1);
    clock.pass(29);
    expect(await madeUp('once more')).toBe('token_key_unknown');
    expect(server.requests).toHaveLength(1);
    clock.pass(1);
    await Promise.all(Array.from({ length: 10 }, (_, i) => madeUp(`later-${i}`)));
    expect(server.requests).toHaveLength(2);
  });

  test('of a new key is found by a second fetch', async () => {
    const [old, next] = [testIssuer(), testIssuer()];
    const { server, state } = await changingServer({ body: old.jwks() });
    const { codeOf, clock } = trusting(old, server);
    expect(await codeOf(old.token())).toBe('accepted');
    state.answer = { body: { keys: [...old.jwks().keys, ...next.jwks().keys] } };
    expect(await codeOf(next.token())).toBe('token_key_unknown');
    clock.pass(30);
    expect(await codeOf(next.token())).toBe('accepted');
    expect(await codeOf(old.token())).toBe('accepted');
    expect(server.requests).toHaveLength(2);
  });

  test('while the issuer is away could be a new key, so its keys are unavailable', async () => {
    const [issuer, next] = [testIssuer(), testIssuer()];
    const { server, state } = await changingServer({ body: issuer.jwks() });
    const { codeOf, clock } = trusting(issuer, server);
    await codeOf(issuer.token());
    state.answer = away;
    clock.pass(30);
    expect(await codeOf(next.token())).toBe('keys_unavailable');
    expect(await codeOf(issuer.token())).toBe('accepted');
  });
});

test('a kid with another alg than its key is unknown, and no reason to fetch', async () => {
  const issuer = testIssuer();
  const server = await jsonServer(() => ({ body: issuer.jwks() }));
  const { codeOf, clock } = trusting(issuer, server);
  await codeOf(issuer.token());
  clock.pass(30);
  expect(await codeOf(issuer.token({ header: { alg: 'RS256' } }))).toBe('token_key_unknown');
  expect(server.requests).toHaveLength(1);
});

test('keys that could not be had are fetched again after a pause that grows, not for each token', async () => {
  const issuer = testIssuer();
  const { server, state } = await changingServer(away);
  const { codeOf, clock, log } = trusting(issuer, server);
  const pauses: number[] = [];
  for (let fetched = 1; fetched <= 8; fetched += 1) {
    let waited = 0;
    for (; server.requests.length < fetched; waited += 1) {
      if (waited > 0) clock.pass(1);
      await Promise.all([codeOf(issuer.token()), codeOf(issuer.token())]);
    }
    pauses.push(waited - 1);
  }
  expect(pauses).toEqual([0, 1, 2, 4, 8, 16, 30, 30]);
  state.answer = { body: issuer.jwks() };
  clock.pass(30);
  expect(await codeOf(issuer.token())).toBe('accepted');
  expect(log.at(-1)).toMatchObject({ level: 'info', event: 'keys_available' });
  expect(await codeOf(issuer.token({ header: { kid: 'made-up' } }))).toBe('token_key_unknown');
});

describe('a flood of tokens while the issuer is away', () => {
  const seconds = 120;
  const urls = { jku: 'http://127.0.0.1:9/jku', x5u: 'http://127.0.0.1:9/x5u' };
  type Headers = (issuer: TestIssuer, n: number) => Record<string, unknown>;
  const headers: [string, Headers][] = [
    ['the kid of a key', () => ({})],
    ['made-up kids', (_issuer, n) => ({ kid: `made-up-${n}` })],
    ['kids and addresses', (issuer, n) => ({ ...urls, kid: n % 2 === 0 ? issuer.kid : `${urls.jku}?${n}` })],
    ['a kid under another alg', () => ({ alg: 'RS256' })],
  ];
  const outages: [string, Answer | undefined][] = [
    ['answers 503', away],
    ['hangs up', undefined],
    ['answers no key set', { body: '<html>' }],
  ];

  /** Seconds of the fetches while ten tokens come in every second. */
  async function flood(hasKeys: boolean, answer: Answer | undefined, headerOf: Headers): Promise<number[]> {
    const issuer = testIssuer();
    const { server, state } = await changingServer({ body: issuer.jwks() });
    const { codeOf, clock, verify } = trusting(issuer, server);
    if (hasKeys) await codeOf(issuer.token());
    state.answer = answer;
    const fetchedAt: number[] = [];
    for (let second = 0; second < seconds; second += 1) {
      const before = server.requests.length;
      const tokens = Array.from({ length: 10 }, (_, n) =>
        issuer.token({ header: headerOf(issuer, 10 * second + n) }),
      );
      await Promise.all(tokens.map((token) => codeOf(token)));
      for (let n = before; n < server.requests.length; n += 1) fetchedAt.push(second);
      clock.pass(1);
    }
    expect(server.requests).toHaveLength(verify.stats().keyFetches);
    return fetchedAt;
  }

  for (const [outage, answer] of outages) {
    test.each(headers)(`that ${outage} makes one fetch in each pause, with %s`, async (_what, headerOf) => {
      expect(await flood(false, answer, headerOf)).toEqual([0, 1, 3, 7, 15, 31, 61, 91]);
    });
  }

  test.each(headers)('makes none for a key that is known and fresh, with %s', async (what, headerOf) => {
    const fetchedAt = await flood(true, away, headerOf);
    // An unknown kid could be a new key: 30 s after the last set, and then in pauses that grow.
    const isAsked = what !== 'the kid of a key' && what !== 'a kid under another alg';
    expect(fetchedAt).toEqual(isAsked ? [30, 31, 33, 37, 45, 61, 91] : []);
  });
});

describe('keys that are old', () => {
  test.each<[string, Record<string, string>, number]>([
    ['ten minutes, where the issuer does not say', {}, 10 * MINUTE],
    ['what max-age says', { 'cache-control': 'public, max-age=300' }, 5 * MINUTE],
    ['a minute at least', { 'cache-control': 'max-age=0' }, MINUTE],
    ['a minute with no-store', { 'cache-control': 'no-store' }, MINUTE],
    ['a minute with no-cache beside max-age', { 'cache-control': 'no-cache, max-age=600' }, MINUTE],
    ['a day at most', { 'cache-control': 'max-age=31536000' }, 24 * HOUR],
    ['ten minutes with another directive that ends so', { 'cache-control': 'x-max-age=60' }, 10 * MINUTE],
    ['ten minutes with a max-age that is no number', { 'cache-control': 'max-age=soon' }, 10 * MINUTE],
  ])('are fetched in the background after %s', async (_what, headers, seconds) => {
    const issuer = testIssuer();
    const server = await jsonServer(() => ({ body: issuer.jwks(), headers }));
    const { codeOf, clock, verify } = trusting(issuer, server);
    await codeOf(issuer.token());
    clock.pass(seconds);
    expect(await codeOf(issuer.token())).toBe('accepted');
    expect(verify.stats().keyFetches).toBe(1);
    clock.pass(1);
    expect(await codeOf(issuer.token())).toBe('accepted');
    expect(verify.stats().keyFetches).toBe(2);
    await until(() => server.requests.length === 2);
  });

  test('are used while they are fetched, and no token waits', async () => {
    const issuer = testIssuer();
    const held: (() => void)[] = [];
    const server = await httpServer((_request, response) => {
      const answer = () => {
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify(issuer.jwks()));
      };
      if (server.requests.length === 1) answer();
      else held.push(answer);
    });
    const { codeOf, clock, verify } = trusting(issuer, server);
    await codeOf(issuer.token());
    clock.pass(11 * MINUTE);
    expect(await codeOf(issuer.token())).toBe('accepted');
    expect(await codeOf(issuer.token())).toBe('accepted');
    // Had one waited, the fetch would have been given up.
    expect(verify.stats()).toMatchObject({ keyFetches: 2, keyFetchFailures: 0 });
    await until(() => held.length > 0);
    held[0]?.();
  });

  test('nobody asked for long are fetched before they are used, and the retired one is gone', async () => {
    const [old, next] = [testIssuer(), testIssuer()];
    const { server, state } = await changingServer({ body: old.jwks() });
    const { codeOf, clock } = trusting(old, server);
    await codeOf(old.token());
    state.answer = { body: next.jwks() };
    clock.pass(21 * MINUTE);
    expect(await codeOf(old.token())).toBe('token_key_unknown');
    expect(await codeOf(next.token())).toBe('accepted');
  });

  test('and no longer in the set are dropped as soon as it is fetched', async () => {
    const [old, next] = [testIssuer(), testIssuer()];
    const { server, state } = await changingServer({
      body: { keys: [...old.jwks().keys, ...next.jwks().keys] },
    });
    const { codeOf, clock } = trusting(old, server);
    expect([await codeOf(old.token()), await codeOf(next.token())]).toEqual(['accepted', 'accepted']);
    state.answer = { body: next.jwks() };
    clock.pass(30);
    await codeOf(next.token({ header: { kid: 'made-up' } }));
    expect([await codeOf(old.token()), await codeOf(next.token())]).toEqual([
      'token_key_unknown',
      'accepted',
    ]);
  });

  test('are all dropped when the issuer publishes an empty set', async () => {
    const issuer = testIssuer();
    const { server, state } = await changingServer({ body: issuer.jwks() });
    const { codeOf, clock } = trusting(issuer, server);
    await codeOf(issuer.token());
    state.answer = { body: { keys: [] } };
    clock.pass(21 * MINUTE);
    expect(await codeOf(issuer.token())).toBe('token_key_unknown');
  });
});

describe('while the issuer is away', () => {
  test.each<[string, Partial<TokenIssuer>, number]>([
    ['a day', {}, 24 * HOUR],
    ['maxStaleSeconds', { maxStaleSeconds: 90 }, 90],
    ['no time with maxStaleSeconds 0', { maxStaleSeconds: 0 }, 0],
  ])(
    'its keys are used for %s beyond their max-age, then they are unavailable',
    async (_what, more, seconds) => {
      const issuer = testIssuer();
      const { server, state } = await changingServer({ body: issuer.jwks() });
      const { codeOf, clock } = trusting(issuer, server, more);
      await codeOf(issuer.token());
      state.answer = undefined;
      clock.pass(10 * MINUTE + seconds);
      expect(await codeOf(issuer.token())).toBe('accepted');
      clock.pass(1);
      expect(await codeOf(issuer.token())).toBe('keys_unavailable');
      state.answer = { body: issuer.jwks() };
      clock.pass(30);
      expect(await codeOf(issuer.token())).toBe('accepted');
    },
  );

  test('and known to be, no token waits for it, however old its keys', async () => {
    const issuer = testIssuer();
    let isHanging = false;
    let answer: Answer = { body: issuer.jwks() };
    const server = await httpServer((_request, response) => {
      if (isHanging) return;
      response.writeHead(answer.status ?? 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(answer.body));
    });
    const { codeOf, clock, verify } = trusting(issuer, server);
    await codeOf(issuer.token());
    answer = away;
    clock.pass(HOUR);
    expect(await codeOf(issuer.token())).toBe('accepted');
    isHanging = true;
    clock.pass(HOUR);
    expect(await codeOf(issuer.token())).toBe('accepted');
    expect(verify.stats()).toMatchObject({ keyFetches: 3, keyFetchFailures: 1 });
  });

  test('an answer that is no key set does not take the keys away', async () => {
    const issuer = testIssuer();
    const { server, state } = await changingServer({ body: issuer.jwks() });
    const { codeOf, clock, verify } = trusting(issuer, server);
    await codeOf(issuer.token());
    state.answer = { body: '<html>', headers: { 'content-type': 'text/html' } };
    clock.pass(21 * MINUTE);
    expect(await codeOf(issuer.token())).toBe('accepted');
    expect(verify.stats()).toMatchObject({ keyFetches: 2, keyFetchFailures: 1 });
  });
});

test('a logger that throws does not keep a token from being verified', async () => {
  const issuer = testIssuer();
  const oct = { kty: 'oct', kid: 'a', k: 'AAAA' } as unknown as PublicJsonWebKey;
  const server = await jsonServer(() => ({ body: { keys: [oct, ...issuer.jwks().keys] } }));
  const fail = () => {
    throw new Error('disk full');
  };
  const { codeOf } = testVerifier({
    issuers: [{ issuer: issuer.name, keys: { jwksUri: `${server.origin}/` } }],
    log: { debug: fail, info: fail, warn: fail },
  });
  expect(await codeOf(issuer.token())).toBe('accepted');
});

test('a connection that is cut while the keys come makes them unavailable', async () => {
  const issuer = testIssuer();
  const server = await httpServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
    response.write('{"keys":');
    setImmediate(() => response.destroy());
  });
  expect(await trusting(issuer, server).codeOf(issuer.token())).toBe('keys_unavailable');
});
