import { spawnSync } from 'node:child_process';
import { createPublicKey, webcrypto, X509Certificate } from 'node:crypto';
import { decodeJwt } from 'jose';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { describe, expect, test } from 'vitest';
import { type Pair, selfSigned } from '../support/certificates.ts';
import { assertionForm, clientAssertion, clientKeyPair } from '../support/client-assertion.ts';
import { runCommand } from '../support/fleetgate-process.ts';
import { type TlsIssuer, tlsIssuer } from '../support/tls-issuer.ts';

// Clients that others wrote, over TLS: what they make of our metadata and what we make of their requests.

const generate = {
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  EdDSA: { name: 'Ed25519' },
  RS256: {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
  },
  PS256: { name: 'RSA-PSS', hash: 'SHA-256', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) },
} as const;
type Algorithm = keyof typeof generate;
const algorithms = Object.keys(generate) as Algorithm[];

async function keyPair(algorithm: Algorithm) {
  const pair = await webcrypto.subtle.generateKey(generate[algorithm], true, ['sign', 'verify']);
  const { privateKey, publicKey } = pair as webcrypto.CryptoKeyPair;
  const { kty, crv, x, y, n, e } = await webcrypto.subtle.exportKey('jwk', publicKey);
  const jwk = JSON.parse(JSON.stringify({ kty, crv, x, y, n, e, kid: algorithm, alg: algorithm }));
  return { privateKey: privateKey as oauth.CryptoKey, jwk };
}

const cnfOf = (token: string) => decodeJwt<{ cnf?: Record<string, string> }>(token).cnf;
const thumbprint = async ({ cert }: Pair) =>
  Buffer.from(await webcrypto.subtle.digest('SHA-256', new X509Certificate(cert).raw)).toString('base64url');

async function byCertificates(issuer: TlsIssuer) {
  const named = await issuer.authority.issue('x', { altNames: [{ type: 2, value: 'press-7.example' }] });
  const own = await selfSigned('press-8');
  await issuer.register({
    client_id: 'tls_client_auth',
    auth_method: 'tls_client_auth',
    tls_client_auth_san_dns: 'press-7.example',
  });
  await issuer.register({
    client_id: 'self_signed_tls_client_auth',
    auth_method: 'self_signed_tls_client_auth',
    jwks: { keys: [createPublicKey(own.cert).export({ format: 'jwk' })] },
  });
  return { tls_client_auth: named, self_signed_tls_client_auth: own };
}

describe('oauth4webapi', () => {
  async function discovered(issuer: TlsIssuer, send = issuer.fetchWith()) {
    const url = new URL(issuer.issuer.url);
    const options = { algorithm: 'oauth2', [oauth.customFetch]: send } as const;
    return oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, options));
  }

  test.each(algorithms)('gets a token by private_key_jwt with %s', async (algorithm) => {
    const issuer = await tlsIssuer();
    const { privateKey, jwk } = await keyPair(algorithm);
    const client = { client_id: 'sensor' };
    await issuer.register({ ...client, auth_method: 'private_key_jwt', jwks: { keys: [jwk] } });
    const server = await discovered(issuer);
    for (const key of [privateKey, { key: privateKey, kid: algorithm }]) {
      const response = await oauth.clientCredentialsGrantRequest(
        server,
        client,
        oauth.PrivateKeyJwt(key),
        {},
        { [oauth.customFetch]: issuer.fetchWith() },
      );
      const result = await oauth.processClientCredentialsResponse(server, client, response);
      expect(decodeJwt(result.access_token)).toMatchObject(client);
    }
  });

  test('gets a bound token by either certificate, introspects it by it, and revokes it', async () => {
    const issuer = await tlsIssuer();
    const certificates = await byCertificates(issuer);
    for (const [client_id, certificate] of Object.entries(certificates)) {
      const client = { client_id };
      const options = { [oauth.customFetch]: issuer.fetchWith(certificate) };
      const server = await discovered(issuer);
      const auth = oauth.TlsClientAuth();
      const response = await oauth.clientCredentialsGrantRequest(server, client, auth, {}, options);
      const { access_token } = await oauth.processClientCredentialsResponse(server, client, response);
      const cnf = { 'x5t#S256': await thumbprint(certificate) };
      expect(cnfOf(access_token)).toEqual(cnf);
      const ask = async () => {
        const answer = await oauth.introspectionRequest(server, client, auth, access_token, options);
        return oauth.processIntrospectionResponse(server, client, answer);
      };
      expect(await ask()).toMatchObject({ active: true, cnf });
      const revoked = await oauth.revocationRequest(server, client, auth, access_token, options);
      await oauth.processRevocationResponse(revoked);
      expect(await ask()).toEqual({ active: false });
    }
  });
});

describe('openid-client', () => {
  const discovered = (issuer: TlsIssuer, clientId: string, auth: openid.ClientAuth, certificate?: Pair) =>
    openid.discovery(new URL(issuer.issuer.url), clientId, undefined, auth, {
      algorithm: 'oauth2',
      [openid.customFetch]: issuer.fetchWith(certificate) as openid.CustomFetch,
    });

  test.each(algorithms)('gets a token by private_key_jwt with %s', async (algorithm) => {
    const issuer = await tlsIssuer();
    const { privateKey, jwk } = await keyPair(algorithm);
    await issuer.register({ client_id: 'sensor', auth_method: 'private_key_jwt', jwks: { keys: [jwk] } });
    const config = await discovered(issuer, 'sensor', openid.PrivateKeyJwt(privateKey));
    const { access_token } = await openid.clientCredentialsGrant(config);
    expect(decodeJwt(access_token)).toMatchObject({ client_id: 'sensor' });
  });

  test('gets a bound token by either certificate', async () => {
    const issuer = await tlsIssuer();
    for (const [clientId, certificate] of Object.entries(await byCertificates(issuer))) {
      const config = await discovered(issuer, clientId, openid.TlsClientAuth(), certificate);
      const { access_token } = await openid.clientCredentialsGrant(config);
      expect(cnfOf(access_token)).toEqual({ 'x5t#S256': await thumbprint(certificate) });
    }
  });
});

const isMissing = spawnSync('curl', ['--version']).error !== undefined;

describe.skipIf(isMissing && process.env['CI'] === undefined)('curl', () => {
  async function curl(issuer: TlsIssuer, form: Record<string, string>, certificate?: Pair) {
    const files =
      certificate === undefined
        ? []
        : [
            '--cert',
            issuer.folder.write('client.pem', certificate.cert),
            '--key',
            issuer.folder.write('client.key', certificate.key),
          ];
    const body = issuer.folder.write('form', new URLSearchParams(form).toString());
    const ended = await runCommand('curl', [
      ...[
        '--silent',
        '--show-error',
        '--cacert',
        issuer.folder.write('server-ca.pem', issuer.authority.cert),
      ],
      ...files,
      ...['--data-binary', `@${body}`, `${issuer.issuer.url}/oauth/token`],
    ]);
    expect(ended.code, ended.stderr).toBe(0);
    return JSON.parse(ended.stdout) as Record<string, string>;
  }

  test('gets a token by an assertion, and not again by the same', async () => {
    const issuer = await tlsIssuer();
    const pair = clientKeyPair();
    await issuer.register({ client_id: 'sensor', auth_method: 'private_key_jwt', jwks: pair.jwks });
    const form = assertionForm(clientAssertion(pair, 'sensor', issuer.issuer.url));
    expect(await curl(issuer, form)).toHaveProperty('access_token');
    expect(await curl(issuer, form)).toMatchObject({ error: 'invalid_client' });
  });

  test('gets a bound token by either certificate, and none by the other', async () => {
    const issuer = await tlsIssuer();
    const { tls_client_auth: named, self_signed_tls_client_auth: own } = await byCertificates(issuer);
    const ask = (client_id: string, certificate?: Pair) =>
      curl(issuer, { grant_type: 'client_credentials', client_id }, certificate);
    const { access_token = '' } = await ask('tls_client_auth', named);
    expect(cnfOf(access_token)).toEqual({ 'x5t#S256': await thumbprint(named) });
    expect(await ask('self_signed_tls_client_auth', own)).toHaveProperty('access_token');
    for (const [clientId, certificate] of [
      ['tls_client_auth', own],
      ['self_signed_tls_client_auth', named],
      ['tls_client_auth', undefined],
    ] as const) {
      expect(await ask(clientId, certificate)).toMatchObject({ error: 'invalid_client' });
    }
  });
});
