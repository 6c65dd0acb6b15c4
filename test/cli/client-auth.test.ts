import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Credentials } from '@fleetgate/shared';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CertificateFolder, certificateFolder, type Pair, selfSigned } from '../support/certificates.ts';
import {
  assertionForm,
  type ClientKeyPair,
  clientAssertion,
  clientKeyPair,
  keyOfJwk,
} from '../support/client-assertion.ts';
import {
  freePorts,
  type RunningFleetgate,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const data = temporaryDirectory();
let fleetgate: RunningFleetgate;
let folder: CertificateFolder;
let certificate: Pair;

beforeAll(async () => {
  folder = certificateFolder();
  certificate = await selfSigned('device');
  folder.write('device.pem', certificate.cert);
  folder.write('device.key', certificate.key);
  fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
});
afterAll(async () => {
  await fleetgate?.stop();
  data.remove();
  folder.remove();
});

const file = (name: string) => join(folder.path, name);
const create = (id: string, ...args: string[]) =>
  runFleetgate(['client', 'create', '--id', id, '--scope', 'telemetry.write', '--data', data.path, ...args]);
const shown = async (id: string) => {
  const { stdout } = await runFleetgate(['client', 'show', id, '--data', data.path, '--format', 'json']);
  return JSON.parse(stdout) as Record<string, unknown>;
};
const tokenBy = (pair: ClientKeyPair, id: string) =>
  fetch(`${fleetgate.ready['issuer']}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams(assertionForm(clientAssertion(pair, id, fleetgate.ready['issuer']))),
  });

describe('client create --auth private_key_jwt', () => {
  test('makes a pair: the private key is in the credentials file, and only there', async () => {
    const out = join(dirname(data.path), 'made.json');
    const { code, stdout, stderr } = await create('made', '--auth', 'private_key_jwt', '--out', out);
    expect(code, stderr).toBe(0);
    expect(statSync(out).mode & 0o777).toBe(0o600);
    const credentials = JSON.parse(readFileSync(out, 'utf8')) as Credentials;
    expect(credentials).toMatchObject({ version: 1, client_id: 'made', auth: { method: 'private_key_jwt' } });
    const { private_jwk: jwk } = credentials.auth as { private_jwk: Record<string, unknown> };
    const registered = await shown('made');
    const { d, ...publicJwk } = jwk;
    expect(registered).toMatchObject({ auth_method: 'private_key_jwt', jwks: { keys: [publicJwk] } });
    for (const text of [stdout, stderr, fleetgate.stderr(), JSON.stringify(registered)]) {
      expect(text).not.toContain(d);
    }
    const pair = { alg: 'ES256', privateKey: keyOfJwk(jwk), publicJwk, jwks: { keys: [publicJwk] } };
    const response = await tokenBy(pair, 'made');
    const { access_token } = (await response.json()) as { access_token: string };
    expect(decodeJwt(access_token)).toMatchObject({ client_id: 'made' });
  });

  test.each<[string, (pair: ClientKeyPair) => unknown]>([
    ['a key', ({ publicJwk }) => publicJwk],
    ['a set', ({ jwks }) => jwks],
  ])('registers %s that was made elsewhere', async (what, content) => {
    const pair = clientKeyPair('EdDSA');
    const id = what.replace(' ', '-');
    const keyFile = folder.write('public.json', JSON.stringify(content(pair)));
    const { code, stderr } = await create(id, '--auth', 'private_key_jwt', '--public-jwk', keyFile);
    expect(code, stderr).toBe(0);
    expect((await tokenBy(pair, id)).status).toBe(200);
  });

  test('registers where the keys are', async () => {
    const uri = 'https://keys.example/jwks.json';
    expect((await create('remote', '--auth', 'private_key_jwt', '--jwks-uri', uri)).code).toBe(0);
    expect(await shown('remote')).toMatchObject({ jwks_uri: uri });
  });

  test('refuses a private key before it is sent, and repeats nothing of it', async () => {
    const jwk = clientKeyPair().privateKey.export({ format: 'jwk' });
    const keyFile = folder.write('private.json', JSON.stringify(jwk));
    const { code, stderr } = await create('leak', '--auth', 'private_key_jwt', '--public-jwk', keyFile);
    expect(code).toBe(2);
    expect(stderr).toContain('private key');
    expect(stderr).not.toContain(jwk.d);
  });
});

describe('client create by certificate', () => {
  const pair = () => ['--cert-file', file('device.pem'), '--key-file', file('device.key')];

  test('registers a name, and the credentials file names certificate and key', async () => {
    const out = join(dirname(data.path), 'named.json');
    const name = ['--auth', 'tls_client_auth', '--san-dns', 'press-7.example'];
    const { code, stderr } = await create('named', ...name, ...pair(), '--out', out);
    expect(code, stderr).toBe(0);
    expect(await shown('named')).toMatchObject({ tls_client_auth_san_dns: 'press-7.example' });
    const { auth } = JSON.parse(readFileSync(out, 'utf8')) as Credentials;
    expect(auth).toEqual({
      method: 'tls_client_auth',
      cert_file: file('device.pem'),
      key_file: file('device.key'),
    });
  });

  test('registers a self-signed certificate by its file', async () => {
    const { code, stderr } = await create('own', '--auth', 'self_signed_tls_client_auth', ...pair());
    expect(code, stderr).toBe(0);
    expect(await shown('own')).toMatchObject({ jwks: { keys: [{ kty: 'EC', x5c: [expect.any(String)] }] } });
  });
});

test.each<[string, string[], string]>([
  ['a pair with no file for it', ['--auth', 'private_key_jwt'], '--out'],
  [
    'a file for a key that is elsewhere',
    ['--auth', 'private_key_jwt', '--jwks-uri', 'https://a/', '--out', 'x.json'],
    '--out',
  ],
  [
    'keys in two ways',
    ['--auth', 'private_key_jwt', '--jwks-uri', 'https://a/', '--public-jwk', 'x'],
    '--jwks-uri',
  ],
  ['a key that is not there', ['--auth', 'private_key_jwt', '--public-jwk', '/nonexistent'], '/nonexistent'],
  ['a key that is no JSON', ['--auth', 'private_key_jwt', '--public-jwk', '/dev/null'], '/dev/null'],
  ['a key for a secret', ['--public-jwk', '/dev/null'], '--public-jwk'],
  ['a name for a key', ['--auth', 'private_key_jwt', '--san-dns', 'a'], '--san-dns'],
  ['no name', ['--auth', 'tls_client_auth'], '--san-dns'],
  ['two names', ['--auth', 'tls_client_auth', '--san-dns', 'a', '--san-ip', '::1'], '--san-ip'],
  ['no certificate', ['--auth', 'self_signed_tls_client_auth'], '--cert-file'],
  [
    'a file without a certificate',
    ['--auth', 'self_signed_tls_client_auth', '--cert-file', '/dev/null'],
    '/dev/null',
  ],
  [
    'a certificate that is not there',
    [
      ...['--auth', 'tls_client_auth', '--san-dns', 'a', '--out', 'x.json'],
      ...['--cert-file', '/nonexistent.pem', '--key-file', '/dev/null'],
    ],
    '/nonexistent.pem',
  ],
  [
    'a credentials file without a key',
    ['--auth', 'tls_client_auth', '--san-dns', 'a', '--out', 'x.json'],
    '--key-file',
  ],
])('%s is bad usage that names the option or file', async (_what, args, words) => {
  const { code, stderr } = await create('usage', ...args);
  expect(code, stderr).toBe(2);
  expect(stderr).toContain(words);
  expect(existsSync('x.json')).toBe(false);
});

test('a key of another certificate is refused before anything is registered', async () => {
  const other = await selfSigned('other');
  const names = ['--auth', 'tls_client_auth', '--san-dns', 'press-9.example'];
  const files = ['--cert-file', file('device.pem'), '--key-file', folder.write('other.key', other.key)];
  const out = join(dirname(data.path), 'mixed.json');
  const { code, stderr } = await create('mixed', ...names, ...files, '--out', out);
  expect(code).toBe(2);
  expect(stderr).toContain('does not belong');
  expect(existsSync(out)).toBe(false);
  expect((await runFleetgate(['client', 'show', 'mixed', '--data', data.path])).code).toBe(1);
});

test('token request gets a token by the key pair of a credentials file', async () => {
  const out = join(dirname(data.path), 'pair.json');
  expect((await create('pair', '--auth', 'private_key_jwt', '--out', out)).code).toBe(0);
  const { code, stdout, stderr } = await runFleetgate(['token', 'request', '--credentials', out]);
  expect(code, stderr).toBe(0);
  expect(decodeJwt(stdout.trim())).toMatchObject({ client_id: 'pair' });
});

test('token request without TLS says that a certificate needs it', async () => {
  const out = join(dirname(data.path), 'plain.json');
  const name = ['--auth', 'tls_client_auth', '--san-dns', 'plain.example'];
  const files = ['--cert-file', file('device.pem'), '--key-file', file('device.key')];
  expect((await create('plain', ...name, ...files, '--out', out)).code).toBe(0);
  const { code, stderr } = await runFleetgate(['token', 'request', '--credentials', out]);
  expect(code).toBe(2);
  expect(stderr).toContain('https://');
});
