import { createHash, X509Certificate } from 'node:crypto';
import { connect as connectTls } from 'node:tls';
import { beforeAll, describe, expect, test } from 'vitest';
import { type TestIssuer, type TokenOverrides, testIssuer } from '../support/broker-tokens.ts';
import { type Authority, createAuthority } from '../support/certificates.ts';
import { services } from '../support/guarded-services.ts';
import { issuerFixture } from '../support/issuer-fixture.ts';
import { exchange, openTo, type RawAnswer } from '../support/raw-http.ts';
import { jsonServer } from '../support/verifier-fixture.ts';

const audience = 'inventory';
const bearer = (token: string) => `Authorization: Bearer ${token}`;

/** One request as bytes on a connection of its own. */
async function send(
  open: Parameters<typeof exchange>[0],
  [method, target]: readonly [string, string],
  ...headers: readonly string[]
): Promise<RawAnswer & { json: () => Record<string, unknown> }> {
  const lines = [`${method} ${target} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...headers];
  if (method === 'POST') lines.push('Content-Length: 0');
  const [answer] = await exchange(open, `${lines.join('\r\n')}\r\n\r\n`);
  if (answer === undefined) throw new Error('the service closed the connection without an answer');
  return { ...answer, json: () => JSON.parse(answer.body) };
}

let issuer: TestIssuer;
let authority: Authority;
beforeAll(async () => {
  issuer = testIssuer();
  authority = await createAuthority();
});

/** A token of the test's issuer for the service. */
const token = ({ claims = {}, ...more }: TokenOverrides = {}) =>
  issuer.token({ claims: { aud: [audience], ...claims }, ...more });

describe.each(Object.entries(services))('%s', (_name, start) => {
  const service = async () =>
    openTo(await start({ issuer: issuer.name, audience, keys: { keySet: issuer.jwks() } }));

  test('a token of a real issuer, whose keys are found by its metadata, is let in', async () => {
    const fixture = await issuerFixture();
    const client = await fixture.register({
      client_id: 'order-service',
      scope: 'stock.read stock.reserve',
      audience: [audience, 'ledger'],
    });
    const tokenOf = async (parameters: Record<string, string>) => {
      const answer = await fixture.tokenFor(client, parameters);
      return ((await answer.json()) as { access_token: string }).access_token;
    };
    const open = openTo(await start({ issuer: fixture.issuer.url, audience }));
    const good = await send(open, ['POST', '/reservations'], bearer(await tokenOf({ audience })));
    expect(good.json()).toEqual({ clientId: 'order-service' });
    expect(good.status).toBeLessThan(300);

    const elsewhere = await tokenOf({ audience: 'ledger' });
    const refused = await send(open, ['POST', '/reservations'], bearer(elsewhere));
    expect(refused.status).toBe(401);
    expect(refused.headers.get('www-authenticate')).toContain('error="invalid_token"');

    const less = await send(
      open,
      ['POST', '/reservations'],
      bearer(await tokenOf({ audience, scope: 'stock.read' })),
    );
    expect(less.status).toBe(403);

    const foreign = await send(open, ['GET', '/any'], bearer(token()));
    expect([foreign.status, foreign.json()['error']]).toEqual([401, 'invalid_token']);
  });

  test('what is open asks for nothing', async () => {
    const open = await service();
    expect((await send(open, ['GET', '/open'])).status).toBe(200);
    expect((await send(open, ['GET', '/open'], 'Authorization: Bearer %')).status).toBe(200);
  });

  test('without a token the challenge names realm and scope and no error', async () => {
    const open = await service();
    const any = await send(open, ['GET', '/any']);
    expect([any.status, any.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="inventory"']);
    expect(any.json()['error']).toBe('token_missing');
    const scoped = await send(open, ['POST', '/reservations'], 'Authorization: Basic YTpi');
    expect([scoped.status, scoped.headers.get('www-authenticate')]).toEqual([
      401,
      'Bearer realm="inventory", scope="stock.read stock.reserve"',
    ]);
  });

  test('the scheme is taken in any case, and what comes near it is another', async () => {
    const open = await service();
    for (const scheme of ['Bearer', 'bearer', 'BEARER', 'bEaReR ']) {
      const { status } = await send(open, ['GET', '/any'], `Authorization: ${scheme} ${token()}`);
      expect(status, scheme).toBe(200);
    }
    for (const scheme of ['Bearers', 'DPoP', 'Bearer,', 'Token']) {
      const answer = await send(open, ['GET', '/any'], `Authorization: ${scheme} ${token()}`);
      expect([answer.status, answer.headers.get('www-authenticate')], scheme).toEqual([
        401,
        'Bearer realm="inventory"',
      ]);
    }
  });

  test.each<[string, string, () => string[]]>([
    ['no token behind the scheme', '/any', () => ['Authorization: Bearer']],
    ['two words', '/any', () => [`${bearer(token())} x`]],
    ['what no token can hold', '/any', () => ['Authorization: Bearer a"b']],
    ['a tab', '/any', () => [`Authorization: Bearer\t${token()}`]],
    ['two headers', '/any', () => [bearer(token()), bearer(token())]],
    ['two headers, one of another scheme', '/any', () => [bearer(token()), 'authorization: Basic YTpi']],
    ['a token in the query', '/any?access_token=TOKEN', () => []],
    ['a token in the query beside a header', '/any?a=b&access%5Ftoken=x', () => [bearer(token())]],
  ])('%s is 400 invalid_request', async (_what, target, headers) => {
    const open = await service();
    const answer = await send(open, ['GET', target.replace('TOKEN', token())], ...headers());
    expect([answer.status, answer.json()['error']]).toEqual([400, 'invalid_request']);
    expect(answer.headers.get('www-authenticate')).toMatch(
      /^Bearer realm="inventory", error="invalid_request", error_description="[^"]+"$/,
    );
  });

  test('a token that expired is 401 invalid_token', async () => {
    const now = Math.floor(Date.now() / 1000);
    const expired = token({ claims: { iat: now - 900, nbf: now - 900, exp: now - 10 } });
    const answer = await send(await service(), ['GET', '/any'], bearer(expired));
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([
      401,
      'Bearer realm="inventory", error="invalid_token", error_description="the token has expired"',
    ]);
  });

  test.each<[string, () => string]>([
    ['no JWT', () => 'abc'],
    ['a token for another audience', () => token({ claims: { aud: ['mqtt'] } })],
    ['a token of another issuer', () => testIssuer('https://other.example').token()],
    ['a token another issuer made in the name of this one', () => testIssuer(issuer.name).token()],
    ['an ID token', () => token({ header: { typ: 'JWT' } })],
    ['a token of a user at a client', () => token({ claims: { sub: 'somebody' } })],
    ['a token bound by DPoP', () => token({ claims: { cnf: { jkt: 'a'.repeat(43) } } })],
    ['a token bound to a certificate', () => token({ claims: { cnf: { 'x5t#S256': 'A'.repeat(43) } } })],
  ])('%s is 401 invalid_token', async (_what, make) => {
    const open = await service();
    const given = make();
    const answer = await send(open, ['GET', '/any'], bearer(given));
    expect([answer.status, answer.json()['error']]).toEqual([401, 'invalid_token']);
    expect(answer.headers.get('www-authenticate')).toMatch(
      /^Bearer realm="inventory", error="invalid_token", error_description="[^"]+"$/,
    );
    expect(JSON.stringify([...answer.headers, answer.body])).not.toContain(given);
  });

  test('each of the scopes, or one of them, and whole', async () => {
    const open = await service();
    const statusOf = async (route: readonly [string, string], ...scope: string[]) =>
      (await send(open, route, bearer(token({ scope })))).status;
    const all = ['POST', '/reservations'] as const;
    expect(await statusOf(all, 'stock.reserve', 'x', 'stock.read')).toBeLessThan(300);
    expect(await statusOf(all, 'stock.read')).toBe(403);
    expect(await statusOf(all)).toBe(403);
    const any = ['GET', '/either'] as const;
    expect(await statusOf(any, 'stock.audit')).toBe(200);
    expect(await statusOf(any, 'stock.read')).toBe(200);
    expect(await statusOf(any, 'stock', 'stock.reader', 'stock.*')).toBe(403);
  });

  test('a token that lacks a scope is told which', async () => {
    const answer = await send(await service(), ['POST', '/reservations'], bearer(token()));
    expect(answer.headers.get('www-authenticate')).toMatch(
      /^Bearer realm="inventory", error="insufficient_scope", error_description="[^"]+", scope="stock.read stock.reserve"$/,
    );
    expect(answer.json()).toMatchObject({ error: 'insufficient_scope', scope: 'stock.read stock.reserve' });
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
  });

  test('HEAD is answered as GET without a body', async () => {
    const open = await service();
    const refused = await send(open, ['HEAD', '/any']);
    expect([refused.status, refused.body, refused.headers.get('www-authenticate')]).toEqual([
      401,
      '',
      'Bearer realm="inventory"',
    ]);
    expect((await send(open, ['HEAD', '/any'], bearer(token()))).status).toBe(200);
  });

  test('OPTIONS is guarded as all else is', async () => {
    const open = await service();
    const preflight = ['Origin: https://app.example', 'Access-Control-Request-Method: GET'];
    expect((await send(open, ['OPTIONS', '/any'], ...preflight)).status).toBe(401);
    expect((await send(open, ['OPTIONS', '/any'], ...preflight, bearer(token()))).status).toBe(200);
  });

  test('while the keys of the issuer cannot be had it is 503, and no challenge', async () => {
    const away = await jsonServer(() => undefined);
    const open = openTo(
      await start({ issuer: issuer.name, audience, keys: { jwksUri: `${away.origin}/jwks.json` } }),
    );
    const answer = await send(open, ['GET', '/any'], bearer(token()));
    expect([answer.status, answer.json()['error']]).toEqual([503, 'temporarily_unavailable']);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(answer.headers.has('www-authenticate')).toBe(false);
  });

  test('a token that was taken back is refused, and a question that fails lets nobody in', async () => {
    const open = openTo(
      await start({
        issuer: issuer.name,
        audience,
        keys: { keySet: issuer.jwks() },
        isRevoked: async ({ clientId }) => {
          if (clientId === 'unlucky') throw new Error('the database is away');
          return clientId === 'thief';
        },
      }),
    );
    const statusOf = async (clientId: string) =>
      (await send(open, ['GET', '/any'], bearer(token({ clientId })))).status;
    expect(await statusOf('honest')).toBe(200);
    expect(await statusOf('thief')).toBe(401);
    expect(await statusOf('unlucky')).toBe(500);
  });

  test('a token bound to a certificate is taken of the connection that shows it', async () => {
    const [server, client, other] = await Promise.all(
      ['localhost', 'order-service', 'other'].map((name) => authority.issue(name)),
    );
    if (server === undefined || client === undefined || other === undefined)
      throw new Error('no certificate');
    const port = await start(
      { issuer: issuer.name, audience, keys: { keySet: issuer.jwks() } },
      { ...server, ca: authority.cert, requestCert: true, rejectUnauthorized: false },
    );
    const openWith = (certificate?: typeof client) => () =>
      connectTls({ host: '127.0.0.1', port, ca: authority.cert, ...certificate });
    const bound = token({ claims: { cnf: { 'x5t#S256': thumbprint(client.cert) } } });
    const statusBy = async (certificate?: typeof client) =>
      (await send(openWith(certificate), ['GET', '/any'], bearer(bound))).status;
    expect([await statusBy(client), await statusBy(other), await statusBy()]).toEqual([200, 401, 401]);
  });
});

function thumbprint(pem: string): string {
  return createHash('sha256').update(new X509Certificate(pem).raw).digest('base64url');
}
