import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { isRocaModulus, isSmallOrderPoint } from '@fleetgate/shared';
import { describe, expect, test } from 'vitest';
import { loadKeySet } from '../../verifier/key-set.ts';
import { testIssuer } from '../support/broker-tokens.ts';
import { jsonServer, testVerifier } from '../support/verifier-fixture.ts';

type Jwk = Record<string, unknown>;

const publicJwk = (key: KeyObject): Jwk => ({ ...createPublicKey(key).export({ format: 'jwk' }) });
const rsa = (modulusLength: number, publicExponent = 65_537) =>
  generateKeyPairSync('rsa', { modulusLength, publicExponent }).privateKey;
const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve }).privateKey;

const keys = { RS256: rsa(2048), ES256: ec('P-256'), EdDSA: generateKeyPairSync('ed25519').privateKey };
const jwks = {
  RS256: publicJwk(keys.RS256),
  ES256: publicJwk(keys.ES256),
  EdDSA: publicJwk(keys.EdDSA),
};
const { n } = jwks.RS256;
const base64url = (value: bigint) => {
  const hex = value.toString(16);
  return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex').toString('base64url');
};

/** `kid` and algorithm of the keys that may be used. */
const usable = (...members: unknown[]) =>
  Array.from(loadKeySet({ keys: members }).keys.values(), ({ kid, alg }) => `${kid} ${alg}`);

describe('a key that may be used', () => {
  test.each<[string, Jwk, string]>([
    ['RSA', jwks.RS256, 'RS256'],
    ['P-256', jwks.ES256, 'ES256'],
    ['Ed25519', jwks.EdDSA, 'EdDSA'],
  ])('%s has its algorithm by its type when it names none', (_type, jwk, alg) => {
    expect(usable({ ...jwk, kid: 'a' })).toEqual([`a ${alg}`]);
    expect(usable({ ...jwk, kid: 'a', alg, use: 'sig', key_ops: ['verify'] })).toEqual([`a ${alg}`]);
    expect(usable({ ...jwk, kid: 'a', x5c: ['AAAA'], x5t: 'AAAA', nobodyKnows: {} })).toEqual([`a ${alg}`]);
  });

  test('RSA of 3072 bits, and one with a large odd exponent', () => {
    expect(usable({ ...publicJwk(rsa(3072)), kid: 'a' })).toEqual(['a RS256']);
    expect(usable({ kty: 'RSA', n, e: base64url(4_294_967_297n), kid: 'a' })).toEqual(['a RS256']);
  });
});

describe('a key that is left out while the one beside it is used', () => {
  const good = { ...publicJwk(generateKeyPairSync('ed25519').privateKey), kid: 'good' };
  // [what, key, whether it may well be in a set]
  test.each<[string, unknown, boolean]>([
    ['RSA of 1024 bits', { ...publicJwk(rsa(1024)), kid: 'a' }, false],
    ['RSA of 2047 bits', { kty: 'RSA', n: base64url(2n ** 2046n + 1n), e: 'AQAB', kid: 'a' }, false],
    ['RSA of 8200 bits', { kty: 'RSA', n: base64url(2n ** 8199n + 1n), e: 'AQAB', kid: 'a' }, false],
    ['RSA with e = 1', { kty: 'RSA', n, e: 'AQ', kid: 'a' }, false],
    ['RSA with e = 3', { kty: 'RSA', n, e: 'Aw', kid: 'a' }, false],
    ['RSA with e = 65535', { kty: 'RSA', n, e: base64url(65_535n), kid: 'a' }, false],
    ['RSA with an even e', { kty: 'RSA', n, e: base64url(65_538n), kid: 'a' }, false],
    ['RSA without n', { kty: 'RSA', e: 'AQAB', kid: 'a' }, false],
    ['RSA with n a number', { kty: 'RSA', n: 1, e: 'AQAB', kid: 'a' }, false],
    [
      'a point that is not on P-256',
      { kty: 'EC', crv: 'P-256', x: jwks.ES256['y'], y: jwks.ES256['x'], kid: 'a' },
      false,
    ],
    ['P-256 without y', { kty: 'EC', crv: 'P-256', x: jwks.ES256['x'], kid: 'a' }, false],
    ['P-384 that says it is for ES256', { ...publicJwk(ec('P-384')), alg: 'ES256', kid: 'a' }, false],
    ['secp256k1 that says it is for ES256', { ...publicJwk(ec('secp256k1')), alg: 'ES256', kid: 'a' }, false],
    ['P-256 that says it is for RS256', { ...jwks.ES256, alg: 'RS256', kid: 'a' }, false],
    ['RSA that says it is for ES256', { ...jwks.RS256, alg: 'ES256', kid: 'a' }, false],
    [
      'Ed25519 of 31 bytes',
      { kty: 'OKP', crv: 'Ed25519', x: Buffer.alloc(31, 9).toString('base64url'), kid: 'a' },
      false,
    ],
    [
      'Ed25519 of order 1',
      { kty: 'OKP', crv: 'Ed25519', x: Buffer.alloc(32).fill(1, 0, 1).toString('base64url'), kid: 'a' },
      false,
    ],
    ['a private RSA key', { ...keys.RS256.export({ format: 'jwk' }), kid: 'a' }, false],
    ['a private P-256 key', { ...keys.ES256.export({ format: 'jwk' }), kid: 'a' }, false],
    ['a private Ed25519 key', { ...keys.EdDSA.export({ format: 'jwk' }), kid: 'a' }, false],
    [
      'a private key for encryption',
      { ...keys.RS256.export({ format: 'jwk' }), use: 'enc', kid: 'a' },
      false,
    ],
    ['one prime of a private key', { ...jwks.RS256, p: 'AAAA', kid: 'a' }, false],
    ['a symmetric key', { kty: 'oct', k: 'AAAA', kid: 'a' }, false],
    ['a symmetric key that says HS256', { kty: 'oct', k: 'AAAA', alg: 'HS256', use: 'sig', kid: 'a' }, false],
    ['a public key with k', { ...jwks.RS256, k: 'AAAA', kid: 'a' }, false],
    ['no kid', jwks.ES256, false],
    ['an empty kid', { ...jwks.ES256, kid: '' }, false],
    ['a kid that is a number', { ...jwks.ES256, kid: 1 }, false],
    ['a kid of 257 characters', { ...jwks.ES256, kid: 'x'.repeat(257) }, false],
    ['null', null, false],
    ['a string', 'key', false],
    ['an array', [jwks.ES256], false],
    ['one for encryption', { ...jwks.RS256, use: 'enc', kid: 'a' }, true],
    ['one that may do other things than verify', { ...jwks.RS256, key_ops: ['encrypt'], kid: 'a' }, true],
    ['key_ops that is no list', { ...jwks.RS256, key_ops: 'verify', kid: 'a' }, true],
    ['RSA for PS256', { ...jwks.RS256, alg: 'PS256', kid: 'a' }, true],
    ['RSA for RSA-OAEP', { ...jwks.RS256, alg: 'RSA-OAEP', kid: 'a' }, true],
    ['P-384', { ...publicJwk(ec('P-384')), kid: 'a' }, true],
    ['secp256k1', { ...publicJwk(ec('secp256k1')), kid: 'a' }, true],
    ['Ed448', { ...publicJwk(generateKeyPairSync('ed448').privateKey), kid: 'a' }, true],
    ['a key type nobody knows', { kty: 'AKP', alg: 'ML-DSA-44', pub: 'AAAA', kid: 'a' }, true],
  ])('%s', (_what, jwk, isForeign) => {
    const { keys: loaded, skipped } = loadKeySet({ keys: [jwk, good] });
    expect([...loaded.keys()]).toEqual(['good']);
    expect(skipped).toMatchObject([{ isForeign }]);
  });
});

describe('two keys of one kid', () => {
  test('that differ are neither used, whichever comes first', () => {
    const [one, other] = [
      { ...jwks.ES256, kid: 'a' },
      { ...publicJwk(ec('P-256')), kid: 'a' },
    ];
    expect(usable(one, other)).toEqual([]);
    expect(usable(other, one)).toEqual([]);
    expect(usable(one, other, one)).toEqual([]);
    expect(usable(one, { ...jwks.EdDSA, kid: 'a' })).toEqual([]);
  });

  test('that are one key are one', () => {
    expect(usable({ ...jwks.ES256, kid: 'a' }, { ...jwks.ES256, kid: 'a', alg: 'ES256' })).toEqual([
      'a ES256',
    ]);
  });

  test('one of which is not to be used are neither used, unless that one is for another purpose', () => {
    const good = { ...jwks.ES256, kid: 'a' };
    expect(usable({ ...publicJwk(rsa(1024)), kid: 'a' }, good)).toEqual([]);
    expect(usable(good, { kty: 'oct', k: 'AAAA', kid: 'a' })).toEqual([]);
    expect(usable(good, { ...jwks.RS256, use: 'enc', kid: 'a' })).toEqual(['a ES256']);
  });
});

test.each(['RS256', 'ES256', 'EdDSA'] as const)(
  'a public key whose private half is in the set is not used under any name (%s)',
  (alg) => {
    const open = { ...keys[alg].export({ format: 'jwk' }), kid: 'b' };
    expect(usable({ ...jwks[alg], kid: 'a' }, open)).toEqual([]);
    expect(usable(open, { ...jwks[alg], kid: 'a' })).toEqual([]);
    expect(usable({ ...open, alg: 'PS256' }, { ...jwks[alg], kid: 'a' })).toEqual([]);
  },
);

test.each([undefined, null, [], 'keys', {}, { keys: {} }, { keys: 'a' }])('%j is no key set', (value) => {
  expect(() => loadKeySet(value)).toThrow(TypeError);
});

test('a set has 64 keys at most', () => {
  const many = (count: number) => ({
    keys: Array.from({ length: count }, (_, i) => ({ ...jwks.EdDSA, kid: `${i}` })),
  });
  expect(loadKeySet(many(64)).keys.size).toBe(64);
  expect(() => loadKeySet(many(65))).toThrow(TypeError);
});

test('names of the object prototype are kids like any other', () => {
  expect(usable({ ...jwks.ES256, kid: '__proto__' })).toEqual(['__proto__ ES256']);
});

test('a modulus made as by the library of ROCA is found, and no other', () => {
  // CVE-2017-15361: p = k * M + (65537^a mod M), M the product of the first 126 primes for keys of this size.
  const primorial = primes(126).reduce((product, prime) => product * prime, 1n);
  const factor = (a: bigint, k: bigint) => k * primorial + power(65_537n, a, primorial);
  const modulus = factor(123_456_789n, 2n ** 60n + 1n) * factor(987_654_321n, 2n ** 60n + 9n);
  expect(isRocaModulus(modulus)).toBe(true);
  expect(isRocaModulus(modulus + 2n)).toBe(false);
  const padded = modulus * factor(5n, 1n);
  expect(padded.toString(2).length).toBeGreaterThan(2048);
  const { skipped } = loadKeySet({ keys: [{ kty: 'RSA', n: base64url(padded), e: 'AQAB', kid: 'a' }] });
  expect(skipped).toMatchObject([{ kid: 'a', isForeign: false, problem: expect.stringContaining('ROCA') }]);
  for (let i = 0; i < 3; i += 1) {
    expect(
      isRocaModulus(
        BigInt(`0x${Buffer.from(publicJwk(rsa(2048))['n'] as string, 'base64url').toString('hex')}`),
      ),
    ).toBe(false);
  }
});

describe('an Ed25519 point of small order', () => {
  const y8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;
  const sign = 2n ** 255n;
  const points = [0n, sign, 1n, field - 1n, y8, y8 + sign, field - y8, field - y8 + sign, field, field + 1n];

  test.each(points.map((point) => [point.toString(16), point] as const))('%s is found', (_hex, point) => {
    expect(isSmallOrderPoint(littleEndian(point))).toBe(true);
  });

  test('is what these are: eight times each is the neutral element', () => {
    for (const point of points.slice(0, 8)) {
      const y = point % sign;
      // x² = (y² - 1) / (d y² + 1) (RFC 8032 §5.1)
      const x2 = modulo((y * y - 1n) * inverse(d * y * y + 1n));
      let affine = { x: root(x2), y };
      for (let doubled = 0; doubled < 3; doubled += 1) affine = double(affine);
      expect(affine, point.toString(16)).toEqual({ x: 0n, y: 1n });
    }
  });

  test('is no usual key', () => {
    for (let i = 0; i < 20; i += 1) {
      const { x } = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
      expect(isSmallOrderPoint(Buffer.from(x as string, 'base64url'))).toBe(false);
    }
  });
});

describe('what a bad key leads to', () => {
  const issuer = testIssuer();
  const shared = createPrivateKey({ key: issuer.privateKey.export({ format: 'jwk' }), format: 'jwk' });
  const open = { ...shared.export({ format: 'jwk' }), kid: issuer.kid };
  const other = testIssuer(issuer.name, 'RS256');
  const set = {
    keys: [open, ...other.jwks().keys, { ...jwks.RS256, use: 'enc', kid: 'for encryption' }],
  } as never;

  test.each(['local', 'static', 'remote'] as const)(
    'its tokens are refused and it is told once (%s)',
    async (kind) => {
      const server = await jsonServer(() => ({ body: set, headers: { 'cache-control': 'max-age=60' } }));
      let monotonicMs = 0;
      const source = {
        local: { jwks: () => structuredClone(set) },
        static: { keySet: set },
        remote: { jwksUri: `${server.origin}/` },
      };
      const { codeOf, log } = testVerifier({
        issuers: [{ issuer: issuer.name, keys: source[kind] }],
        monotonicMs: () => monotonicMs,
      });
      for (let i = 0; i < 3; i += 1) {
        expect(await codeOf(issuer.token())).toBe('token_key_unknown');
        expect(await codeOf(other.token())).toBe('accepted');
        monotonicMs += 3_600_000;
      }
      expect(log.filter(({ event }) => event === 'key_skipped')).toMatchObject([
        { level: 'warn', kid: issuer.kid, issuer: issuer.name },
        { level: 'debug', kid: 'for encryption' },
      ]);
      expect(JSON.stringify(log)).not.toContain((open as { d?: string }).d);
    },
  );
});

function primes(count: number): bigint[] {
  const found: bigint[] = [];
  for (let n = 2n; found.length < count; n += 1n) if (found.every((prime) => n % prime !== 0n)) found.push(n);
  return found;
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (let [b, e] = [base % modulus, exponent]; e > 0n; e >>= 1n) {
    if (e & 1n) result = (result * b) % modulus;
    b = (b * b) % modulus;
  }
  return result;
}

function littleEndian(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse();
}

const field = 2n ** 255n - 19n;
const modulo = (value: bigint) => ((value % field) + field) % field;
const inverse = (value: bigint) => power(modulo(value), field - 2n, field);
const d = modulo(-121_665n * inverse(121_666n));

// RFC 8032 §5.1.3
function root(square: bigint): bigint {
  const candidate = power(square, (field + 3n) / 8n, field);
  if (modulo(candidate * candidate) === square) return candidate;
  const other = modulo(candidate * power(2n, (field - 1n) / 4n, field));
  expect(modulo(other * other)).toBe(square);
  return other;
}

function double({ x, y }: { x: bigint; y: bigint }): { x: bigint; y: bigint } {
  const product = modulo(d * x * x * y * y);
  return {
    x: modulo(2n * x * y * inverse(1n + product)),
    y: modulo((y * y + x * x) * inverse(1n - product)),
  };
}
