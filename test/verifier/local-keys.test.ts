import type { JsonWebKeySet } from '@fleetgate/shared';
import { describe, expect, test } from 'vitest';
import { testIssuer } from '../support/broker-tokens.ts';
import { jsonServer, testVerifier } from '../support/verifier-fixture.ts';

describe('keys of an issuer in this process', () => {
  const codes = (issuer: string, jwks: () => JsonWebKeySet) =>
    testVerifier({ issuers: [{ issuer, keys: { jwks } }] }).codeOf;

  test('a key counts as long as it is in the set', async () => {
    const [old, next] = [testIssuer(), testIssuer()];
    const set: JsonWebKeySet = { keys: [...old.jwks().keys] };
    const codeOf = codes(old.name, () => set);
    const [ofOld, ofNext] = [old.token(), next.token()];
    expect(await codeOf(ofOld)).toBe('accepted');
    expect(await codeOf(ofNext)).toBe('token_key_unknown');
    set.keys.push(...next.jwks().keys);
    expect([await codeOf(ofOld), await codeOf(ofNext)]).toEqual(['accepted', 'accepted']);
    set.keys.shift();
    expect([await codeOf(ofOld), await codeOf(ofNext)]).toEqual(['token_key_unknown', 'accepted']);
  });

  test('a kid that comes back with another key is the other key', async () => {
    const [old, next] = [testIssuer(), testIssuer()];
    const renamed = () => ({ keys: next.jwks().keys.map((key) => ({ ...key, kid: old.kid })) });
    let jwks = old.jwks;
    const codeOf = codes(old.name, () => jwks());
    expect(await codeOf(old.token())).toBe('accepted');
    jwks = renamed;
    expect(await codeOf(old.token())).toBe('token_signature_invalid');
    expect(await codeOf(next.token({ header: { kid: old.kid } }))).toBe('accepted');
  });

  test.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('closed');
      },
    ],
    ['gives nothing', () => undefined],
    ['gives no key set', () => ({ keys: 1 })],
    ['gives 65 keys', () => ({ keys: Array(65).fill({}) })],
  ])('a function that %s makes them unavailable', async (_what, jwks) => {
    const issuer = testIssuer();
    expect(await codes(issuer.name, jwks as () => JsonWebKeySet)(issuer.token())).toBe('keys_unavailable');
  });
});

describe('keys that are given once', () => {
  test('verify, and stay what they were', async () => {
    const issuer = testIssuer();
    const keySet: JsonWebKeySet = { keys: [...issuer.jwks().keys] };
    const { codeOf } = testVerifier({ issuers: [{ issuer: issuer.name, keys: { keySet } }] });
    keySet.keys.length = 0;
    expect(await codeOf(issuer.token())).toBe('accepted');
    expect(await codeOf(testIssuer().token())).toBe('token_key_unknown');
  });

  test.each<[string, unknown]>([
    ['an empty set', { keys: [] }],
    ['no set', {}],
    ['a set of one symmetric key', { keys: [{ kty: 'oct', kid: 'a', k: 'AAAA' }] }],
  ])('%s is a TypeError', (_what, keySet) => {
    const issuers = [{ issuer: 'x', keys: { keySet: keySet as JsonWebKeySet } }];
    expect(() => testVerifier({ issuers })).toThrow(TypeError);
  });
});

test('an address of keys in a token is never fetched', async () => {
  const issuer = testIssuer();
  const trap = await jsonServer(() => ({ body: testIssuer().jwks() }));
  const { codeOf } = testVerifier({ issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks } }] });
  const address = `${trap.origin}/jwks.json`;
  const header = { kid: 'attacker', jku: address, x5u: address, x5c: ['AAAA'], jwk: issuer.jwks().keys[0] };
  expect(await codeOf(issuer.token({ header }))).toBe('token_key_unknown');
  expect(await codeOf(issuer.token({ header: { ...header, kid: address } }))).toBe('token_key_unknown');
  expect(await codeOf(issuer.token({ header: { ...header, kid: issuer.kid } }))).toBe('accepted');
  expect(await codeOf(issuer.token({ claims: { iss: trap.origin, jwks_uri: address } }))).toBe(
    'token_issuer_unknown',
  );
  expect(trap.requests).toEqual([]);
});
