import { createHash, X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import { assertionForm, clientAssertion, clientKeyPair } from '../support/client-assertion.ts';
import { basic, issuerFixture } from '../support/issuer-fixture.ts';
import { tlsIssuer } from '../support/tls-issuer.ts';

test('a resource server introspects by private_key_jwt, each assertion once', async () => {
  const fixture = await issuerFixture();
  const device = await fixture.register({ client_id: 'device' });
  const { access_token: token } = (await (await fixture.tokenFor(device)).json()) as { access_token: string };
  const pair = clientKeyPair();
  await fixture.register({
    client_id: 'api',
    scope: 'fleetgate.introspect',
    auth_method: 'private_key_jwt',
    jwks: pair.jwks,
  });
  const body = new URLSearchParams(
    assertionForm(clientAssertion(pair, 'api', fixture.issuer.url), { token }),
  );
  const ask = () => fetch(`${fixture.issuer.url}/oauth/introspect`, { method: 'POST', body });
  expect(await (await ask()).json()).toMatchObject({ active: true, client_id: 'device' });
  expect((await ask()).status).toBe(401);
});

test('of a bound token it is said by which certificate, and a resource server may ask by one', async () => {
  const issuer = await tlsIssuer();
  const byName = (clientId: string, more: object) =>
    issuer.register({
      client_id: clientId,
      auth_method: 'tls_client_auth',
      tls_client_auth_san_dns: `${clientId}.example`,
      ...more,
    });
  const certificateOf = (clientId: string) =>
    issuer.authority.issue(clientId, { altNames: [{ type: 2, value: `${clientId}.example` }] });
  await byName('press', { scope: 'a' });
  await byName('api', { scope: 'fleetgate.introspect' });
  const [press, api] = [await certificateOf('press'), await certificateOf('api')];
  const { access_token: token } = (await (await issuer.tokenBy(press, 'press')).json()) as {
    access_token: string;
  };
  const thumbprint = createHash('sha256').update(new X509Certificate(press.cert).raw).digest('base64url');
  for (const [certificate, client_id] of [
    [press, 'press'],
    [api, 'api'],
  ] as const) {
    const answer = await issuer.fetchWith(certificate)(`${issuer.issuer.url}/oauth/introspect`, {
      method: 'POST',
      body: new URLSearchParams({ client_id, token }),
    });
    expect(await answer.json()).toMatchObject({
      active: true,
      client_id: 'press',
      token_type: 'Bearer',
      cnf: { 'x5t#S256': thumbprint },
    });
  }
});

test('a client in quarantine is told nothing, and its tokens are inactive to others', async () => {
  const fixture = await issuerFixture();
  const device = await fixture.register({ client_id: 'device' });
  const api = await fixture.register({ client_id: 'api', scope: 'fleetgate.introspect' });
  const { access_token: token } = (await (await fixture.tokenFor(device)).json()) as { access_token: string };
  await fixture.call('POST', '/v1/clients/device/quarantine', { reason: 'stolen' });
  const ask = (of: typeof device) =>
    fetch(`${fixture.issuer.url}/oauth/introspect`, {
      method: 'POST',
      headers: basic(of.client_id, of.client_secret),
      body: new URLSearchParams({ token }),
    });
  expect((await ask(device)).status).toBe(401);
  expect(await (await ask(api)).json()).toEqual({ active: false });
});
