import { inspect } from 'node:util';
import { FleetgateError, OAuthError, type TokenResponse } from '@fleetgate/shared';
import { expect, test } from 'vitest';
import { createTokenSource } from '../../agent/token-source.ts';
import { httpTransport } from '../../agent/transport/http.ts';
import { CANARY_TOKEN, credentialsFor, goodBody, json, startEndpoint } from './token-endpoint-double.ts';

const outage = new FleetgateError('token_request_failed', 'the issuer is away');

/** A source on a clock the test moves, and an issuer that numbers its tokens or is away. */
function sourceWithClock(lifetimeSeconds = 100) {
  const state = { nowMs: 0, away: false, asked: 0 };
  const source = createTokenSource(credentialsFor('https://issuer.example'), {
    transport: async (): Promise<TokenResponse> => {
      state.asked += 1;
      if (state.away) throw outage;
      return { access_token: `token-${state.asked}`, token_type: 'Bearer', expires_in: lifetimeSeconds };
    },
    now: () => state.nowMs,
    random: () => 0,
  });
  return { state, source };
}

test('100 gets at once make one request', async () => {
  const { origin, requests } = await startEndpoint(json(goodBody));
  const credentials = credentialsFor(origin);
  const source = createTokenSource(credentials, { transport: httpTransport(credentials) });
  const tokens = await Promise.all(Array.from({ length: 100 }, () => source.get()));
  expect(new Set(tokens.map(({ value }) => value))).toEqual(new Set([CANARY_TOKEN]));
  expect(requests.length).toBe(1);
});

test('100 gets at once that fail make one request', async () => {
  const { origin, requests } = await startEndpoint(json({ error: 'invalid_client' }, 401));
  const source = createTokenSource(credentialsFor(origin));
  const results = await Promise.allSettled(Array.from({ length: 100 }, () => source.get()));
  expect(results.every(({ status }) => status === 'rejected')).toBe(true);
  expect(requests.length).toBe(1);
});

test('until 80 % of its lifetime a token is handed out again without asking; then the next is fetched', async () => {
  const { state, source } = sourceWithClock(100);
  await source.get();
  state.nowMs = 79_999;
  expect((await source.get()).value).toBe('token-1');
  expect(state.asked).toBe(1);
  state.nowMs = 80_000;
  expect((await source.renew()).value).toBe('token-2');
});

test('a token that is still valid is handed out through an outage', async () => {
  const { state, source } = sourceWithClock(100);
  await source.get();
  state.away = true;
  state.nowMs = 90_000;
  expect((await source.get()).value).toBe('token-1');
  expect((await source.get()).value).toBe('token-1');
  expect(state.asked).toBeGreaterThan(1);
});

test('an expired token is never handed out', async () => {
  const { state, source } = sourceWithClock(100);
  await source.get();
  state.away = true;
  state.nowMs = 100_000;
  await expect(source.get()).rejects.toBe(outage);
});

test('a token that expired on its way is not handed out', async () => {
  let nowMs = 0;
  const source = createTokenSource(credentialsFor('https://issuer.example'), {
    transport: async () => {
      nowMs += 2000;
      return { access_token: 'late', token_type: 'Bearer', expires_in: 1 };
    },
    now: () => nowMs,
  });
  await expect(source.get()).rejects.toMatchObject({ code: 'token_expired' });
});

test('an invalidated token is not handed out again; one that is older takes nothing away', async () => {
  const { state, source } = sourceWithClock();
  const first = await source.get();
  source.invalidate(first);
  expect((await source.get()).value).toBe('token-2');
  source.invalidate(first);
  expect((await source.get()).value).toBe('token-2');
  expect(state.asked).toBe(2);
});

test('text, JSON and inspection of a token hide its value', async () => {
  const { origin } = await startEndpoint(json(goodBody));
  const token = await createTokenSource(credentialsFor(origin)).get();
  expect(token.value).toBe(CANARY_TOKEN);
  const shown = [`${token}`, JSON.stringify({ token }), inspect({ token }, { showHidden: true, depth: 9 })];
  for (const text of shown) expect(text).not.toContain(CANARY_TOKEN);
});

test('an option with a wrong name is a TypeError', () => {
  const options = { transprot: 1 } as object;
  expect(() => createTokenSource(credentialsFor('https://issuer.example'), options)).toThrow(TypeError);
});

test('refresh asks at once, whatever is left of the token and of a back-off, and says that it was replaced', async () => {
  const { state, source } = sourceWithClock(100);
  await source.get();
  const { replaced } = source;
  expect(replaced.aborted).toBe(false);
  expect((await source.refresh()).value).toBe('token-2');
  expect(replaced.aborted).toBe(true);
  expect(source.replaced.aborted).toBe(false);
  state.away = true;
  await expect(source.refresh()).rejects.toBe(outage);
  expect((await source.get()).value).toBe('token-2');
  state.away = false;
  expect(source.retryInMs).toBe(0);
  expect((await source.refresh()).value).toBe('token-4');
});

test('a credential refused twice is dead and asked for a few times in a day, until it is good again', async () => {
  let nowMs = 0;
  let asked = 0;
  let isGood = false;
  const source = createTokenSource(credentialsFor('https://issuer.example'), {
    transport: async () => {
      asked += 1;
      if (!isGood) throw new OAuthError('invalid_client', 'unknown');
      return { access_token: 'token', token_type: 'Bearer', expires_in: 900 };
    },
    now: () => nowMs,
    random: () => 0,
  });
  const attempt = () => source.get().catch(() => undefined);
  await attempt();
  expect(source.failureKind).toBe('refused');
  nowMs += source.retryInMs;
  await attempt();
  expect(source.failureKind).toBe('dead');
  const day = 24 * 3_600_000;
  for (nowMs += source.retryInMs; nowMs < day; nowMs += source.retryInMs) await attempt();
  // Half of 900 s, of 1800 s, and from then on half an hour.
  expect(asked).toBeLessThanOrEqual(52);
  isGood = true;
  await attempt();
  expect(source.failureKind).toBeUndefined();
});

test('a network that fails between two refusals does not make the credential good', async () => {
  let nowMs = 0;
  const failures = [new OAuthError('invalid_client', ''), outage, new OAuthError('invalid_client', '')];
  const source = createTokenSource(credentialsFor('https://issuer.example'), {
    transport: async () => {
      throw failures.shift();
    },
    now: () => nowMs,
  });
  const kinds: unknown[] = [];
  while (failures.length > 0) {
    await source.get().catch(() => undefined);
    kinds.push(source.failureKind);
    nowMs += source.retryInMs;
  }
  expect(kinds).toEqual(['refused', 'transient', 'dead']);
});
