import type { JsonWebKeySet } from '@fleetgate/shared';
import { describe, expect, test } from 'vitest';
import { digestOf } from '../../verifier/token-cache.ts';
import { testIssuer } from '../support/broker-tokens.ts';
import { fakeClock, jsonServer, testVerifier } from '../support/verifier-fixture.ts';

const issuer = testIssuer();
const trusted = { issuer: issuer.name, keys: { jwks: issuer.jwks } };

test('the same token is the same frozen object, and its signature is checked once', async () => {
  const { verify } = testVerifier({ issuers: [trusted] });
  const bytes = Buffer.from(issuer.token());
  const first = await verify(bytes);
  expect(await verify(Buffer.from(bytes))).toBe(first);
  expect([first, first.scopes, first.claims].every(Object.isFrozen)).toBe(true);
  expect(verify.stats()).toMatchObject({ hits: 1, misses: 1, size: 1 });
});

test('of the same token shown by several at once there is one object', async () => {
  const { verify } = testVerifier({ issuers: [trusted] });
  const bytes = Buffer.from(issuer.token());
  const all = await Promise.all(Array.from({ length: 10 }, () => verify(bytes)));
  expect(new Set(all).size).toBe(1);
  expect(verify.stats().size).toBe(1);
});

test('what did not verify is not remembered', async () => {
  const { verify, codeOf } = testVerifier({ issuers: [trusted] });
  const [header, payload] = issuer.token().split('.');
  const forged = `${header}.${payload}.${issuer.token().split('.')[2]}`;
  for (let i = 0; i < 2; i += 1) expect(await codeOf(forged)).toBe('token_signature_invalid');
  expect(await codeOf('nothing')).toBe('token_malformed');
  expect(verify.stats()).toMatchObject({ hits: 0, misses: 2, size: 0 });
});

test('another token of the same claims is another entry', async () => {
  const claims = { jti: 'one', iat: 1_000, nbf: 1_000, exp: 1_600 };
  const { verify } = testVerifier({ issuers: [trusted], now: () => 1_000_000 });
  const [one, other] = [issuer.token({ claims }), issuer.token({ claims })];
  // ES256 takes a new random number for each signature.
  expect(one).not.toBe(other);
  expect(await verify(Buffer.from(one))).not.toBe(await verify(Buffer.from(other)));
  expect(verify.stats().size).toBe(2);
});

test('a remembered token ends with its exp, the skew added', async () => {
  let nowMs = 1_000_000;
  const { codeOf, verify } = testVerifier({ issuers: [trusted], now: () => nowMs });
  const token = issuer.token({ claims: { iat: 1_000, nbf: 1_000, exp: 1_600 } });
  expect(await codeOf(token)).toBe('accepted');
  nowMs = 1_604_999;
  expect(await codeOf(token)).toBe('accepted');
  nowMs = 1_605_000;
  expect(await codeOf(token)).toBe('token_expired');
  expect(verify.stats()).toMatchObject({ hits: 1, misses: 1, size: 0 });
});

describe('a key that is dropped takes the tokens along that it verified', () => {
  const [old, next] = [testIssuer('https://issuer.example'), testIssuer('https://issuer.example')];
  const both: JsonWebKeySet = { keys: [...old.jwks().keys, ...next.jwks().keys] };

  test('of a set in this process, at once', async () => {
    let set = both;
    const { codeOf, verify } = testVerifier({ issuers: [{ issuer: old.name, keys: { jwks: () => set } }] });
    const [first, second] = [old.token(), next.token()];
    expect([await codeOf(first), await codeOf(second)]).toEqual(['accepted', 'accepted']);
    set = next.jwks();
    expect([await codeOf(first), await codeOf(second)]).toEqual(['token_key_unknown', 'accepted']);
    expect(verify.stats()).toMatchObject({ hits: 1, misses: 2, size: 1 });
  });

  test('of a set at a URL, once it is fetched', async () => {
    let body = both;
    const server = await jsonServer(() => ({ body }));
    const clock = fakeClock();
    const { codeOf, verify } = testVerifier({
      issuers: [{ issuer: old.name, keys: { jwksUri: `${server.origin}/` } }],
      monotonicMs: clock.ms,
    });
    const [first, second] = [old.token(), next.token()];
    expect([await codeOf(first), await codeOf(second)]).toEqual(['accepted', 'accepted']);
    body = next.jwks();
    clock.pass(3_600);
    expect([await codeOf(first), await codeOf(second)]).toEqual(['token_key_unknown', 'accepted']);
    expect(verify.stats()).toMatchObject({ hits: 1, misses: 2, size: 1, keyFetches: 2 });
  });

  test('also when another key has its name now', async () => {
    let set = old.jwks();
    const { codeOf } = testVerifier({ issuers: [{ issuer: old.name, keys: { jwks: () => set } }] });
    const token = old.token();
    expect(await codeOf(token)).toBe('accepted');
    set = { keys: next.jwks().keys.map((key) => ({ ...key, kid: old.kid })) };
    expect(await codeOf(token)).toBe('token_signature_invalid');
  });

  test('but not when it is only spelled otherwise', async () => {
    let set = old.jwks();
    const { verify } = testVerifier({ issuers: [{ issuer: old.name, keys: { jwks: () => set } }] });
    const bytes = Buffer.from(old.token());
    const first = await verify(bytes);
    set = { keys: old.jwks().keys.map(({ use: _use, ...key }) => ({ ...key, comment: 'again' }) as never) };
    expect(await verify(bytes)).toBe(first);
    expect(verify.stats().hits).toBe(1);
  });
});

test('while the keys are unavailable a remembered token is too, and is known again afterwards', async () => {
  let answer: { status?: number; body?: unknown } = { body: issuer.jwks() };
  const server = await jsonServer(() => answer);
  const clock = fakeClock();
  const { codeOf, verify } = testVerifier({
    issuers: [{ issuer: issuer.name, keys: { jwksUri: `${server.origin}/` }, maxStaleSeconds: 0 }],
    monotonicMs: clock.ms,
  });
  const token = issuer.token();
  expect(await codeOf(token)).toBe('accepted');
  answer = { status: 503 };
  clock.pass(3_600);
  expect(await codeOf(token)).toBe('keys_unavailable');
  answer = { body: issuer.jwks() };
  clock.pass(30);
  expect(await codeOf(token)).toBe('accepted');
  expect(verify.stats()).toMatchObject({ hits: 1, misses: 1 });
});

describe('the cache is bounded', () => {
  test('and the oldest goes first', async () => {
    const { codeOf, verify } = testVerifier({ issuers: [trusted], maxCachedTokens: 2 });
    const [first, second, third] = [issuer.token(), issuer.token(), issuer.token()];
    for (const token of [first, second, first, third]) await codeOf(token);
    expect(verify.stats()).toMatchObject({ hits: 1, misses: 3, size: 2 });
    await codeOf(second);
    await codeOf(third);
    expect(verify.stats()).toMatchObject({ hits: 3, misses: 3 });
    await codeOf(first);
    expect(verify.stats()).toMatchObject({ hits: 3, misses: 4, size: 2 });
  });

  test('and with 0 remembers nothing', async () => {
    const { codeOf, verify } = testVerifier({ issuers: [trusted], maxCachedTokens: 0 });
    const token = issuer.token();
    expect([await codeOf(token), await codeOf(token)]).toEqual(['accepted', 'accepted']);
    expect(verify.stats()).toMatchObject({ hits: 0, misses: 2, size: 0 });
  });

  test('and expired ones go as others come', async () => {
    let nowMs = 1_000_000;
    const { codeOf, verify } = testVerifier({ issuers: [trusted], now: () => nowMs });
    const at = (seconds: number) => ({ claims: { iat: seconds, nbf: seconds, exp: seconds + 60 } });
    for (let i = 0; i < 6; i += 1) await codeOf(issuer.token(at(1_000)));
    expect(verify.stats().size).toBe(6);
    nowMs = 2_000_000;
    const sizes: number[] = [];
    for (let i = 0; i < 4; i += 1) {
      await codeOf(issuer.token(at(2_000)));
      sizes.push(verify.stats().size);
    }
    // Two go for each that comes.
    expect(sizes).toEqual([5, 4, 3, 4]);
  });
});

test('the name of an entry is the SHA-256 of the token', () => {
  expect(Buffer.from(digestOf(Buffer.from('abc')), 'latin1').toString('hex')).toBe(
    'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
  );
});
