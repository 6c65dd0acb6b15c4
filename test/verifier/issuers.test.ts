import { describe, expect, test } from 'vitest';
import type { TokenIssuer } from '../../verifier/issuer.ts';
import { testIssuer } from '../support/broker-tokens.ts';
import { jsonServer, testVerifier } from '../support/verifier-fixture.ts';

describe('of several issuers at once', () => {
  const [es, ed, rs] = [
    testIssuer('https://one.example', 'ES256'),
    testIssuer('https://two.example/auth', 'EdDSA'),
    testIssuer('https://three.example', 'RS256'),
  ];

  async function verifier() {
    const server = await jsonServer(() => ({ body: rs.jwks() }));
    return testVerifier({
      issuers: [
        { issuer: es.name, keys: { jwks: es.jwks } },
        { issuer: ed.name, keys: { keySet: ed.jwks() }, audience: 'edge', algorithms: ['EdDSA'] },
        {
          issuer: rs.name,
          keys: { jwksUri: `${server.origin}/jwks.json` },
          algorithms: ['RS256'],
          profile: { clientId: 'azp', types: ['JWT'] },
        },
      ],
    });
  }

  test('each is trusted by its own keys, audience, algorithms and profile', async () => {
    const { codeOf } = await verifier();
    expect(await codeOf(es.token())).toBe('accepted');
    expect(await codeOf(ed.token())).toBe('token_audience_refused');
    expect(await codeOf(ed.token({ claims: { aud: 'edge' } }))).toBe('accepted');
    expect(await codeOf(es.token({ claims: { aud: 'edge' } }))).toBe('token_audience_refused');
    const claims = { azp: 'device-1', client_id: undefined };
    expect(await codeOf(rs.token({ claims }))).toBe('token_type_refused');
    expect(await codeOf(rs.token({ claims, header: { typ: 'JWT' } }))).toBe('accepted');
    expect(await codeOf(es.token({ header: { typ: 'JWT' } }))).toBe('token_type_refused');
    expect(await codeOf(ed.token({ header: { alg: 'ES256' } }))).toBe('token_algorithm_refused');
  });

  test('none signs for another', async () => {
    const { codeOf } = await verifier();
    for (const [signer, claimed] of [
      [es, ed],
      [ed, es],
      [rs, es],
    ] as const) {
      const token = signer.token({ claims: { iss: claimed.name, aud: ['mqtt', 'edge'] } });
      expect(await codeOf(token)).toMatch(/^token_(key_unknown|algorithm_refused)$/);
    }
    expect(await codeOf(ed.token({ claims: { iss: es.name }, header: { kid: es.kid } }))).toBe(
      'token_key_unknown',
    );
    const twin = testIssuer(es.name, 'ES256');
    expect(await codeOf(twin.token({ header: { kid: es.kid } }))).toBe('token_signature_invalid');
  });

  test('one that is away does not keep the others from being verified', async () => {
    const away = testIssuer('https://away.example');
    const { codeOf } = testVerifier({
      issuers: [
        { issuer: away.name, keys: { jwksUri: 'http://127.0.0.1:1/' } },
        { issuer: es.name, keys: { jwks: es.jwks } },
      ],
    });
    expect(await Promise.all([codeOf(away.token()), codeOf(es.token())])).toEqual([
      'keys_unavailable',
      'accepted',
    ]);
  });
});

describe('a mistake in a trusted issuer is a TypeError', () => {
  const good: TokenIssuer = { issuer: 'https://one.example', keys: { discover: true } };
  test.each<[string, Record<string, unknown>, RegExp?]>([
    ['a misspelled option', { jwks_uri: 'https://one.example/keys' }, /unknown option/],
    ['no keys', { keys: undefined }],
    ['empty keys', { keys: {} }],
    ['keys of two kinds', { keys: { discover: true, jwksUri: 'https://one.example/' } }],
    ['keys of a misspelled kind', { keys: { jwksUrl: 'https://one.example/' } }, /keys\.jwksUri/],
    ['an http address of keys', { keys: { jwksUri: 'http://one.example/' } }, /https/],
    ['an address of keys with a password', { keys: { jwksUri: 'https://a:b@one.example/' } }],
    ['no address of keys', { keys: { jwksUri: 'keys' } }],
    ['discovery of an http issuer', { issuer: 'http://one.example' }],
    ['discovery of a name', { issuer: 'one' }],
    ['discovery of an issuer with a query', { issuer: 'https://one.example/?tenant=1' }],
    ['discovery of an issuer with a fragment', { issuer: 'https://one.example/#' }],
    ['an empty audience', { audience: '' }],
    ['no algorithms', { algorithms: [] }],
    ['algorithms that are no list', { algorithms: 'ES256' }],
    ['maxStaleSeconds below 0', { maxStaleSeconds: -1 }],
    ['maxStaleSeconds beyond a month', { maxStaleSeconds: 2_592_001 }],
    ['maxStaleSeconds that is no number', { maxStaleSeconds: '60' as never }],
    [
      'maxStaleSeconds for keys that are not fetched',
      { keys: { jwks: () => ({ keys: [] }) }, maxStaleSeconds: 60 },
    ],
    ['a profile that is null', { profile: null }],
    ['a profile that is a number', { profile: 1 }],
  ])('%s', (_what, more, words = /./) => {
    const make = () => testVerifier({ issuers: [{ ...good, ...more } as TokenIssuer] });
    expect(make).toThrow(TypeError);
    expect(make).toThrow(words);
  });

  test('and what is right is taken', () => {
    testVerifier({ issuers: [{ ...good, maxStaleSeconds: 0 }] });
    testVerifier({ issuers: [{ ...good, issuer: 'http://localhost:8080/auth' }] });
    testVerifier({ issuers: [{ ...good, issuer: 'http://[::1]:8080' }] });
  });
});
