import { createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { TokenIssuer } from '../../verifier/issuer.ts';
import { base64url } from '../support/broker-tokens.ts';
import { type HttpServer, jsonServer, testVerifier } from '../support/verifier-fixture.ts';

/** Tokens and keys in the shape SuperTokens gives them; `iss` is apiDomain and apiBasePath without a slash behind. */
const issuer = 'https://api.example.com/auth';
const nowSeconds = 1_760_000_000;

function signingKey(kid: string) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const { n, e } = createPublicKey(privateKey).export({ format: 'jwk' });
  return { kid, privateKey, jwk: { kty: 'RSA', kid, n, e, alg: 'RS256', use: 'sig' } };
}

// `d-` and the moment it was made in milliseconds, or `s-` and a UUID for the one that does not rotate.
const dynamic = signingKey(`d-${nowSeconds * 1000 - 86_400_000}`);
const fixed = signingKey(`s-${randomUUID()}`);
const jwks = { keys: [dynamic.jwk, fixed.jwk] };

const header = { alg: 'RS256', kid: dynamic.kid, typ: 'JWT' };
const claims = {
  iss: issuer,
  sub: 'stcl_9a6f2f0e-2f3b-4a8c-9f4e-0d3a5b7c1e42',
  client_id: 'stcl_9a6f2f0e-2f3b-4a8c-9f4e-0d3a5b7c1e42',
  aud: ['mqtt'],
  scp: ['telemetry.write', 'commands.read'],
  stt: 1,
  gid: '0b9f9c4e-6d0c-4f58-8a55-7d9f2a1c3e77',
  jti: 'c1a7d8ee-51f2-4a0b-9d6c-2b8e4f6a9d10',
  iat: nowSeconds,
  nbf: nowSeconds,
  exp: nowSeconds + 3_600,
};

type Changes = Readonly<Record<string, unknown>>;

function token(claimChanges: Changes = {}, headerChanges: Changes = {}, key = dynamic): string {
  const input = [
    base64url(JSON.stringify({ ...header, kid: key.kid, ...headerChanges })),
    base64url(JSON.stringify({ ...claims, ...claimChanges })),
  ].join('.');
  return `${input}.${sign('sha256', Buffer.from(input), key.privateKey).toString('base64url')}`;
}

/** Serves what SuperTokens serves: the keys, and OpenID's metadata alone. */
function superTokens(): Promise<HttpServer> {
  return jsonServer((path) => (path === '/auth/jwt/jwks.json' ? { body: jwks } : { status: 404 }));
}

async function verifier(profile: TokenIssuer['profile'] = 'supertokens') {
  const server = await superTokens();
  return testVerifier({
    issuers: [
      {
        issuer,
        keys: { jwksUri: `${server.origin}/auth/jwt/jwks.json` },
        algorithms: ['RS256'],
        ...(profile === undefined ? {} : { profile }),
      },
    ],
    now: () => nowSeconds * 1000,
  });
}

test('a token of SuperTokens verifies, and says who may do what', async () => {
  const { verify } = await verifier();
  expect(await verify(Buffer.from(token()))).toMatchObject({
    clientId: claims.client_id,
    issuer,
    tokenId: claims.jti,
    keyId: dynamic.kid,
    scopes: ['telemetry.write', 'commands.read'],
    issuedAtSeconds: nowSeconds,
    expiresAtSeconds: nowSeconds + 3_600,
  });
});

describe('also accepted', () => {
  test.each<[string, Changes, Changes?, typeof fixed?]>([
    ['signed by the key that does not rotate', {}, {}, fixed],
    ['sub alone', { client_id: undefined }],
    ['no scopes, which grants nothing', { scp: [] }],
    ['an audience among others', { aud: ['https://api.example.com', 'mqtt'] }],
    ['nbf within the skew', { nbf: nowSeconds + 5, iat: nowSeconds + 5 }],
    ['expired within the skew', { iat: nowSeconds - 3_604, nbf: nowSeconds - 3_604, exp: nowSeconds - 4 }],
    ['scope beside scp', { scope: 'telemetry.write commands.read' }],
    ['scope instead of scp', { scp: undefined, scope: 'telemetry.write' }],
    ['the claims of Hydra beside', { ext: {}, rt_hash: 'x', sessionHandle: 'y', tId: 'public', rsub: 'z' }],
    ['no gid', { gid: undefined }],
    ['typ in other letters', {}, { typ: 'jwt' }],
    ['typ of RFC 9068', {}, { typ: 'at+jwt' }],
  ])('%s', async (_what, claimChanges, headerChanges, key) => {
    const { codeOf } = await verifier();
    expect(await codeOf(token(claimChanges, headerChanges, key))).toBe('accepted');
  });
});

describe('one thing wrong, and it is refused:', () => {
  const invalid = 'token_claim_invalid';
  test.each<[string, Changes, Changes, string]>([
    ['stt as a string', { stt: '1' }, {}, invalid],
    ['stt of an ID token', { stt: 2 }, {}, invalid],
    ['stt of a session', { stt: 0 }, {}, invalid],
    ['stt true', { stt: true }, {}, invalid],
    ['stt in a list', { stt: [1] }, {}, invalid],
    ['no stt', { stt: undefined }, {}, invalid],
    ['sst, as two samples of theirs have it', { stt: undefined, sst: 1 }, {}, invalid],
    ['scp as a string', { scp: 'telemetry.write' }, {}, invalid],
    ['scp with a number', { scp: [1] }, {}, invalid],
    ['no scopes at all', { scp: undefined }, {}, invalid],
    ['an empty aud', { aud: [] }, {}, 'token_audience_refused'],
    ['no aud', { aud: undefined }, {}, 'token_audience_refused'],
    ['aud of others', { aud: ['https://api.example.com'] }, {}, 'token_audience_refused'],
    ['aud that begins so', { aud: ['mqtt2'] }, {}, 'token_audience_refused'],
    ['sub of a user', { sub: 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6' }, {}, invalid],
    ['client_id of another', { client_id: 'stcl_other' }, {}, invalid],
    ['client_id null', { client_id: null }, {}, invalid],
    ['no sub', { sub: undefined }, {}, invalid],
    ['neither', { sub: undefined, client_id: undefined }, {}, invalid],
    [
      'expired',
      { iat: nowSeconds - 3_605, nbf: nowSeconds - 3_605, exp: nowSeconds - 5 },
      {},
      'token_expired',
    ],
    ['no exp', { exp: undefined }, {}, invalid],
    ['exp as a string', { exp: `${nowSeconds + 3_600}` }, {}, invalid],
    ['nbf ahead of the skew', { nbf: nowSeconds + 6 }, {}, 'token_not_yet_valid'],
    ['iat ahead of the skew', { iat: nowSeconds + 6 }, {}, 'token_not_yet_valid'],
    ['nbf null', { nbf: null }, {}, invalid],
    ['no jti', { jti: undefined }, {}, invalid],
    ['iss with a slash behind', { iss: `${issuer}/` }, {}, 'token_issuer_unknown'],
    ['iss without the base path', { iss: 'https://api.example.com' }, {}, 'token_issuer_unknown'],
    ['typ of an ID token', {}, { typ: 'id+jwt' }, 'token_type_refused'],
    ['no typ', {}, { typ: undefined }, 'token_type_refused'],
    ['alg ES256', {}, { alg: 'ES256' }, 'token_algorithm_refused'],
    ['alg PS256', {}, { alg: 'PS256' }, 'token_algorithm_refused'],
    ['alg none', {}, { alg: 'none' }, 'token_algorithm_refused'],
    ['a kid that is not in the set', {}, { kid: `d-${nowSeconds * 1000}` }, 'token_key_unknown'],
    ['the kid of the other key', {}, { kid: fixed.kid }, 'token_signature_invalid'],
    ['no kid', {}, { kid: undefined }, 'token_key_unknown'],
    [
      'bound to a certificate not shown',
      { cnf: { 'x5t#S256': 'A'.repeat(43) } },
      {},
      'token_binding_mismatch',
    ],
  ])('%s', async (_what, claimChanges, headerChanges, code) => {
    const { codeOf } = await verifier();
    expect(await codeOf(token(claimChanges, headerChanges))).toBe(code);
  });
});

test('with the standard profile the same token is refused', async () => {
  const { codeOf } = await verifier('standard');
  expect(await codeOf(token())).toBe('token_type_refused');
  expect(await codeOf(token({ client_id: undefined }, { typ: 'at+jwt' }))).toBe('token_claim_invalid');
});

test('its keys are found by its metadata, which is OpenID Connect Discovery alone', async () => {
  let own: { origin: string } | undefined;
  const server = await jsonServer((path) => {
    const base = `${own?.origin}/auth`;
    if (path === '/auth/.well-known/openid-configuration') {
      return {
        body: { issuer: base, jwks_uri: `${base}/jwt/jwks.json`, token_endpoint: `${base}/oauth/token` },
      };
    }
    return path === '/auth/jwt/jwks.json' ? { body: jwks } : { status: 404 };
  });
  own = server;
  const base = `${server.origin}/auth`;
  const { codeOf } = testVerifier({
    issuers: [{ issuer: base, keys: { discover: true }, algorithms: ['RS256'], profile: 'supertokens' }],
    now: () => nowSeconds * 1000,
  });
  expect(await codeOf(token({ iss: base }))).toBe('accepted');
});
