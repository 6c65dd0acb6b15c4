import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Pair, selfSigned } from '../support/certificates.ts';
import {
  assertionForm,
  type ClientKeyPair,
  clientAssertion,
  clientKeyPair,
} from '../support/client-assertion.ts';
import { adminKey, type IssuerFixture, issuerFixture } from '../support/issuer-fixture.ts';

let fixture: IssuerFixture;
let pair: Pair;
let other: Pair;
beforeAll(async () => {
  [pair, other] = await Promise.all([selfSigned('one'), selfSigned('other')]);
});
beforeEach(async () => {
  fixture = await issuerFixture();
});

type Fields = Record<string, unknown>;
const { publicJwk, privateKey } = clientKeyPair();
const privateJwk = privateKey.export({ format: 'jwk' });
const rsa = (modulusLength: number, publicExponent = 65_537) => ({
  ...generateKeyPairSync('rsa', { modulusLength, publicExponent }).publicKey.export({ format: 'jwk' }),
});
const byKeys = (...keys: unknown[]) => ({ auth_method: 'private_key_jwt', jwks: { keys } });
const x5cOf = ({ cert }: Pair) => new X509Certificate(cert).raw.toString('base64');
const jwkOf = ({ cert }: Pair) => ({ ...createPublicKey(cert).export({ format: 'jwk' }) });
const tomorrow = new Date(Date.now() + 86_400_000).toISOString();
const byUri = (jwks_uri: string) => ({ auth_method: 'private_key_jwt', jwks_uri });
const byName = (field: string, value: string) => ({
  auth_method: 'tls_client_auth',
  [`tls_client_auth_${field}`]: value,
});

async function refusal(fields: Fields): Promise<string> {
  const response = await fixture.call('POST', '/v1/clients', { client_id: 'dev-1', ...fields });
  const body = (await response.json()) as Fields;
  expect([response.status, body['error']]).toEqual([400, 'invalid_request']);
  expect((await fixture.call('GET', '/v1/clients/dev-1')).status).toBe(404);
  return String(body['error_description']);
}

describe('a client without a secret', () => {
  test.each<[string, Fields]>([
    ['its keys', byKeys(publicJwk, { ...rsa(2048), kid: 'r' })],
    ['a key for PS256', byKeys({ ...rsa(2048), alg: 'PS256' })],
    ['a key with use and key_ops', byKeys({ ...publicJwk, use: 'sig', key_ops: ['verify'] })],
    ['where its keys are', byUri('https://keys.example/jwks.json')],
    ['where its keys are on this machine', byUri('http://127.0.0.1:9/jwks.json')],
    ['a name of its certificate', byName('subject_dn', 'O=Example,CN=press-7')],
  ])('is shown with %s, and never with a secret', async (_what, fields) => {
    const made = await fixture.register({ client_id: 'dev-1', ...fields });
    const shown = (await (await fixture.call('GET', '/v1/clients/dev-1')).json()) as Fields;
    expect(made).toEqual(shown);
    expect(shown).not.toHaveProperty('client_secret');
    expect(shown['auth_method']).toBe(fields['auth_method']);
    for (const [name, value] of Object.entries(fields)) {
      if (name !== 'jwks') expect(shown[name]).toEqual(value);
    }
  });

  test('keeps of a key what is public and known', async () => {
    const key = { ...publicJwk, use: 'sig', x5c: undefined, note: 'mine', key_ops: ['verify'] };
    const { jwks } = await fixture.register(byKeys(key));
    expect(jwks).toEqual({ keys: [{ ...publicJwk, use: 'sig' }] });
  });
});

describe('keys that are not registered', () => {
  test.each<[string, () => unknown, string]>([
    ['a private key', () => ({ ...publicJwk, d: privateJwk.d }), 'private'],
    ['a symmetric key', () => ({ kty: 'oct', k: 'AAAA' }), 'symmetric'],
    ['a public key with k', () => ({ ...publicJwk, k: 'AAAA' }), 'symmetric'],
    ['RSA of 1024 bits', () => rsa(1024), '2048'],
    ['RSA with e = 3', () => rsa(2048, 3), 'exponent'],
    ['P-384', () => clientKeyPair('ES384').publicJwk, 'none for'],
    ['a curve that is not that of alg', () => ({ ...publicJwk, alg: 'EdDSA' }), 'none for'],
    ['HS256', () => ({ ...publicJwk, alg: 'HS256' }), 'none for'],
    ['none', () => ({ ...publicJwk, alg: 'none' }), 'none for'],
    ['a point that is not on the curve', () => ({ ...publicJwk, x: publicJwk['y'] }), 'malformed'],
    ['no x', () => ({ ...publicJwk, x: undefined }), 'malformed'],
    ['a key for encryption', () => ({ ...publicJwk, use: 'enc' }), 'use'],
    ['a key that only signs', () => ({ ...publicJwk, key_ops: ['sign'] }), 'key_ops'],
    ['a kid that is a number', () => ({ ...publicJwk, kid: 1 }), 'kid'],
    ['text', () => 'key', 'no object'],
    ['the certificate of another key', () => ({ ...jwkOf(pair), x5c: [x5cOf(other)] }), 'another key'],
    ['x5c that is no certificate', () => ({ ...jwkOf(pair), x5c: ['AAAA'] }), 'x5c'],
    ['an x5t#S256 that is no hash', () => ({ ...jwkOf(pair), 'x5t#S256': 'AAAA' }), 'x5t#S256'],
    [
      'an x5t#S256 of another certificate',
      () => ({ ...jwkOf(pair), x5c: [x5cOf(pair)], 'x5t#S256': 'A'.repeat(43) }),
      'x5t#S256',
    ],
  ])('%s, though a good one is beside it', async (_what, key, words) => {
    const description = await refusal(byKeys({ ...publicJwk, kid: 'good' }, key()));
    expect(description).toContain('jwks.keys.1');
    expect(description).toContain(words);
  });

  test('the message holds nothing of a private key', async () => {
    expect(await refusal(byKeys({ ...publicJwk, d: privateJwk.d }))).not.toContain(privateJwk.d);
  });

  test.each<[string, Fields, string]>([
    ['no keys', byKeys(), 'empty'],
    ['17 keys', byKeys(...Array.from({ length: 17 }, () => publicJwk)), '16'],
    ['two keys of one kid', byKeys(publicJwk, { ...rsa(2048), kid: 'k1' }), 'kid'],
    ['no set', { auth_method: 'private_key_jwt', jwks: [publicJwk] }, 'keys'],
    ['a key for a set', { auth_method: 'private_key_jwt', jwks: publicJwk }, 'keys'],
    ['over 32 KiB', byKeys({ ...publicJwk, note: 'x'.repeat(32_768) }), 'jwks_uri'],
    ['keys both ways', { ...byKeys(publicJwk), jwks_uri: 'https://keys.example/' }, 'exclude'],
    ['nothing', { auth_method: 'private_key_jwt' }, 'needs jwks or jwks_uri'],
    ['nothing for a certificate', { auth_method: 'self_signed_tls_client_auth' }, 'needs jwks or jwks_uri'],
    ['an end of a secret', { ...byKeys(publicJwk), secret_expires_at: tomorrow }, 'of no use'],
    ['keys without a method', { jwks: { keys: [publicJwk] } }, 'private_key_jwt'],
    ['an address without a method', { jwks_uri: 'https://keys.example/' }, 'private_key_jwt'],
    ['a name without a method', { tls_client_auth_san_dns: 'a.example' }, 'tls_client_auth'],
    ['keys for a name', { ...byName('san_dns', 'a.example'), jwks: { keys: [publicJwk] } }, 'of no use'],
    ['a name for keys', { ...byKeys(publicJwk), tls_client_auth_san_dns: 'a' }, 'of no use'],
  ])('%s', async (_what, fields, words) => {
    expect(await refusal(fields)).toContain(words);
  });
});

describe('an address of keys that is not registered', () => {
  test.each([
    'http://keys.example/jwks.json',
    'https://user:password@keys.example/',
    'https://keys.example/#x',
    'file:///etc/keys.json',
    'data:application/json,{}',
    'keys.example',
    '',
    'https://169.254.169.254/latest/',
    'https://[fe80::1]/',
    'http://127.0.0.1.example.com/',
    `https://keys.example/${'x'.repeat(1024)}`,
  ])('%s', async (uri) => {
    expect(await refusal(byUri(uri))).toMatch(/jwks_uri must/);
  });
});

describe('a name of a certificate that is not registered', () => {
  test.each<[string, string]>([
    ['subject_dn', ''],
    ['subject_dn', 'press-7'],
    ['subject_dn', 'CN=a,'],
    ['subject_dn', 'XX=a'],
    ['subject_dn', '1.2..3=a'],
    ['subject_dn', 'CN=a"b'],
    ['subject_dn', 'CN=a\\'],
    ['subject_dn', 'CN=\\ff'],
    ['subject_dn', 'CN=#0'],
    ['subject_dn', 'CN=#0c05'],
    ['subject_dn', `CN=${'x'.repeat(1024)}`],
    ['san_dns', '*.example'],
    ['san_dns', 'a b'],
    ['san_dns', 'a..b'],
    ['san_dns', '-a'],
    ['san_uri', 'no-scheme'],
    ['san_uri', 'https://a.example/ü'],
    ['san_ip', '192.0.2'],
    ['san_ip', '192.0.2.07'],
    ['san_ip', 'fe80::1%eth0'],
    ['san_ip', '192.0.2.0/24'],
    ['san_email', 'example.com'],
    ['san_email', 'a b@example.com'],
  ])('%s "%s"', async (field, value) => {
    expect(await refusal(byName(field, value))).toMatch(new RegExp(`^tls_client_auth_${field} must `));
  });

  test('none, or more than one', async () => {
    expect(await refusal({ auth_method: 'tls_client_auth' })).toContain('exactly one');
    const two = { ...byName('san_dns', 'a.example'), tls_client_auth_san_ip: '192.0.2.1' };
    expect(await refusal(two)).toContain('exactly one');
  });
});

describe('a change of a client', () => {
  const patch = (fields: Fields) => fixture.call('PATCH', '/v1/clients/dev-1', fields);
  const status = async (by: ClientKeyPair) =>
    (await fixture.requestToken(assertionForm(clientAssertion(by, 'dev-1', fixture.issuer.url)))).status;

  test('gives it other keys, and those of before prove it no more', async () => {
    const [first, second] = [clientKeyPair('ES256', 'k1'), clientKeyPair('EdDSA', 'k2')];
    await fixture.register({ client_id: 'dev-1', ...byKeys(first.publicJwk) });
    expect((await patch({ jwks: { keys: [first.publicJwk, second.publicJwk] } })).status).toBe(200);
    expect([await status(first), await status(second)]).toEqual([200, 200]);
    expect((await patch({ jwks: second.jwks })).status).toBe(200);
    expect([await status(first), await status(second)]).toEqual([401, 200]);
  });

  test('takes it from a secret to keys, and the secret proves it no more', async () => {
    const secret = await fixture.register({ client_id: 'dev-1' });
    const pair = clientKeyPair();
    expect((await patch(byKeys(pair.publicJwk))).status).toBe(200);
    expect(await status(pair)).toBe(200);
    expect((await fixture.tokenFor(secret)).status).toBe(401);
  });

  test('takes it from an address of keys to keys', async () => {
    const pair = clientKeyPair();
    await fixture.register({ client_id: 'dev-1', ...byUri('https://keys.example/') });
    const changed = await (await patch({ jwks_uri: null, jwks: pair.jwks })).json();
    expect(changed).toMatchObject({ jwks: pair.jwks });
    expect(changed).not.toHaveProperty('jwks_uri');
    expect(await status(pair)).toBe(200);
  });

  test.each<[string, Fields]>([
    ['a private key', { jwks: { keys: [{ ...publicJwk, d: 'AAAA' }] } }],
    ['no keys', { jwks: null }],
    ['keys both ways', { jwks_uri: 'https://keys.example/' }],
    ['a secret beside its keys', { auth_method: null }],
    ['a method that needs something else', { auth_method: 'tls_client_auth' }],
  ])('with %s is refused, and it is as before', async (_what, fields) => {
    const pair = clientKeyPair();
    await fixture.register({ client_id: 'dev-1', ...byKeys(pair.publicJwk) });
    expect((await patch(fields)).status).toBe(400);
    expect(await status(pair)).toBe(200);
  });
});

test('a creation without a secret that is repeated says nothing of one', async () => {
  const headers = { 'api-key': adminKey, 'idempotency-key': 'one' };
  const body = { client_id: 'dev-1', ...byKeys(publicJwk) };
  const first = await fixture.call('POST', '/v1/clients', body, headers);
  const again = await fixture.call('POST', '/v1/clients', body, headers);
  expect([first.status, again.status]).toEqual([201, 201]);
  expect(first.headers.get('idempotency-replayed')).toBeNull();
  expect(again.headers.get('idempotency-replayed')).toBe('true');
  expect(await again.json()).toEqual(await first.json());
});
