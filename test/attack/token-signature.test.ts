import {
  constants,
  createHash,
  createHmac,
  generateKeyPairSync,
  type KeyObject,
  privateEncrypt,
  sign,
} from 'node:crypto';
import { describe, expect } from 'vitest';
import { attack, type TestBroker } from '../support/broker-fixture.ts';
import { base64url, testIssuer } from '../support/broker-tokens.ts';
import { inputOf, isRefused, signed } from './forged-token.ts';
import { A, B } from './victim.ts';

const bytesOf = (value: bigint, length = 32) =>
  Buffer.from(value.toString(16).padStart(2 * length, '0'), 'hex');
const numberOf = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);

describe('ES256: a signature the issuer did not make', () => {
  // Order of P-256, and its prime.
  const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const p = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
  /** r and s of a genuine signature of the very same input, and as DER. */
  type Forge = (genuine: { r: Buffer; s: Buffer; der: Buffer }) => Uint8Array;
  const pair =
    (r: bigint, s: bigint): Forge =>
    () =>
      Buffer.concat([bytesOf(r), bytesOf(s)]);

  const vectors: [string, Forge][] = [
    ['r = 0, s = 0', pair(0n, 0n)],
    ['r = 0, s = 1', pair(0n, 1n)],
    ['r = 1, s = 0', pair(1n, 0n)],
    ['r = 1, s = 1', pair(1n, 1n)],
    ['r = n, s = n', pair(n, n)],
    ['r = n, s = 1', pair(n, 1n)],
    ['r = 1, s = n', pair(1n, n)],
    ['r = n - 1, s = n - 1', pair(n - 1n, n - 1n)],
    ['r = n + 1, s = 1', pair(n + 1n, 1n)],
    ['r = p, s = p', pair(p, p)],
    ['r and s all ones', () => Buffer.alloc(64, 0xff)],
    ['r genuine, s = 0', ({ r }) => Buffer.concat([r, bytesOf(0n)])],
    ['r genuine, s = n', ({ r }) => Buffer.concat([r, bytesOf(n)])],
    ['r = 0, s genuine', ({ s }) => Buffer.concat([bytesOf(0n), s])],
    ['r = n, s genuine', ({ s }) => Buffer.concat([bytesOf(n), s])],
    ['r and s exchanged', ({ r, s }) => Buffer.concat([s, r])],
    ['r negated', ({ r, s }) => Buffer.concat([bytesOf(n - numberOf(r)), s])],
    [
      'one bit of r changed',
      ({ r, s }) => Buffer.concat([r.map((byte, i) => (i === 0 ? byte ^ 1 : byte)), s]),
    ],
    [
      'one bit of s changed',
      ({ r, s }) => Buffer.concat([r, s.map((byte, i) => (i === 31 ? byte ^ 1 : byte))]),
    ],
    ['DER', ({ der }) => der],
    ['DER cut to 64 bytes', ({ der }) => der.subarray(0, 64)],
    ['63 bytes', ({ r, s }) => Buffer.concat([r, s]).subarray(0, 63)],
    ['65 bytes, one behind', ({ r, s }) => Buffer.concat([r, s, Buffer.from([0])])],
    [
      '66 bytes, r and s each behind a zero',
      ({ r, s }) => Buffer.concat([Buffer.from([0]), r, Buffer.from([0]), s]),
    ],
    ['twice in a row', ({ r, s }) => Buffer.concat([r, s, r, s])],
    ['r alone', ({ r }) => r],
    ['one byte', () => Buffer.from([1])],
  ];
  for (const [name, forge] of vectors) {
    attack(name, {}, async (broker) => {
      const input = inputOf(broker);
      const key = { key: broker.issuer.privateKey, dsaEncoding: 'ieee-p1363' } as const;
      const genuine = sign('sha256', Buffer.from(input), key);
      const der = sign('sha256', Buffer.from(input), broker.issuer.privateKey);
      const forged = forge({ r: genuine.subarray(0, 32), s: genuine.subarray(32), der });
      await isRefused(broker, signed(input, forged), 'token_signature_invalid');
    });
  }

  attack('of another token of the same device', {}, async (broker) => {
    const other = broker.token(A).split('.')[2];
    await isRefused(broker, `${inputOf(broker)}.${other}`, 'token_signature_invalid');
  });

  attack('of the attacker’s own token', {}, async (broker) => {
    const own = broker.token(B).split('.')[2];
    await isRefused(broker, `${inputOf(broker)}.${own}`, 'token_signature_invalid');
  });

  attack('of the same payload under another header', {}, async (broker) => {
    const [, payload, signature] = broker.token(A).split('.');
    const header = base64url(JSON.stringify({ alg: 'ES256', kid: broker.issuer.kid, typ: 'at+jwt', x: 1 }));
    await isRefused(broker, `${header}.${payload}.${signature}`, 'token_signature_invalid');
  });

  attack('made over SHA-512', {}, async (broker) => {
    const input = inputOf(broker);
    const key = { key: broker.issuer.privateKey, dsaEncoding: 'ieee-p1363' } as const;
    await isRefused(
      broker,
      signed(input, sign('sha512', Buffer.from(input), key)),
      'token_signature_invalid',
    );
  });

  attack('made with a key of P-384', {}, async (broker) => {
    const input = inputOf(broker);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const forged = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    await isRefused(broker, signed(input, forged), 'token_signature_invalid');
  });

  attack(
    'but the other valid form of a genuine one, s negated, is that token and no more',
    {},
    async (broker) => {
      const token = broker.token(B);
      const [header, payload, signature = ''] = token.split('.');
      const bytes = Buffer.from(signature, 'base64url');
      const negated = Buffer.concat([bytes.subarray(0, 32), bytesOf(n - numberOf(bytes.subarray(32)))]);
      const other = signed(`${header}.${payload}`, negated);
      expect(await broker.connack(B, other)).toBe(0);
      expect(await broker.connack(A, other, { username: '' })).toBe(2);
      const { jti } = JSON.parse(Buffer.from(payload as string, 'base64url').toString());
      await broker.auth.revoke(broker.issuer.name, { kind: 'token', tokenId: jti });
      expect([await broker.connack(B, other), await broker.connack(B, token)]).toEqual([4, 4]);
    },
  );
});

describe('EdDSA: a signature the issuer did not make', () => {
  const issuer = testIssuer('https://ed.example', 'EdDSA');
  // Order of edwards25519.
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const reversed = (bytes: Uint8Array) => Buffer.from(bytes).reverse();
  const vectors: [string, (genuine: Buffer) => Uint8Array][] = [
    ['all zero', () => Buffer.alloc(64)],
    ['the neutral element and S = 0', () => Buffer.concat([Buffer.from([1]), Buffer.alloc(63)])],
    [
      'S raised by the order',
      (genuine) =>
        Buffer.concat([
          genuine.subarray(0, 32),
          reversed(bytesOf(numberOf(reversed(genuine.subarray(32))) + order)),
        ]),
    ],
    ['R with its sign bit changed', (genuine) => genuine.map((byte, i) => (i === 31 ? byte ^ 0x80 : byte))],
    ['63 bytes', (genuine) => genuine.subarray(0, 63)],
    ['65 bytes', (genuine) => Buffer.concat([genuine, Buffer.from([0])])],
  ];
  for (const [name, forge] of vectors) {
    attack(name, { otherIssuers: [issuer] }, async (broker) => {
      const input = inputOf(broker, {}, issuer);
      const forged = forge(sign(null, Buffer.from(input), issuer.privateKey));
      await isRefused(broker, signed(input, forged), 'token_signature_invalid');
    });
  }
});

describe('RS256: a signature with other padding', () => {
  const issuer = testIssuer('https://rsa.example', 'RS256');
  const size = 256;
  const sha256 = Buffer.from('3031300d060960864801650304020105000420', 'hex');
  const withoutNull = Buffer.from('302f300b06096086480165030402010420', 'hex');
  const sha1 = Buffer.from('3021300906052b0e03021a05000414', 'hex');
  /** `00 01 ff… 00` and what comes behind, as long as the modulus. */
  const padded = (behind: Uint8Array, { type = 1, fill = 0xff, pads = size - 3 - behind.length } = {}) => {
    const block = Buffer.concat([Buffer.from([0, type]), Buffer.alloc(pads, fill), Buffer.from([0]), behind]);
    return Buffer.concat([block, Buffer.alloc(size - block.length)]);
  };
  const raw = (key: KeyObject, block: Uint8Array) =>
    privateEncrypt({ key, padding: constants.RSA_NO_PADDING }, block);
  const modulus = numberOf(Buffer.from(issuer.publicKey.export({ format: 'jwk' }).n as string, 'base64url'));

  const blocks: [string, (digest: Buffer) => Uint8Array][] = [
    [
      'bytes behind a digest that is not at the end',
      (digest) => padded(Buffer.concat([sha256, digest]), { pads: 8 }),
    ],
    ['no padding bytes', (digest) => padded(Buffer.concat([sha256, digest]), { pads: 0 })],
    ['block type 2', (digest) => padded(Buffer.concat([sha256, digest]), { type: 2 })],
    ['padding of zeros', (digest) => padded(Buffer.concat([sha256, digest]), { fill: 0 })],
    ['the digest without its name', (digest) => padded(digest)],
    ['the name without NULL', (digest) => padded(Buffer.concat([withoutNull, digest]))],
    ['SHA-1', () => padded(Buffer.concat([sha1, createHash('sha1').update('x').digest()]))],
    ['a digest one byte short', (digest) => padded(Buffer.concat([sha256, digest.subarray(0, 31)]))],
  ];
  for (const [name, blockOf] of blocks) {
    attack(name, { otherIssuers: [issuer] }, async (broker) => {
      const input = inputOf(broker, {}, issuer);
      const digest = createHash('sha256').update(input).digest();
      // The same way with the right padding is a good signature, so it is the padding that is refused.
      const good = raw(issuer.privateKey, padded(Buffer.concat([sha256, digest])));
      expect(good).toEqual(sign('sha256', Buffer.from(input), issuer.privateKey));
      await isRefused(
        broker,
        signed(input, raw(issuer.privateKey, blockOf(digest))),
        'token_signature_invalid',
      );
    });
  }

  const numbers: [string, (genuine: Buffer) => Uint8Array][] = [
    ['zero', () => Buffer.alloc(size)],
    ['one', () => bytesOf(1n, size)],
    ['the modulus', () => bytesOf(modulus, size)],
    ['the modulus less one', () => bytesOf(modulus - 1n, size)],
    ['a genuine one behind a zero', (genuine) => Buffer.concat([Buffer.from([0]), genuine])],
    ['a genuine one without its last byte', (genuine) => genuine.subarray(0, size - 1)],
    ['a genuine one raised by the modulus', (genuine) => bytesOf(numberOf(genuine) + modulus, size + 1)],
  ];
  for (const [name, forge] of numbers) {
    attack(name, { otherIssuers: [issuer] }, async (broker) => {
      const input = inputOf(broker, {}, issuer);
      const genuine = sign('sha256', Buffer.from(input), issuer.privateKey);
      await isRefused(broker, signed(input, forge(genuine)), 'token_signature_invalid');
    });
  }

  attack('PSS under the name RS256', { otherIssuers: [issuer] }, async (broker) => {
    const input = inputOf(broker, {}, issuer);
    const key = { key: issuer.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    await isRefused(
      broker,
      signed(input, sign('sha256', Buffer.from(input), key)),
      'token_signature_invalid',
    );
  });
});

describe('another algorithm than the issuer’s', () => {
  type Secret = (broker: TestBroker) => string | Uint8Array;
  const pem: Secret = ({ issuer }) => issuer.publicKey.export({ type: 'spki', format: 'pem' });
  const jwk = ({ issuer }: TestBroker) => issuer.publicKey.export({ format: 'jwk' });
  const secrets: [string, Secret][] = [
    ['the public key as PEM', pem],
    ['the PEM without its last newline', (broker) => String(pem(broker)).trimEnd()],
    ['the PEM with CRLF', (broker) => String(pem(broker)).replaceAll('\n', '\r\n')],
    ['the PEM behind a newline', (broker) => `\n${pem(broker)}`],
    ['the PEM behind spaces', (broker) => `    ${pem(broker)}`],
    ['the PEM behind a byte order mark', (broker) => `\uFEFF${pem(broker)}`],
    ['the public key as DER', ({ issuer }) => issuer.publicKey.export({ type: 'spki', format: 'der' })],
    ['the public key as JWK', (broker) => JSON.stringify(jwk(broker))],
    ['the published key', ({ issuer }) => JSON.stringify(issuer.jwks().keys[0])],
    ['the published key set', ({ issuer }) => JSON.stringify(issuer.jwks())],
    ['the x coordinate', (broker) => Buffer.from(jwk(broker).x as string, 'base64url')],
    ['the kid', ({ issuer }) => issuer.kid],
    ['nothing', () => ''],
  ];
  for (const [name, secretOf] of secrets) {
    attack(`HMAC with ${name} as the secret`, {}, async (broker) => {
      const input = inputOf(broker, { alg: 'HS256' });
      const mac = createHmac('sha256', secretOf(broker)).update(input).digest();
      await isRefused(broker, signed(input, mac), 'token_algorithm_refused');
    });
  }
  for (const [alg, hash] of [
    ['HS384', 'sha384'],
    ['HS512', 'sha512'],
  ] as const) {
    attack(`${alg} with the public key as the secret`, {}, async (broker) => {
      const input = inputOf(broker, { alg });
      const mac = createHmac(hash, pem(broker)).update(input).digest();
      await isRefused(broker, signed(input, mac), 'token_algorithm_refused');
    });
  }
  attack('HMAC under the name ES256', {}, async (broker) => {
    const input = inputOf(broker);
    const mac = createHmac('sha512', pem(broker)).update(input).digest();
    await isRefused(broker, signed(input, mac), 'token_signature_invalid');
  });

  for (const alg of [
    'none',
    'None',
    'NONE',
    'nOnE',
    'none ',
    '',
    'es256',
    'ES256 ',
    ' ES256',
    'ES256\0',
    'ЕS256',
    'ES256K',
    'ES512',
    'PS256',
    'RSA1_5',
    'dir',
  ]) {
    attack(`alg ${JSON.stringify(alg)} with a genuine signature`, {}, async (broker) => {
      const { issuer } = broker;
      await isRefused(broker, issuer.token({ clientId: A, header: { alg } }), 'token_algorithm_refused');
    });
  }
  attack('alg none and no signature', {}, async (broker) => {
    await isRefused(broker, `${inputOf(broker, { alg: 'none' })}.`, 'token_malformed');
  });
  attack('EdDSA, which the issuer may use, with its key for ES256', {}, async (broker) => {
    const token = broker.issuer.token({ clientId: A, header: { alg: 'EdDSA' } });
    await isRefused(broker, token, 'token_key_unknown');
  });
});
