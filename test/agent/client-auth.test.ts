import { createHash, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { inspect } from 'node:util';
import { type Credentials, type CredentialsAuth, parseCredentials } from '@fleetgate/shared';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { readCredentialsFile } from '../../agent/index.ts';
import { httpTransport } from '../../agent/transport/http.ts';
import { type Authority, certificateFolder, createAuthority, type Pair } from '../support/certificates.ts';
import { clientKeyPair } from '../support/client-assertion.ts';
import { issuerFixture } from '../support/issuer-fixture.ts';
import { type TlsIssuer, tlsIssuer } from '../support/tls-issuer.ts';
import { credentialsFor, goodBody, rejection, startEndpoint } from './token-endpoint-double.ts';

const never = new AbortController().signal;

const credentialsOf = (issuer: string, auth: CredentialsAuth): Credentials =>
  parseCredentials(JSON.stringify({ version: 1, client_id: 'sensor-1', issuer, auth }));

describe('private_key_jwt', () => {
  test.each(['ES256', 'EdDSA', 'RS256'] as const)(
    '%s: each request has an assertion of its own',
    async (alg) => {
      const pair = clientKeyPair(alg);
      const fixture = await issuerFixture();
      await fixture.register({ client_id: 'sensor-1', auth_method: 'private_key_jwt', jwks: pair.jwks });
      const jwk = { ...pair.privateKey.export({ format: 'jwk' }), kid: pair.publicJwk['kid'], alg };
      const transport = httpTransport(
        credentialsOf(fixture.issuer.url, { method: 'private_key_jwt', private_jwk: jwk }),
      );
      const answers = await Promise.all([transport({}, never), transport({}, never)]);
      for (const { access_token } of answers) {
        expect(decodeJwt(access_token)).toMatchObject({ client_id: 'sensor-1' });
      }
    },
  );

  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { d, ...publicJwk } = privateKey.export({ format: 'jwk' });
  const { privateKey: p384 } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  test.each<[string, Record<string, unknown>]>([
    ['nothing', {}],
    ['a public key', publicJwk],
    ['a key of another curve', p384.export({ format: 'jwk' }) as Record<string, unknown>],
    ['a secret', { kty: 'oct', k: d }],
    ['a key for another algorithm', { ...publicJwk, d, alg: 'PS256' }],
    ['a key whose numbers are none', { ...publicJwk, d: 'canary' }],
  ])('%s signs nothing, and is refused before anything is sent', (_what, jwk) => {
    const credentials = credentialsOf('https://issuer.example', {
      method: 'private_key_jwt',
      private_jwk: jwk,
    });
    let refused: unknown;
    try {
      httpTransport(credentials);
    } catch (error) {
      refused = error;
    }
    expect(refused).toMatchObject({ code: 'credentials_invalid' });
    const shown = inspect(refused, { depth: 9, showHidden: true });
    expect(shown).not.toContain(d);
    expect(shown).not.toContain('canary');
  });

  test('no error holds the assertion, whatever the issuer echoes', async () => {
    let sent = '';
    const { origin } = await startEndpoint((request, response) => {
      request.setEncoding('utf8').on('data', (text: string) => {
        sent = new URLSearchParams(text).get('client_assertion') ?? '';
        const body = JSON.stringify({ error: 'invalid_client', error_description: sent });
        response.writeHead(401, { 'content-type': 'application/json' }).end(body);
      });
    });
    const auth = { method: 'private_key_jwt', private_jwk: { ...publicJwk, d } } as const;
    const failure = await rejection(httpTransport(credentialsFor(origin, { auth }))({}, never));
    expect(failure).toMatchObject({ code: 'invalid_client' });
    expect(sent).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain(sent);
  });
});

describe('tls_client_auth', () => {
  let authority: Authority;
  const trusted = getCACertificates('default');
  beforeAll(async () => {
    authority = await createAuthority();
  });
  afterAll(() => setDefaultCACertificates(trusted));
  const trust = (one: Authority) => setDefaultCACertificates([...trusted, one.cert]);

  const names = { altNames: [{ type: 2, value: 'sensor-1.example' }] } as const;

  /** An issuer that knows sensor-1 by a name, and what is in sensor-1's folder. */
  async function setUp() {
    const issuer = await tlsIssuer();
    trust(issuer.authority);
    await issuer.register({
      client_id: 'sensor-1',
      auth_method: 'tls_client_auth',
      tls_client_auth_san_dns: 'sensor-1.example',
    });
    const folder = certificateFolder();
    onTestFinished(folder.remove);
    const put = ({ cert, key }: Pair) => {
      folder.write('device.pem', cert);
      folder.write('device.key', key);
    };
    put(await issuer.authority.issue('sensor-1', names));
    return { issuer, folder, put };
  }

  /** Relative to the credentials file, as an operator writes them. */
  async function transportOf(folder: { write(name: string, text: string): string }, issuer: TlsIssuer) {
    const auth = { method: 'tls_client_auth', cert_file: 'device.pem', key_file: 'device.key' };
    const content = { version: 1, client_id: 'sensor-1', issuer: issuer.issuer.url, auth };
    return httpTransport(
      await readCredentialsFile(folder.write('credentials.json', JSON.stringify(content))),
    );
  }
  const thumbprintOf = ({ cert }: Pair) =>
    createHash('sha256').update(new X509Certificate(cert).raw).digest('base64url');

  test('a token is bound to the certificate, and one that was renewed is shown from then on', async () => {
    const { issuer, folder, put } = await setUp();
    const transport = await transportOf(folder, issuer);
    for (let i = 0; i < 2; i += 1) {
      const pair = await issuer.authority.issue('sensor-1', names);
      put(pair);
      const { access_token } = await transport({}, never);
      expect(decodeJwt(access_token)).toMatchObject({ cnf: { 'x5t#S256': thumbprintOf(pair) } });
    }
  });

  test.each<[string, (folder: ReturnType<typeof certificateFolder>) => unknown, string]>([
    ['a key that others may read', ({ path }) => chmodSync(`${path}/device.key`, 0o640), 'chmod 600'],
    ['a key that is none', ({ write }) => write('device.key', 'canary'), 'device.key'],
    ['a certificate that is none', ({ write }) => write('device.pem', 'canary'), 'device.pem'],
    [
      'a key of another certificate',
      async ({ write }) => write('device.key', (await authority.issue('x')).key),
      'does not belong',
    ],
    ['no key', ({ path }) => rmSync(`${path}/device.key`), 'device.key does not exist'],
  ])('%s is refused, naming the file, before anything is sent', async (_what, change, words) => {
    const { issuer, folder } = await setUp();
    const transport = await transportOf(folder, issuer);
    await change(folder);
    const failure = await rejection(transport({}, never));
    expect(failure).toMatchObject({
      code: 'credentials_invalid',
      message: expect.stringContaining(words),
    });
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain('canary');
  });

  test('a certificate that the issuer does not know is told as a client that is unknown', async () => {
    const { issuer, folder, put } = await setUp();
    put(await issuer.authority.issue('sensor-2', { altNames: [{ type: 2, value: 'sensor-2.example' }] }));
    const transport = await transportOf(folder, issuer);
    await expect(transport({}, never)).rejects.toMatchObject({ code: 'invalid_client' });
  });

  test('a server that no known authority stands for gets nothing', async () => {
    const { issuer, folder } = await setUp();
    trust(authority);
    const transport = await transportOf(folder, issuer);
    await expect(transport({}, never)).rejects.toMatchObject({ code: 'token_request_failed' });
  });

  test('the token endpoint is the one for certificates, where the metadata names one', async () => {
    const { issuer, folder } = await setUp();
    const server = await issuer.authority.issue('front');
    const asked: string[] = [];
    const front = createServer(server, (request, response) => {
      asked.push(`${request.method} ${request.url}`);
      const metadata = {
        issuer: origin,
        token_endpoint: `${origin}/token`,
        mtls_endpoint_aliases: { token_endpoint: `${origin}/mtls/token` },
      };
      const body = JSON.stringify(request.method === 'GET' ? metadata : goodBody);
      response.writeHead(200, { 'content-type': 'application/json' }).end(body);
    });
    await once(front.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => void front.close());
    const origin = `https://127.0.0.1:${(front.address() as AddressInfo).port}`;
    const transport = httpTransport(
      credentialsOf(origin, {
        method: 'tls_client_auth',
        cert_file: `${folder.path}/device.pem`,
        key_file: `${folder.path}/device.key`,
      }),
    );
    await transport({}, never);
    expect(asked).toEqual(['GET /.well-known/oauth-authorization-server', 'POST /mtls/token']);
  });

  test('an endpoint without TLS is refused, on loopback too', () => {
    const auth = { method: 'tls_client_auth', cert_file: 'c', key_file: 'k' } as const;
    expect(() => httpTransport(credentialsFor('http://127.0.0.1:1', { auth }))).toThrow(
      expect.objectContaining({ code: 'credentials_invalid' }),
    );
  });
});

test('oscore is not supported, and the message names it', () => {
  const auth = { method: 'oscore', master_secret: 'm', sender_id: 's', recipient_id: 'r' } as const;
  expect(() => httpTransport(credentialsFor('https://issuer.example', { auth }))).toThrow(
    expect.objectContaining({ code: 'not_supported', message: expect.stringContaining('oscore') }),
  );
});

test.each([
  ['before its end', (response: NodeJS.WritableStream) => response.write('{"access_token":')],
  ['before its first byte', () => undefined],
])('an answer that stops %s is given up in time', async (_when, begin) => {
  const { origin } = await startEndpoint((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    begin(response);
  });
  const transport = httpTransport(credentialsFor(origin), { timeoutMs: 100 });
  await expect(transport({}, never)).rejects.toMatchObject({
    code: 'token_request_failed',
    message: expect.stringContaining('no answer in time'),
  });
});
