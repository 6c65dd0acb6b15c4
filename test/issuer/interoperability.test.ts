import { createRemoteJWKSet, jwtVerify } from 'jose';
import * as oauth from 'oauth4webapi';
import { expect, test } from 'vitest';
import { issuerFixture, json } from '../support/issuer-fixture.ts';

test('a resource server as the SuperTokens guide writes it accepts the token', async () => {
  const { issuer, register } = await issuerFixture();
  const { client_id, client_secret } = await register({
    client_id: 'calendar',
    scope: 'event.create event.view',
  });

  const response = await fetch(`${issuer.url}/auth/oauth/token`, {
    method: 'POST',
    headers: json,
    body: JSON.stringify({
      clientId: client_id,
      clientSecret: client_secret,
      grantType: 'client_credentials',
      scope: ['event.create'],
      audience: 'mqtt',
    }),
  });
  const { accessToken } = (await response.json()) as { accessToken: string };

  const JWKS = createRemoteJWKSet(new URL(`${issuer.url}/auth/jwt/jwks.json`));
  const { payload } = await jwtVerify(accessToken, JWKS, { requiredClaims: ['stt', 'scp'] });
  expect(payload['stt']).toBe(1);
  expect(payload['scp']).toEqual(['event.create']);
});

test.each(['oauth2', 'oidc'] as const)(
  'oauth4webapi discovers the issuer by %s metadata and gets a token',
  async (algorithm) => {
    const { issuer, register } = await issuerFixture();
    const { client_id, client_secret } = await register({ client_id: 'sensor', scope: 'telemetry.write' });
    const url = new URL(issuer.url);
    const insecure = { [oauth.allowInsecureRequests]: true };
    const server = await oauth.processDiscoveryResponse(
      url,
      await oauth.discoveryRequest(url, { algorithm, ...insecure }),
    );

    for (const authentication of [
      oauth.ClientSecretBasic(client_secret),
      oauth.ClientSecretPost(client_secret),
    ]) {
      const response = await oauth.clientCredentialsGrantRequest(
        server,
        { client_id },
        authentication,
        new URLSearchParams({ scope: 'telemetry.write' }),
        insecure,
      );
      const result = await oauth.processClientCredentialsResponse(server, { client_id }, response);
      expect(result).toMatchObject({ token_type: 'bearer', expires_in: 900, scope: 'telemetry.write' });

      const request = new Request('https://api.example.com/', {
        headers: { authorization: `Bearer ${result.access_token}` },
      });
      const claims = await oauth.validateJwtAccessToken(server, request, 'mqtt', insecure);
      expect(claims.client_id).toBe('sensor');
    }
  },
);

test.each(['/tenant', '/auth'])(
  'an issuer at the path %s is served with the path kept and with it stripped',
  async (path) => {
    const { issuer } = await issuerFixture({ url: `https://auth.example.com${path}/` });
    expect(issuer.url).toBe(`https://auth.example.com${path}`);
    const metadata = {
      issuer: issuer.url,
      token_endpoint: `${issuer.url}/oauth/token`,
      jwks_uri: `${issuer.url}/.well-known/jwks.json`,
    };
    const local = `http://127.0.0.1:${issuer.port}`;
    for (const url of [
      `/.well-known/oauth-authorization-server${path}`,
      `${path}/.well-known/oauth-authorization-server`,
      `${path}/.well-known/openid-configuration`,
      '/.well-known/openid-configuration',
    ]) {
      expect(await (await fetch(`${local}${url}`)).json()).toMatchObject(metadata);
    }
    for (const prefix of ['', path]) {
      expect((await fetch(`${local}${prefix}/.well-known/jwks.json`)).status).toBe(200);
      expect((await fetch(`${local}${prefix}/oauth/token`, { method: 'POST' })).status).toBe(400);
    }
  },
);
