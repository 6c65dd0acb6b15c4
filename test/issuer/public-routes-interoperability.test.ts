import { spawnSync } from 'node:child_process';
import { createRemoteJWKSet, exportJWK, generateKeyPair, customFetch as joseFetch, jwtVerify } from 'jose';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { describe, expect, test } from 'vitest';
import { runCommand } from '../support/fleetgate-process.ts';
import { basic, issuerFixture, json, type RegisteredClient } from '../support/issuer-fixture.ts';
import { type TlsIssuer, tlsIssuer } from '../support/tls-issuer.ts';

// Every public route over TLS and without, by libraries that others wrote and by curl, at its address and its `/auth` twin.

async function started(): Promise<{ issuer: TlsIssuer; client: RegisteredClient }> {
  const issuer = await tlsIssuer();
  const client = await issuer.register({ client_id: 'sensor', scope: 'a b fleetgate.revocations' });
  return { issuer, client };
}

const prefixes = ['', '/auth'] as const;
const jwksPaths = ['/.well-known/jwks.json', '/auth/jwt/jwks.json'] as const;

/** The metadata with the endpoints moved to their twins. */
const under = (server: oauth.AuthorizationServer, prefix: string) => {
  const moved = (url: string | undefined) =>
    url === undefined ? url : url.replace('/oauth/', `${prefix}/oauth/`);
  return {
    ...server,
    token_endpoint: moved(server.token_endpoint),
    introspection_endpoint: moved(server.introspection_endpoint),
    revocation_endpoint: moved(server.revocation_endpoint),
  } as oauth.AuthorizationServer;
};

const verified = (issuer: TlsIssuer, token: string, path: string) =>
  jwtVerify(
    token,
    createRemoteJWKSet(new URL(`${issuer.issuer.url}${path}`), {
      [joseFetch]: issuer.fetchWith() as typeof fetch,
    }),
    { issuer: issuer.issuer.url, audience: 'mqtt', typ: 'at+jwt' },
  );

describe.each(['oauth2', 'oidc'] as const)('by the metadata of %s', (algorithm) => {
  test.each(prefixes)('oauth4webapi gets, introspects and revokes a token at %s/oauth', async (prefix) => {
    const { issuer, client } = await started();
    const options = { [oauth.customFetch]: issuer.fetchWith() };
    const url = new URL(issuer.issuer.url);
    const found = await oauth.discoveryRequest(url, { algorithm, ...options });
    const server = under(await oauth.processDiscoveryResponse(url, found), prefix);
    const { client_id, client_secret } = client;
    for (const auth of [oauth.ClientSecretBasic(client_secret), oauth.ClientSecretPost(client_secret)]) {
      const asked = await oauth.clientCredentialsGrantRequest(
        server,
        { client_id },
        auth,
        { scope: 'a' },
        options,
      );
      const { access_token } = await oauth.processClientCredentialsResponse(server, { client_id }, asked);
      for (const path of jwksPaths) {
        expect((await verified(issuer, access_token, path)).payload).toMatchObject({ client_id, scp: ['a'] });
      }
      const introspect = async () =>
        oauth.processIntrospectionResponse(
          server,
          { client_id },
          await oauth.introspectionRequest(server, { client_id }, auth, access_token, options),
        );
      expect(await introspect()).toMatchObject({ active: true, client_id, scope: 'a' });
      const revoked = await oauth.revocationRequest(server, { client_id }, auth, access_token, options);
      await oauth.processRevocationResponse(revoked);
      expect(await introspect()).toEqual({ active: false });
    }
  });

  test.each(prefixes)('openid-client does so as well at %s/oauth', async (prefix) => {
    const { issuer, client } = await started();
    const send = issuer.fetchWith() as openid.CustomFetch;
    const { client_id, client_secret } = client;
    for (const auth of [openid.ClientSecretBasic(client_secret), openid.ClientSecretPost(client_secret)]) {
      const found = await openid.discovery(new URL(issuer.issuer.url), client_id, undefined, auth, {
        algorithm,
        [openid.customFetch]: send,
      });
      const server = under(found.serverMetadata(), prefix) as openid.ServerMetadata;
      const config = new openid.Configuration(server, client_id, undefined, auth);
      config[openid.customFetch] = send;
      const { access_token } = await openid.clientCredentialsGrant(config, { scope: 'b' });
      expect(await openid.tokenIntrospection(config, access_token)).toMatchObject({
        active: true,
        scope: 'b',
      });
      await openid.tokenRevocation(config, access_token);
      expect(await openid.tokenIntrospection(config, access_token)).toEqual({ active: false });
    }
  });
});

/** Without TLS, which both take only when they are told to. */
describe('over plain HTTP on loopback', () => {
  async function startedPlain() {
    const { issuer, register } = await issuerFixture();
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const { client_secret } = await register({ client_id: 'by-secret', scope: 'a' });
    const jwks = { keys: [await exportJWK(publicKey)] };
    await register({ client_id: 'by-key', scope: 'a', auth_method: 'private_key_jwt', jwks });
    return { issuer, client_secret, privateKey };
  }

  test('oauth4webapi gets, introspects and revokes a token, by secret and by assertion', async () => {
    const { issuer, client_secret, privateKey } = await startedPlain();
    const options = { [oauth.allowInsecureRequests]: true };
    const url = new URL(issuer.url);
    const found = await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...options });
    const server = await oauth.processDiscoveryResponse(url, found);
    for (const [client_id, auth] of [
      ['by-secret', oauth.ClientSecretBasic(client_secret)],
      ['by-secret', oauth.ClientSecretPost(client_secret)],
      ['by-key', oauth.PrivateKeyJwt(privateKey)],
    ] as const) {
      const client = { client_id };
      const asked = await oauth.clientCredentialsGrantRequest(server, client, auth, {}, options);
      const { access_token } = await oauth.processClientCredentialsResponse(server, client, asked);
      const introspect = async () =>
        oauth.processIntrospectionResponse(
          server,
          client,
          await oauth.introspectionRequest(server, client, auth, access_token, options),
        );
      expect(await introspect()).toMatchObject({ active: true, client_id });
      const revoked = await oauth.revocationRequest(server, client, auth, access_token, options);
      await oauth.processRevocationResponse(revoked);
      expect(await introspect()).toEqual({ active: false });
    }
  });

  test('openid-client does so as well', async () => {
    const { issuer, client_secret, privateKey } = await startedPlain();
    for (const [clientId, auth] of [
      ['by-secret', openid.ClientSecretBasic(client_secret)],
      ['by-secret', openid.ClientSecretPost(client_secret)],
      ['by-key', openid.PrivateKeyJwt(privateKey)],
    ] as const) {
      const config = await openid.discovery(new URL(issuer.url), clientId, undefined, auth, {
        algorithm: 'oauth2',
        execute: [openid.allowInsecureRequests],
      });
      const { access_token } = await openid.clientCredentialsGrant(config);
      expect(await openid.tokenIntrospection(config, access_token)).toMatchObject({ active: true });
      await openid.tokenRevocation(config, access_token);
      expect(await openid.tokenIntrospection(config, access_token)).toEqual({ active: false });
    }
  });
});

test.each(prefixes)(
  '%s/oauth/token takes JSON over TLS, and answers camelCase in camelCase',
  async (prefix) => {
    const { issuer, client } = await started();
    const ask = async (body: object, headers: Record<string, string> = {}) => {
      const response = await issuer.fetchWith()(`${issuer.issuer.url}${prefix}/oauth/token`, {
        method: 'POST',
        headers: { ...json, ...headers },
        body: JSON.stringify(body),
      });
      expect(response.status).toBe(200);
      return (await response.json()) as Record<string, unknown>;
    };
    const { client_id: clientId, client_secret: clientSecret } = client;
    const camel = await ask({
      clientId,
      clientSecret,
      grantType: 'client_credentials',
      scope: ['a'],
      audience: 'mqtt',
    });
    expect(camel).toMatchObject({ tokenType: 'Bearer', expiresIn: 900, accessToken: expect.any(String) });
    const snake = await ask(
      { grant_type: 'client_credentials', scope: 'a b' },
      basic(clientId, clientSecret),
    );
    expect(snake).toMatchObject({ token_type: 'Bearer', expires_in: 900, access_token: expect.any(String) });
  },
);

const isMissing = spawnSync('curl', ['--version']).error !== undefined;

describe.skipIf(isMissing && process.env['CI'] === undefined)('curl', () => {
  /** Options on standard input: no secret is in argv. */
  async function curl(issuer: TlsIssuer, path: string, ...lines: string[]) {
    const ca = issuer.folder.write('curl-ca.pem', issuer.authority.cert);
    const input = [`url = "${issuer.issuer.url}${path}"`, `cacert = "${ca}"`, ...lines, ''].join('\n');
    const args = ['--silent', '--show-error', '--include', '--config', '-'];
    const { stdout } = await runCommand('curl', args, { input });
    const [head = '', body = ''] = stdout.split('\r\n\r\n');
    const [, status] = /^HTTP\/1\.1 (\d+)/.exec(head) ?? [];
    return { status: Number(status), head: head.toLowerCase(), body };
  }

  test('reads metadata, keys and health', async () => {
    const { issuer } = await started();
    for (const path of ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']) {
      const { status, body } = await curl(issuer, path);
      expect([status, JSON.parse(body).issuer]).toEqual([200, issuer.issuer.url]);
    }
    for (const path of jwksPaths) {
      const { status, head, body } = await curl(issuer, path);
      expect([status, JSON.parse(body).keys.length > 0]).toEqual([200, true]);
      expect(head).toMatch(/^cache-control: .*max-age=\d+/m);
      expect(head).toMatch(/^access-control-allow-origin: \*/m);
    }
    for (const path of ['/livez', '/readyz']) expect((await curl(issuer, path)).status).toBe(200);
  });

  test.each(prefixes)(
    'gets, introspects and revokes a token at %s/oauth, and reads the feed',
    async (prefix) => {
      const { issuer, client } = await started();
      const user = `user = "sensor:${client.client_secret}"`;
      const asked = await curl(
        issuer,
        `${prefix}/oauth/token`,
        user,
        'data = "grant_type=client_credentials"',
      );
      const { access_token } = JSON.parse(asked.body) as { access_token: string };
      const token = `data-urlencode = "token=${access_token}"`;
      const introspect = async () =>
        JSON.parse((await curl(issuer, `${prefix}/oauth/introspect`, user, token)).body);
      expect(await introspect()).toMatchObject({ active: true });
      await issuer.call('POST', '/v1/revocations', { kind: 'token', jti: 'another' });
      const bearer = `header = "authorization: Bearer ${access_token}"`;
      // The stream has no end: what has come within a second.
      const feed = await curl(issuer, '/revocations', bearer, 'no-buffer', 'max-time = 1');
      expect([feed.status, feed.head]).toEqual([200, expect.stringContaining('text/event-stream')]);
      expect(feed.body).toContain('"jti":"another"');
      expect((await curl(issuer, '/revocations')).status).toBe(401);
      expect((await curl(issuer, `${prefix}/oauth/revoke`, user, token)).status).toBe(200);
      expect(await introspect()).toEqual({ active: false });
    },
  );
});
