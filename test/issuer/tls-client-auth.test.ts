import { createHash, createPublicKey, X509Certificate } from 'node:crypto';
import { decodeJwt } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { type AlternativeName, createAuthority, type Pair, selfSigned } from '../support/certificates.ts';
import { assertionForm, clientAssertion, clientKeyPair } from '../support/client-assertion.ts';
import { basic } from '../support/issuer-fixture.ts';
import { type TlsIssuer, tlsIssuer } from '../support/tls-issuer.ts';

let issuer: TlsIssuer;
beforeEach(async () => {
  issuer = await tlsIssuer();
});

async function outcome(response: Response | Promise<Response>): Promise<string> {
  const answer = await response;
  const body = (await answer.json()) as Record<string, unknown>;
  return `${answer.status} ${body['error'] ?? typeof body['access_token']}`;
}
const thumbprint = ({ cert }: Pair) =>
  createHash('sha256').update(new X509Certificate(cert).raw).digest('base64url');
const x5c = ({ cert }: Pair) => new X509Certificate(cert).raw.toString('base64');
const jwkOf = ({ cert }: Pair) => ({ ...createPublicKey(cert).export({ format: 'jwk' }) });
const claimsOf = async (response: Response) =>
  decodeJwt(((await response.json()) as { access_token: string }).access_token);

const byDns = (clientId: string, name: string) =>
  issuer.register({ client_id: clientId, auth_method: 'tls_client_auth', tls_client_auth_san_dns: name });
const certificateFor = (...altNames: AlternativeName[]) => issuer.authority.issue('device', { altNames });

describe('tls_client_auth', () => {
  // [field, registered, name in the certificate]
  test.each<[string, string, string, readonly AlternativeName[]]>([
    ['subject_dn', 'O=Example,CN=press-7', 'CN=press-7, O=Example', []],
    ['subject_dn', 'o=Example, cn = press-7', 'CN=press-7, O=Example', []],
    ['subject_dn', '2.5.4.10=Example,CN=press\\2D7', 'CN=press-7, O=Example', []],
    ['subject_dn', 'O=Ex\\C3\\A4mple\\, Inc.,CN=press-7', 'CN=press-7, O=Exämple\\, Inc.', []],
    ['subject_dn', 'O=Exämple,L=b+OU=a,CN=press-7', 'CN=press-7, OU=a+L=b, O=Exämple', []],
    ['san_dns', 'press-7.example', 'x', [{ type: 2, value: 'press-7.example' }]],
    ['san_dns', 'Press-7.Example', 'x', [{ type: 2, value: 'press-7.example' }]],
    [
      'san_dns',
      'b.example',
      'x',
      [
        { type: 2, value: 'a.example' },
        { type: 2, value: 'b.example' },
      ],
    ],
    ['san_uri', 'spiffe://example/press/7', 'x', [{ type: 6, value: 'spiffe://example/press/7' }]],
    ['san_ip', '192.0.2.7', 'x', [{ type: 7, ip: '192.0.2.7' }]],
    ['san_ip', '2001:DB8:0::7', 'x', [{ type: 7, ip: '2001:db8::7' }]],
    ['san_email', 'press-7@Example.com', 'x', [{ type: 1, value: 'press-7@example.COM' }]],
  ])('by %s %s', async (field, registered, subject, altNames) => {
    const certificate = await issuer.authority.issue(subject.replace(/^CN=/, ''), { altNames });
    const client = await issuer.register({
      client_id: 'press-7',
      auth_method: 'tls_client_auth',
      [`tls_client_auth_${field}`]: registered,
    });
    expect(client).not.toHaveProperty('client_secret');
    const response = await issuer.tokenBy(certificate, 'press-7');
    expect(response.status).toBe(200);
    expect(await claimsOf(response)).toMatchObject({
      client_id: 'press-7',
      cnf: { 'x5t#S256': thumbprint(certificate) },
    });
  });

  test.each<[string, string, string, string, readonly AlternativeName[]]>([
    ['its parts the other way round', 'subject_dn', 'CN=press-7,O=Example', 'press-7, O=Example', []],
    ['a part more', 'subject_dn', 'CN=press-7', 'press-7, O=Example', []],
    ['a part less', 'subject_dn', 'O=Example,CN=press-7', 'press-7', []],
    ['another case', 'subject_dn', 'CN=Press-7', 'press-7', []],
    ['two parts for one of two values', 'subject_dn', 'OU=a,L=b,CN=x', 'x, OU=a+L=b', []],
    ['a comma inside for one between', 'subject_dn', 'O=Example,CN=press-7', 'press-7\\,O=Example', []],
    ['the subject for a DNS name', 'san_dns', 'press-7.example', 'press-7.example', []],
    ['a wildcard', 'san_dns', 'press-7.example', 'x', [{ type: 2, value: '*.example' }]],
    ['a longer name', 'san_dns', 'press-7.example', 'x', [{ type: 2, value: 'press-7.example.org' }]],
    ['a name with a dot behind', 'san_dns', 'press-7.example', 'x', [{ type: 2, value: 'press-7.example.' }]],
    ['a URI for a DNS name', 'san_dns', 'press-7.example', 'x', [{ type: 6, value: 'press-7.example' }]],
    ['a longer URI', 'san_uri', 'spiffe://e/7', 'x', [{ type: 6, value: 'spiffe://e/77' }]],
    ['an address in a DNS name', 'san_ip', '192.0.2.7', 'x', [{ type: 2, value: '192.0.2.7' }]],
    ['a mapped address', 'san_ip', '192.0.2.7', 'x', [{ type: 7, ip: '::ffff:192.0.2.7' }]],
    ['another mailbox case', 'san_email', 'press@e.com', 'x', [{ type: 1, value: 'Press@e.com' }]],
  ])('is refused for %s', async (_what, field, registered, subject, altNames) => {
    const certificate = await issuer.authority.issue(subject, { altNames });
    await issuer.register({
      client_id: 'press-7',
      auth_method: 'tls_client_auth',
      [`tls_client_auth_${field}`]: registered,
    });
    expect(await outcome(issuer.tokenBy(certificate, 'press-7'))).toBe('401 invalid_client');
  });

  test('is refused by the certificate of another client', async () => {
    await byDns('one', 'one.example');
    await byDns('two', 'two.example');
    const two = await certificateFor({ type: 2, value: 'two.example' });
    expect(await outcome(issuer.tokenBy(two, 'one'))).toBe('401 invalid_client');
    expect(await outcome(issuer.tokenBy(two, 'two'))).toBe('200 string');
  });

  test('is refused by an expired certificate, one not valid yet, and one of another authority', async () => {
    await byDns('one', 'one.example');
    const altNames = [{ type: 2, value: 'one.example' }] as const;
    const minute = 60_000;
    const from = new Date(Date.now() - 10 * minute);
    const foreign = await createAuthority('another');
    const bad = [
      await issuer.authority.issue('x', { altNames, from, to: new Date(Date.now() - minute) }),
      await issuer.authority.issue('x', { altNames, from: new Date(Date.now() + 10 * minute) }),
      await foreign.issue('x', { altNames }),
      // Of the same name as ours, so that only the key tells them apart.
      await (await createAuthority()).issue('x', { altNames }),
      await selfSigned('one.example'),
    ];
    for (const certificate of bad) {
      expect(await outcome(issuer.tokenBy(certificate, 'one'))).toBe('401 invalid_client');
    }
  });

  test('without a certificate is invalid_client, and so is a made-up header', async () => {
    await byDns('one', 'one.example');
    expect(await outcome(issuer.tokenBy(undefined, 'one'))).toBe('401 invalid_client');
    const certificate = await certificateFor({ type: 2, value: 'one.example' });
    const headers = {
      'x-client-cert': encodeURIComponent(certificate.cert),
      'x-ssl-client-verify': 'SUCCESS',
      'client-cert': `:${x5c(certificate)}:`,
    };
    const request = issuer.fetchWith()(`${issuer.issuer.url}/oauth/token`, {
      method: 'POST',
      headers,
      body: new URLSearchParams({ grant_type: 'client_credentials', client_id: 'one' }),
    });
    expect(await outcome(request)).toBe('401 invalid_client');
  });

  test('is refused without client_id, and with that of nobody', async () => {
    await byDns('one', 'one.example');
    const certificate = await certificateFor({ type: 2, value: 'one.example' });
    expect(await outcome(issuer.tokenBy(certificate, ''))).toBe('401 invalid_client');
    expect(await outcome(issuer.tokenBy(certificate, 'nobody'))).toBe('401 invalid_client');
  });

  test('works by TLS 1.2 too, and revokes its token', async () => {
    await byDns('one', 'one.example');
    const certificate = await certificateFor({ type: 2, value: 'one.example' });
    const send = issuer.fetchWith(certificate, { maxVersion: 'TLSv1.2' });
    const body = () => new URLSearchParams({ grant_type: 'client_credentials', client_id: 'one' });
    const response = await send(`${issuer.issuer.url}/oauth/token`, { method: 'POST', body: body() });
    const { access_token } = (await response.json()) as { access_token: string };
    const token = new URLSearchParams({ client_id: 'one', token: access_token });
    const revoked = await send(`${issuer.issuer.url}/oauth/revoke`, { method: 'POST', body: token });
    expect(revoked.status).toBe(200);
  });
});

describe('an authority that is not known', () => {
  test('proves nobody, whoever signed: neither ours nor those of the Web are asked', async () => {
    const bare = await tlsIssuer({ knowsAuthority: false });
    await bare.register({
      client_id: 'one',
      auth_method: 'tls_client_auth',
      tls_client_auth_san_dns: 'one.example',
    });
    const certificate = await bare.authority.issue('x', { altNames: [{ type: 2, value: 'one.example' }] });
    expect(await outcome(bare.tokenBy(certificate, 'one'))).toBe('401 invalid_client');
  });
});

describe('self_signed_tls_client_auth', () => {
  const method = 'self_signed_tls_client_auth';

  test.each<[string, (pair: Pair) => Record<string, unknown>]>([
    ['the certificate in x5c', (pair) => ({ ...jwkOf(pair), x5c: [x5c(pair)] })],
    ['its thumbprint', (pair) => ({ ...jwkOf(pair), 'x5t#S256': thumbprint(pair) })],
    ['both', (pair) => ({ ...jwkOf(pair), x5c: [x5c(pair)], 'x5t#S256': thumbprint(pair) })],
    ['the key alone', jwkOf],
  ])('by %s', async (_what, jwk) => {
    const pair = await selfSigned('device-1');
    await issuer.register({ client_id: 'device-1', auth_method: method, jwks: { keys: [jwk(pair)] } });
    const response = await issuer.tokenBy(pair, 'device-1');
    expect(response.status).toBe(200);
    expect((await claimsOf(response))['cnf']).toEqual({ 'x5t#S256': thumbprint(pair) });
  });

  test('by either of two certificates, and without an authority at all', async () => {
    const bare = await tlsIssuer({ knowsAuthority: false });
    const pairs = await Promise.all([selfSigned('old'), selfSigned('new')]);
    const keys = pairs.map((pair) => ({ ...jwkOf(pair), x5c: [x5c(pair)] }));
    await bare.register({ client_id: 'device-1', auth_method: method, jwks: { keys } });
    for (const pair of pairs) expect(await outcome(bare.tokenBy(pair, 'device-1'))).toBe('200 string');
  });

  test('is refused by another certificate of that name, of that key, by an expired one, by one of an authority', async () => {
    const [pair, twin, other] = await Promise.all(
      ['device-1', 'device-1', 'device-2'].map((name) => selfSigned(name)),
    );
    const past = { from: new Date(Date.now() - 7_200_000), to: new Date(Date.now() - 3_600_000) };
    const expired = await selfSigned('device-3', past);
    const register = (client_id: string, of: Pair) =>
      issuer.register({
        client_id,
        auth_method: method,
        jwks: { keys: [{ ...jwkOf(of), x5c: [x5c(of)] }] },
      });
    await register('device-1', pair as Pair);
    await register('device-2', other as Pair);
    await register('device-3', expired);
    const known = await issuer.authority.issue('device-1');
    for (const [certificate, clientId] of [
      [twin, 'device-1'],
      [other, 'device-1'],
      [pair, 'device-2'],
      [expired, 'device-3'],
      [known, 'device-1'],
      [undefined, 'device-1'],
    ] as const) {
      expect(await outcome(issuer.tokenBy(certificate, clientId))).toBe('401 invalid_client');
    }
  });

  test('is another method than tls_client_auth: neither takes the proof of the other', async () => {
    const known = await issuer.authority.issue('x', { altNames: [{ type: 2, value: 'one.example' }] });
    const own = await selfSigned('one.example');
    await byDns('named', 'one.example');
    await issuer.register({ client_id: 'own', auth_method: method, jwks: { keys: [jwkOf(own)] } });
    expect(await outcome(issuer.tokenBy(own, 'named'))).toBe('401 invalid_client');
    expect(await outcome(issuer.tokenBy(known, 'own'))).toBe('401 invalid_client');
  });
});

test('a bound token is good for the revocations with its certificate only, at a listener that sees it', async () => {
  const certificate = await certificateFor({ type: 2, value: 'one.example' });
  const registration = { auth_method: 'tls_client_auth', tls_client_auth_san_dns: 'one.example' };
  await issuer.register({ client_id: 'reader', scope: 'fleetgate.revocations', ...registration });
  const response = await issuer.tokenBy(certificate, 'reader');
  const { access_token } = (await response.json()) as { access_token: string };
  const headers = { authorization: `Bearer ${access_token}` };
  const status = async (by: Pair | undefined) =>
    (await issuer.fetchWith(by)(`${issuer.issuer.url}/revocations`, { method: 'HEAD', headers })).status;
  expect(await status(certificate)).toBe(200);
  expect(await status(await certificateFor({ type: 2, value: 'one.example' }))).toBe(401);
  expect(await status(undefined)).toBe(401);
});

describe('a certificate beside another method', () => {
  test('is no second method, and does not bind the token', async () => {
    const certificate = await certificateFor({ type: 2, value: 'one.example' });
    const secret = await issuer.register({ client_id: 'secret' });
    const pair = clientKeyPair();
    await issuer.register({ client_id: 'key', auth_method: 'private_key_jwt', jwks: pair.jwks });
    const send = issuer.fetchWith(certificate);
    const token = (body: Record<string, string>, headers = {}) =>
      send(`${issuer.issuer.url}/oauth/token`, { method: 'POST', headers, body: new URLSearchParams(body) });
    const grant = { grant_type: 'client_credentials' };
    for (const response of [
      await token(grant, basic('secret', secret.client_secret)),
      await token({ ...grant, client_id: 'secret', client_secret: secret.client_secret }),
      await token(assertionForm(clientAssertion(pair, 'key', issuer.issuer.url))),
    ]) {
      expect(response.status).toBe(200);
      expect(await claimsOf(response)).not.toHaveProperty('cnf');
    }
  });

  test('proves no client of another method, and no other method a client of it', async () => {
    const certificate = await certificateFor({ type: 2, value: 'one.example' });
    await issuer.register({ client_id: 'secret' });
    await byDns('one', 'one.example');
    expect(await outcome(issuer.tokenBy(certificate, 'secret'))).toBe('401 invalid_client');
    expect(await outcome(issuer.tokenBy(certificate, 'one', { client_secret: 'x' }))).toBe(
      '401 invalid_client',
    );
    const pair = clientKeyPair();
    const forms = assertionForm(clientAssertion(pair, 'one', issuer.issuer.url));
    expect(await outcome(issuer.tokenBy(certificate, 'one', forms))).toBe('401 invalid_client');
  });
});

test('metadata names the methods by certificate that can be told', async () => {
  const bare = await tlsIssuer({ knowsAuthority: false });
  const place = '/.well-known/oauth-authorization-server';
  const ours = await (await issuer.fetchWith()(`${issuer.issuer.url}${place}`)).json();
  expect(ours).toMatchObject({
    issuer: issuer.issuer.url,
    tls_client_certificate_bound_access_tokens: true,
    token_endpoint_auth_methods_supported: expect.arrayContaining([
      'tls_client_auth',
      'self_signed_tls_client_auth',
    ]),
  });
  expect(issuer.issuer.url).toMatch(/^https:/);
  const theirs = await (await bare.fetchWith()(`${bare.issuer.url}${place}`)).json();
  const { token_endpoint_auth_methods_supported: methods } = theirs as Record<string, string[]>;
  expect(methods).toContain('self_signed_tls_client_auth');
  expect(methods).not.toContain('tls_client_auth');
});
