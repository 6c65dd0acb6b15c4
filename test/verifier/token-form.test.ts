import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { TokenIssuer } from '../../verifier/issuer.ts';
import { createVerifier } from '../../verifier/verify.ts';
import { base64url, type TokenOverrides, testIssuer } from '../support/broker-tokens.ts';

const issuer = testIssuer();
const nowSeconds = Math.floor(Date.now() / 1000);

function verifier(more: Partial<TokenIssuer> = {}) {
  return createVerifier({
    issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks }, ...more }],
    audience: 'mqtt',
    clockSkewSeconds: 5,
    now: Date.now,
  });
}

async function codeOf(token: string | Uint8Array | undefined, more?: Partial<TokenIssuer>): Promise<string> {
  const bytes = typeof token === 'string' ? Buffer.from(token) : token;
  try {
    await verifier(more)(bytes);
    return 'accepted';
  } catch (error) {
    return (error as { code?: string }).code ?? `not one of ours: ${String(error)}`;
  }
}

const header = (more: Record<string, unknown> = {}) =>
  JSON.stringify({ alg: 'ES256', kid: issuer.kid, typ: 'at+jwt', ...more });
const goodClaims = {
  iss: issuer.name,
  sub: 'device-1',
  client_id: 'device-1',
  aud: ['mqtt'],
  scp: ['telemetry.write'],
  jti: 'one',
  iat: nowSeconds,
  nbf: nowSeconds,
  exp: nowSeconds + 600,
};
const payload = (more: Record<string, unknown> = {}) => JSON.stringify({ ...goodClaims, ...more });
const unsigned = (headerJson: string, signature = '') =>
  `${base64url(headerJson)}.${base64url(payload())}.${signature}`;

test('a token as RFC 9068 has it verifies, and what it says is frozen', async () => {
  const token = await verifier()(Buffer.from(issuer.tokenOf(header(), payload())));
  expect(token).toMatchObject({
    clientId: 'device-1',
    issuer: issuer.name,
    tokenId: 'one',
    keyId: issuer.kid,
    scopes: ['telemetry.write'],
    issuedAtSeconds: nowSeconds,
    expiresAtSeconds: nowSeconds + 600,
  });
  expect(Object.isFrozen(token)).toBe(true);
});

describe('the text', () => {
  const good = issuer.token();
  const [head = '', body = '', signature = ''] = good.split('.');
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  // 64 bytes of signature leave four unused bits in the last character.
  const otherLast = alphabet[alphabet.indexOf(signature.at(-1) as string) ^ 1] as string;

  test.each([
    ['no password', undefined, 'token_missing'],
    ['an empty password', '', 'token_missing'],
    ['a newline behind it', `${good}\n`, 'token_malformed'],
    ['a space in it', `${head}. ${body}.${signature}`, 'token_malformed'],
    ['padding', `${head}=.${body}.${signature}`, 'token_malformed'],
    ['two parts', `${head}.${body}`, 'token_malformed'],
    ['four parts', `${good}.x`, 'token_malformed'],
    ['an empty signature', `${head}.${body}.`, 'token_malformed'],
    ['a changed unused bit in the signature', good.slice(0, -1) + otherLast, 'token_malformed'],
    ['standard base64 characters', `${head}.${body}.+/+/`, 'token_malformed'],
    ['JSON serialization', JSON.stringify({ payload: body, signatures: [] }), 'token_malformed'],
    [
      'flattened serialization',
      JSON.stringify({ protected: head, payload: body, signature }),
      'token_malformed',
    ],
    ['a Bearer prefix', `Bearer ${good}`, 'token_malformed'],
    ['five megabytes', Buffer.alloc(5_000_000, 0x41), 'token_too_long'],
    ['8193 bytes', Buffer.alloc(8193, 0x41), 'token_too_long'],
    [
      'a header nested 2,000 deep',
      unsigned(`${'['.repeat(2000)}${']'.repeat(2000)}`, 'AAAA'),
      'token_malformed',
    ],
    // Latin small a with bit 8 set is an a to a parser that masks.
    ['a byte outside ASCII', Buffer.concat([Buffer.from(good), Buffer.from([0xe1])]), 'token_malformed'],
  ])('%s is refused', async (_what, token, code) => {
    expect(await codeOf(token)).toBe(code);
  });
});

describe('the header', () => {
  test.each<[string, string, string]>([
    ['alg none', header({ alg: 'none' }), 'token_algorithm_refused'],
    ['alg None', header({ alg: 'None' }), 'token_algorithm_refused'],
    ['alg NONE', header({ alg: 'NONE' }), 'token_algorithm_refused'],
    ['alg nOnE', header({ alg: 'nOnE' }), 'token_algorithm_refused'],
    ['no alg', header({ alg: undefined }), 'token_algorithm_refused'],
    ['alg as an array', header({ alg: ['ES256'] }), 'token_algorithm_refused'],
    ['alg ES384', header({ alg: 'ES384' }), 'token_algorithm_refused'],
    ['no kid', header({ kid: undefined }), 'token_key_unknown'],
    ['an empty kid', header({ kid: '' }), 'token_key_unknown'],
    ['a kid that is a number', header({ kid: 7 }), 'token_key_unknown'],
    ['a kid nobody has', header({ kid: 'other' }), 'token_key_unknown'],
    ['kid __proto__', header({ kid: '__proto__' }), 'token_key_unknown'],
    ['no typ', header({ typ: undefined }), 'token_type_refused'],
    ['typ JWT', header({ typ: 'JWT' }), 'token_type_refused'],
    ['typ of an ID token', header({ typ: 'id+jwt' }), 'token_type_refused'],
    ['crit', header({ crit: ['exp'] }), 'token_type_refused'],
    ['b64', header({ b64: false, crit: ['b64'] }), 'token_type_refused'],
    ['b64 alone', header({ b64: true }), 'token_type_refused'],
    ['a name twice', header().replace('{', '{"alg":"none",'), 'token_malformed'],
    ['a name twice, once escaped', header().replace('{', '{"\\u0061lg":"none",'), 'token_malformed'],
    ['an array', '["ES256"]', 'token_malformed'],
    ['null', 'null', 'token_malformed'],
    ['a byte order mark', `\uFEFF${header()}`, 'token_malformed'],
  ])('%s is refused', async (_what, headerJson, code) => {
    expect(await codeOf(issuer.tokenOf(headerJson, payload()))).toBe(code);
  });

  test('application/at+jwt is the same type', async () => {
    expect(await codeOf(issuer.tokenOf(header({ typ: 'application/at+jwt' }), payload()))).toBe('accepted');
  });
});

describe('the signature', () => {
  const hmac = (secret: string | Buffer) => {
    const input = `${base64url(header({ alg: 'HS256' }))}.${base64url(payload())}`;
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
  };
  const pem = issuer.publicKey.export({ type: 'spki', format: 'pem' }) as string;

  test.each<[string, string | Buffer]>([
    ['PEM', pem],
    ['PEM behind a newline', `\n${pem}`],
    ['PEM behind spaces', `   ${pem}`],
    ['DER', issuer.publicKey.export({ type: 'spki', format: 'der' })],
    ['JWK', JSON.stringify(issuer.jwks().keys[0])],
  ])('HMAC with the public key as %s is refused', async (_what, secret) => {
    expect(await codeOf(hmac(secret))).toBe('token_algorithm_refused');
  });

  test('a key the token brings along is not looked at', async () => {
    const attacker = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = attacker.publicKey.export({ format: 'jwk' });
    const input = `${base64url(header({ jwk }))}.${base64url(payload())}`;
    const key = { key: attacker.privateKey, dsaEncoding: 'ieee-p1363' } as const;
    const token = `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`;
    expect(await codeOf(token)).toBe('token_signature_invalid');
  });

  const input = `${base64url(header())}.${base64url(payload())}`;
  // n of P-256
  const order = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
  const zero = Buffer.alloc(32);
  const der = sign('sha256', Buffer.from(input), issuer.privateKey);
  const joined = sign('sha256', Buffer.from(input), { key: issuer.privateKey, dsaEncoding: 'ieee-p1363' });
  test.each<[string, Buffer]>([
    ['r = 0, s = 0', Buffer.concat([zero, zero])],
    ['r = n, s = n', Buffer.concat([order, order])],
    ['s = 0', Buffer.concat([Buffer.alloc(32, 1), zero])],
    ['DER', der],
    [
      'a zero in front of s',
      Buffer.concat([joined.subarray(0, 32), zero.subarray(0, 1), joined.subarray(32)]),
    ],
    ['one byte', Buffer.from([1])],
    ['65 bytes', Buffer.alloc(65, 1)],
  ])('%s is refused', async (_what, bytes) => {
    expect(await codeOf(`${input}.${bytes.toString('base64url')}`)).toBe('token_signature_invalid');
  });

  test('a token of an issuer that has stolen a kid is refused', async () => {
    const other = testIssuer(issuer.name);
    expect(await codeOf(other.tokenOf(header(), payload()))).toBe('token_signature_invalid');
  });

  test('a changed claim is refused', async () => {
    const [head, , signature] = issuer.tokenOf(header(), payload()).split('.');
    const token = `${head}.${base64url(payload({ client_id: 'device-2', sub: 'device-2' }))}.${signature}`;
    expect(await codeOf(token)).toBe('token_signature_invalid');
  });
});

describe('the claims', () => {
  const invalid = 'token_claim_invalid';
  test.each<[string, Record<string, unknown>, string]>([
    ['iss unknown', { iss: 'https://other.example' }, 'token_issuer_unknown'],
    ['iss missing', { iss: undefined }, 'token_issuer_unknown'],
    ['iss as an array', { iss: [issuer.name] }, 'token_issuer_unknown'],
    ['iss with a slash behind', { iss: `${issuer.name}/` }, 'token_issuer_unknown'],
    ['iss __proto__', { iss: '__proto__' }, 'token_issuer_unknown'],
    ['sub missing', { sub: undefined }, invalid],
    ['sub empty', { sub: '', client_id: '' }, invalid],
    ['sub a number', { sub: 7, client_id: 7 }, invalid],
    ['sub of another', { sub: 'device-2' }, invalid],
    ['client_id missing', { client_id: undefined }, invalid],
    ['client_id with a wildcard', { sub: '+', client_id: '+' }, invalid],
    ['client_id with a level', { sub: 'a/b', client_id: 'a/b' }, invalid],
    ['aud missing', { aud: undefined }, 'token_audience_refused'],
    ['aud empty', { aud: [] }, 'token_audience_refused'],
    ['aud the empty string', { aud: '' }, 'token_audience_refused'],
    ['aud that begins so', { aud: 'mqtt2' }, 'token_audience_refused'],
    ['aud that is a part', { aud: 'mqt' }, 'token_audience_refused'],
    ['aud of nested arrays', { aud: [['mqtt']] }, 'token_audience_refused'],
    ['aud with something else in it', { aud: ['mqtt', 1] }, 'token_audience_refused'],
    ['exp missing', { exp: undefined }, invalid],
    ['exp a string', { exp: `${nowSeconds + 600}` }, invalid],
    ['exp a fraction', { exp: nowSeconds + 0.5 }, invalid],
    ['exp negative', { exp: -1 }, invalid],
    ['exp 2^53', { exp: 2 ** 53 }, invalid],
    ['exp 1e15', { exp: 1e15 }, invalid],
    ['exp more than a day away', { exp: nowSeconds + 86_401 }, invalid],
    ['exp before iat', { exp: nowSeconds - 1 }, invalid],
    ['exp in the past', { iat: nowSeconds - 60, nbf: nowSeconds - 60, exp: nowSeconds - 6 }, 'token_expired'],
    ['iat missing', { iat: undefined }, invalid],
    ['iat in the future', { iat: nowSeconds + 60 }, 'token_not_yet_valid'],
    ['nbf in the future', { nbf: nowSeconds + 60 }, 'token_not_yet_valid'],
    ['nbf a string', { nbf: 'now' }, invalid],
    ['jti missing', { jti: undefined }, invalid],
    ['jti a number', { jti: 1 }, invalid],
    ['jti of 257 characters', { jti: 'x'.repeat(257) }, invalid],
    ['scp a string', { scp: 'telemetry.write' }, invalid],
    ['scp of numbers', { scp: [1] }, invalid],
    ['scp with a space in a token', { scp: ['a b'] }, invalid],
    ['scp of 129 tokens', { scp: Array.from({ length: 129 }, (_, i) => `s${i}`) }, invalid],
    ['scope an array', { scope: ['a'] }, invalid],
    ['scope an object', { scope: {} }, invalid],
    ['scope a number', { scope: 1 }, invalid],
    ['scope with a control character', { scp: undefined, scope: 'a\u0007b' }, invalid],
    ['scope with two spaces', { scp: undefined, scope: 'a  b' }, invalid],
    ['scope of 4097 characters', { scp: undefined, scope: 'x'.repeat(4097) }, invalid],
    ['neither scp nor scope', { scp: undefined, scope: undefined }, invalid],
    ['a group with a level', { group: 'a/b' }, invalid],
    ['cnf', { cnf: { 'x5t#S256': 'x' } }, invalid],
    ['cnf null', { cnf: null }, invalid],
  ])('%s is refused', async (_what, claims, code) => {
    expect(await codeOf(issuer.tokenOf(header(), payload(claims)))).toBe(code);
  });

  test.each([
    ['exp 1e400', payload().replace(/"exp":\d+/, '"exp":1e400'), invalid],
    ['a claim twice', payload().replace('{', '{"sub":"device-2",'), 'token_malformed'],
    ['an array', '[1]', 'token_malformed'],
    ['null', 'null', 'token_malformed'],
    ['a string', '"str"', 'token_malformed'],
    ['not JSON', '{', 'token_malformed'],
    [
      'invalid UTF-8',
      Buffer.concat([Buffer.from('{"iss":"'), Buffer.from([0xc0, 0x80]), Buffer.from('"}')]),
      'token_malformed',
    ],
  ])('a payload with %s is refused', async (_what, json, code) => {
    expect(await codeOf(issuer.tokenOf(header(), json))).toBe(code);
  });

  test.each<[string, Record<string, unknown>]>([
    ['an audience among others', { aud: ['other', 'mqtt'] }],
    ['a single audience', { aud: 'mqtt' }],
    ['scope instead of scp', { scp: undefined, scope: 'a b' }],
    ['no scope at all, which grants nothing', { scp: [], scope: '' }],
    ['a clock a little behind', { iat: nowSeconds + 4, nbf: nowSeconds + 4 }],
    ['a clock a little ahead', { iat: nowSeconds - 60, nbf: nowSeconds - 60, exp: nowSeconds - 1 }],
    ['no nbf', { nbf: undefined }],
  ])('%s is accepted', async (_what, claims) => {
    expect(await codeOf(issuer.tokenOf(header(), payload(claims)))).toBe('accepted');
  });

  test('names of the object prototype are claims like any other', async () => {
    const json = payload().replace('{', '{"__proto__":{"scp":["admin"]},"constructor":1,');
    expect(await codeOf(issuer.tokenOf(header(), json))).toBe('accepted');
    expect(Object.hasOwn(Object.prototype, 'scp')).toBe(false);
  });
});

describe('profile supertokens', () => {
  const supertokens = { profile: 'supertokens' } as const;
  const codeOfClaims = (
    claims: Record<string, unknown>,
    headerMore: Record<string, unknown> = { typ: 'JWT' },
  ) => codeOf(issuer.tokenOf(header(headerMore), payload({ stt: 1, ...claims })), supertokens);

  test.each<[string, Record<string, unknown>, string]>([
    ['typ JWT', {}, 'accepted'],
    ['sub alone', { client_id: undefined }, 'accepted'],
    ['stt missing', { stt: undefined }, 'token_claim_invalid'],
    ['stt a string', { stt: '1' }, 'token_claim_invalid'],
    ['stt of an ID token', { stt: 2 }, 'token_claim_invalid'],
    ['no audience', { aud: [] }, 'token_audience_refused'],
  ])('%s: %s', async (_what, claims, code) => {
    expect(await codeOfClaims(claims)).toBe(code);
  });

  test('another typ is refused', async () => {
    expect(await codeOfClaims({}, { typ: 'id+jwt' })).toBe('token_type_refused');
  });
});

describe('each algorithm', () => {
  test.each(['ES256', 'EdDSA', 'RS256'] as const)(
    '%s is verified, and only where it is allowed',
    async (alg) => {
      const other = testIssuer('https://other.example', alg);
      const code = async (overrides: TokenOverrides, algorithms?: readonly (typeof alg)[]) => {
        const trusted = { issuer: other.name, keys: { jwks: other.jwks } };
        const verify = createVerifier({
          issuers: [algorithms === undefined ? trusted : { ...trusted, algorithms }],
          audience: 'mqtt',
          clockSkewSeconds: 5,
          now: Date.now,
        });
        return verify(Buffer.from(other.token(overrides))).then(
          () => 'accepted',
          (error: { code: string }) => error.code,
        );
      };
      expect(await code({})).toBe('accepted');
      expect(await code({}, alg === 'ES256' ? ['RS256'] : ['ES256'])).toBe('token_algorithm_refused');
      expect(await code({ header: { alg: alg === 'ES256' ? 'RS256' : 'ES256' } })).toBe('token_key_unknown');
    },
  );
});
