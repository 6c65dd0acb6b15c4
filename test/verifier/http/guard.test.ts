import { describe, expect, test } from 'vitest';
import { type HttpGuardOptions, httpGuard } from '../../../verifier/http/guard.ts';
import { allScopes, anyScope } from '../../../verifier/http/scopes.ts';
import { testIssuer } from '../../support/broker-tokens.ts';

const issuer = testIssuer();
const good = { issuer: issuer.name, audience: 'inventory', keys: { keySet: issuer.jwks() } };
const guardOf = (more: Partial<HttpGuardOptions> = {}) => httpGuard({ ...good, ...more });
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('what cannot be meant is a TypeError', () => {
  test.each<[string, object, RegExp]>([
    ['a misspelled option', { audence: 'x' }, /did you mean audience\?/],
    ['no audience', { audience: undefined }, /audience/],
    ['no issuer', { issuer: '' }, /issuer/],
    ['an http issuer whose keys are to be found', { issuer: 'http://one.example', keys: undefined }, /https/],
    ['an algorithm that is none', { algorithms: ['none'] }, /unknown algorithm/],
    ['a skew of an hour', { clockSkewSeconds: 3600 }, /clockSkewSeconds/],
    ['half a token', { maxCachedTokens: 0.5 }, /maxCachedTokens/],
    ['a realm with a quote', { realm: 'a"b' }, /realm/],
    ['a realm with a line end', { realm: 'a\r\nb' }, /realm/],
    ['isRevoked that is no function', { isRevoked: true }, /isRevoked/],
  ])('%s', (_what, more, words) => {
    const make = () => guardOf(more as never);
    expect(make).toThrow(TypeError);
    expect(make).toThrow(words);
  });

  test.each<[string, () => unknown]>([
    ['no scopes', () => allScopes()],
    ['none of any', () => anyScope()],
    ['two in one', () => allScopes('stock.read stock.reserve')],
    ['an empty one', () => allScopes('')],
    ['a list', () => allScopes(['stock.read'] as never)],
  ])('%s', (_what, make) => {
    expect(make).toThrow(TypeError);
  });
});

test('an audience nobody can quote stays out of the header', async () => {
  const guard = guardOf({ audience: 'in"ven\\to\r\nry\u00e9' });
  const { refusal } = await guard.check(bearer(issuer.token()));
  expect(refusal?.code).toBe('token_audience_refused');
  expect(refusal?.headers['www-authenticate']).toMatch(/^Bearer realm="in\?ven\?to\?\?ry\?", [\x20-\x7e]+$/);
});

test('a code for logs says more than the answer', async () => {
  const now = Math.floor(Date.now() / 1000);
  const times = { iat: now - 900, nbf: now - 900, exp: now - 60 };
  const expired = issuer.token({ claims: { aud: ['inventory'], ...times } });
  const { refusal } = await guardOf().check(bearer(expired));
  expect([refusal?.code, refusal?.body.error]).toEqual(['token_expired', 'invalid_token']);
});

test('a token that verified is remembered, and expires all the same', async () => {
  let nowMs = Date.now();
  const guard = guardOf({ now: () => nowMs });
  const token = issuer.token({ claims: { aud: ['inventory'] }, expiresInSeconds: 60 });
  expect((await guard.check(bearer(token))).token?.clientId).toBe('device-1');
  expect((await guard.check(bearer(token))).token?.clientId).toBe('device-1');
  expect(guard.stats()).toMatchObject({ hits: 1, misses: 1 });
  nowMs += 66_000;
  expect((await guard.check(bearer(token))).refusal?.code).toBe('token_expired');
});

test('what an app does with the answer changes no other', async () => {
  const guard = guardOf();
  const first = await guard.check({});
  Object.assign(first.refusal?.headers ?? {}, { 'www-authenticate': 'Basic' });
  expect((await guard.check({})).refusal?.headers).toEqual({
    'www-authenticate': 'Bearer realm="inventory"',
  });
});
