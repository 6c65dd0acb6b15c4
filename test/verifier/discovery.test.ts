import { describe, expect, test } from 'vitest';
import { discover, endpointOf } from '../../verifier/discovery.ts';
import { testIssuer } from '../support/broker-tokens.ts';
import {
  type Answer,
  fakeClock,
  type HttpServer,
  jsonServer,
  testVerifier,
} from '../support/verifier-fixture.ts';

const rfc8414 = '/.well-known/oauth-authorization-server';
const openid = '/.well-known/openid-configuration';

/** A server that answers these paths, and 404 to all others. */
function serving(answers: (origin: string) => Record<string, Answer>): Promise<HttpServer> {
  const server: Promise<HttpServer> = jsonServer((path, { headers }) => {
    return answers(`http://${headers.host}`)[path] ?? { status: 404 };
  });
  return server;
}

/** A verifier that trusts an issuer at `path` of the server and finds its keys. */
function discovering(server: HttpServer, path = '') {
  const issuer = testIssuer(`${server.origin}${path}`);
  const clock = fakeClock();
  const verifier = testVerifier({
    issuers: [{ issuer: issuer.name, keys: { discover: true } }],
    monotonicMs: clock.ms,
    maxCachedTokens: 0,
  });
  return { issuer, clock, ...verifier };
}

describe('the metadata is looked for', () => {
  test.each<[string, string, string[]]>([
    ['at the well-known path of an issuer without path', '', [rfc8414]],
    ['at the same with a slash at the end', '/', [rfc8414]],
    ['between host and path of an issuer with one', '/auth/tenant', [`${rfc8414}/auth/tenant`]],
    ['the same without the slash at its end', '/auth/', [`${rfc8414}/auth`]],
  ])('%s (RFC 8414 §3.1)', async (_what, path, places) => {
    const keys = testIssuer().jwks();
    const server = await serving((origin) => ({
      [places[0] as string]: { body: { issuer: `${origin}${path}`, jwks_uri: `${origin}/keys` } },
      '/keys': { body: keys },
    }));
    const { issuer, codeOf } = discovering(server, path);
    // Of another key than the set has; that it was looked at is what counts.
    expect(await codeOf(issuer.token())).toBe('token_key_unknown');
    expect(server.paths()).toEqual([...places, '/keys']);
  });

  test.each<[string, Answer]>([
    ['is not there', { status: 404 }],
    ['answers 500', { status: 500 }],
    ['is HTML', { body: '<html>', headers: { 'content-type': 'text/html' } }],
    ['is no object', { body: [] }],
    ['is null', { body: 'null' }],
    ['is of another issuer', { body: { issuer: 'https://other.example', jwks_uri: 'http://127.0.0.1:1/' } }],
    ['is a redirect', { status: 302, headers: { location: '/elsewhere' } }],
    ['is longer than 64 KiB', { body: { padding: 'x'.repeat(65_536) } }],
  ])(
    'behind the path of the issuer, where the first %s (OpenID Connect Discovery §4)',
    async (_what, first) => {
      let jwks: unknown;
      const server = await serving((origin) => ({
        [`${rfc8414}/auth`]: first,
        [`/auth${openid}`]: { body: { issuer: `${origin}/auth`, jwks_uri: `${origin}/auth/jwt/jwks.json` } },
        '/auth/jwt/jwks.json': { body: jwks },
      }));
      const { issuer, codeOf } = discovering(server, '/auth');
      jwks = issuer.jwks();
      expect(await codeOf(issuer.token())).toBe('accepted');
      expect(server.paths()).toEqual([`${rfc8414}/auth`, `/auth${openid}`, '/auth/jwt/jwks.json']);
    },
  );
});

test.each<[string, (origin: string) => unknown]>([
  ['a slash more', (origin) => `${origin}/auth/`],
  ['other letters', (origin) => `${origin}/AUTH`],
  ['no path', (origin) => origin],
  ['another name of the host', (origin) => `${origin.replace('127.0.0.1', 'localhost')}/auth`],
  ['no issuer', () => undefined],
  ['an array of it', (origin) => [`${origin}/auth`]],
])('metadata that names the issuer with %s counts for nothing', async (_what, named) => {
  const keys = testIssuer().jwks();
  const server = await serving((origin) => {
    const body = { issuer: named(origin), jwks_uri: `${origin}/keys` };
    return { [`${rfc8414}/auth`]: { body }, [`/auth${openid}`]: { body }, '/keys': { body: keys } };
  });
  const { issuer, codeOf, log } = discovering(server, '/auth');
  expect(await codeOf(issuer.token())).toBe('keys_unavailable');
  expect(log).toMatchObject([{ level: 'warn', event: 'keys_unavailable', issuer: issuer.name }]);
  expect(server.paths()).not.toContain('/keys');
});

test.each<[string, unknown]>([
  ['no jwks_uri', undefined],
  ['a jwks_uri that is a number', 1],
  ['a jwks_uri without scheme', 'keys'],
  ['an http jwks_uri on another host', 'http://keys.example/jwks.json'],
  ['a file', 'file:///etc/passwd'],
  ['a jwks_uri with a password', 'https://user:password@keys.example/'],
])('metadata with %s makes the keys unavailable', async (_what, jwksUri) => {
  const server = await serving((origin) => ({ [rfc8414]: { body: { issuer: origin, jwks_uri: jwksUri } } }));
  const { issuer, codeOf } = discovering(server);
  expect(await codeOf(issuer.token())).toBe('keys_unavailable');
});

test('metadata from outside does not point into this machine', () => {
  const metadata = new Map([['jwks_uri', 'http://127.0.0.1:8081/keys']]);
  expect(endpointOf(metadata, ['jwks_uri'], 'https://auth.example.com')).toHaveProperty('problem');
  expect(endpointOf(metadata, ['jwks_uri'], 'http://localhost:8080')).toBe('http://127.0.0.1:8081/keys');
});

test('keys that have moved are found where the metadata says now', async () => {
  let place = '/old';
  let jwks: unknown;
  const server = await serving((origin) => ({
    [rfc8414]: { body: { issuer: origin, jwks_uri: `${origin}${place}` } },
    [place]: { body: jwks },
  }));
  const { issuer, clock, codeOf } = discovering(server);
  jwks = testIssuer().jwks();
  expect(await codeOf(issuer.token())).toBe('token_key_unknown');
  place = '/new';
  jwks = issuer.jwks();
  clock.pass(30);
  expect(await codeOf(issuer.token())).toBe('accepted');
});

test('an issuer that is away has no metadata, and the problem names no more than where', async () => {
  const answer = await discover('http://127.0.0.1:1', AbortSignal.timeout(1000));
  expect(answer).toEqual({ problem: expect.stringContaining('http://127.0.0.1:1') });
});
