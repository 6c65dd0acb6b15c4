import { once } from 'node:events';
import { chmod, readdir, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type IssuerOptions, readOrCreateAdminKey, startIssuer } from '@fleetgate/issuer';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openHttpServer } from '../../issuer/http/server.ts';
import { otherConnection } from '../support/database.ts';
import { issuerFixture, issuerOptions, temporaryDirectory } from '../support/issuer-fixture.ts';

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: { code: string; message: string }) => error,
  );

/** All that a raw request is answered with, up to the end of the connection. */
async function raw(port: number, ...chunks: string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  onTestFinished(() => {
    socket.destroy();
  });
  let received = '';
  socket.setEncoding('utf8').on('data', (data) => {
    received += data;
  });
  socket.on('error', () => {});
  await once(socket, 'connect');
  for (const chunk of chunks) socket.write(chunk);
  await once(socket, 'close');
  return received;
}

describe('public routes', () => {
  test('keys may be kept for a while and read from any origin, and are public halves only', async () => {
    const { issuer } = await issuerFixture();
    for (const path of ['/.well-known/jwks.json', '/auth/jwt/jwks.json']) {
      const response = await fetch(`${issuer.url}${path}`);
      expect(response.headers.get('cache-control')).toMatch(/max-age=\d+/);
      expect(response.headers.get('access-control-allow-origin')).toBe('*');
      expect(await response.json()).toEqual(issuer.jwks());
    }
    expect(Object.keys(issuer.jwks().keys[0] ?? {}).sort()).toEqual([
      'alg',
      'crv',
      'kid',
      'kty',
      'use',
      'x',
      'y',
    ]);
  });

  test('metadata names only what exists', async () => {
    const { issuer } = await issuerFixture();
    const methods = ['client_secret_basic', 'client_secret_post', 'private_key_jwt'];
    const algorithms = ['ES256', 'EdDSA', 'Ed25519', 'RS256', 'PS256'];
    for (const path of ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']) {
      expect(await (await fetch(`${issuer.url}${path}`)).json()).toEqual({
        issuer: issuer.url,
        token_endpoint: `${issuer.url}/oauth/token`,
        jwks_uri: `${issuer.url}/.well-known/jwks.json`,
        token_endpoint_auth_methods_supported: methods,
        token_endpoint_auth_signing_alg_values_supported: algorithms,
        revocation_endpoint: `${issuer.url}/oauth/revoke`,
        revocation_endpoint_auth_methods_supported: methods,
        revocation_endpoint_auth_signing_alg_values_supported: algorithms,
        introspection_endpoint: `${issuer.url}/oauth/introspect`,
        introspection_endpoint_auth_methods_supported: methods,
        introspection_endpoint_auth_signing_alg_values_supported: algorithms,
        token_introspection_endpoint: `${issuer.url}/oauth/introspect`,
        grant_types_supported: ['client_credentials'],
        response_types_supported: [],
      });
    }
  });

  test('health is 200, and readiness 503 once the database cannot be read', async () => {
    const { issuer, database } = await issuerFixture();
    expect((await fetch(`${issuer.url}/livez`)).status).toBe(200);
    expect((await fetch(`${issuer.url}/readyz`)).status).toBe(200);
    expect(await issuer.isReady()).toBe(true);
    // What it is asked for is away, while it runs on.
    await (await otherConnection(database)).execute('ALTER TABLE clients RENAME TO away');
    for (const [path, status] of [
      ['/livez', 200],
      ['/readyz', 503],
    ] as const) {
      const { status: answered, headers } = await fetch(`${issuer.url}${path}`);
      expect([path, answered, headers.get('cache-control')]).toEqual([path, status, 'no-store']);
    }
    expect(await issuer.isReady()).toBe(false);
  });

  test.each([
    ['GET', '/nothing', 404],
    ['GET', '/%zz', 400],
    ['POST', '/.well-known/jwks.json', 405],
    ['DELETE', '/readyz', 405],
  ])('%s %s is %d with a JSON error', async (method, path, status) => {
    const { issuer } = await issuerFixture();
    const response = await fetch(`${issuer.url}${path}`, { method });
    expect([response.status, response.headers.get('cache-control')]).toEqual([status, 'no-store']);
    expect(await response.json()).toEqual({
      error: 'invalid_request',
      error_description: expect.any(String),
    });
    if (status === 405) expect(response.headers.get('allow')).toBe('GET, HEAD');
  });
});

describe('the listener', () => {
  test.each([
    ['what is no HTTP', 'nonsense\r\n\r\n', 400],
    ['headers that are too long', `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, 431],
    ['a method nobody knows', 'BREW /oauth/token HTTP/1.1\r\nhost: x\r\n\r\n', 400],
    [
      'two lengths',
      'POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx',
      400,
    ],
  ])('answers %s with a JSON error and closes', async (_name, request, status) => {
    const { issuer } = await issuerFixture();
    const answer = await raw(issuer.port, request);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4))).toHaveProperty(
      'error',
      'invalid_request',
    );
  });

  test.each([
    ['headers', 'POST /oauth/token HTTP/1.1\r\nhost: x\r\n'],
    [
      'a body',
      'POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{',
    ],
    [
      'a chunked body',
      'POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n',
    ],
  ])('cuts off %s that never end: 408 with a JSON error', async (_name, request) => {
    const server = openHttpServer(undefined, {
      timeouts: { idleMs: 60_000, requestMs: 200, keepAliveMs: 60_000 },
    });
    server.app.post('/oauth/token', () => 'answered');
    onTestFinished(() => server.close());
    const port = await server.listen({ host: '127.0.0.1', port: 0 });
    const answer = await raw(port, request);
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    expect(answer).toContain('"error":"invalid_request"');
  });

  test('refuses a chunked body over 64 KiB with 413 before it has ended', async () => {
    const { issuer } = await issuerFixture();
    const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
    const answer = await raw(
      issuer.port,
      'POST /oauth/token HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n',
      ...Array.from({ length: 6 }, () => chunk),
    );
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
  });

  test('does not start on a port that is in use, and leaves nothing open', async () => {
    const { issuer, directory } = await issuerFixture();
    const options = issuerOptions(directory, { http: { host: '127.0.0.1', port: issuer.port } });
    expect(await failure(startIssuer(options))).toMatchObject({
      code: 'address_in_use',
      message: expect.stringContaining(String(issuer.port)),
    });
  });
});

describe('closing', () => {
  test('finishes what is in flight, then accepts no more', async () => {
    const directory = await temporaryDirectory();
    const issuer = await startIssuer(issuerOptions(directory));
    const body = 'grant_type=client_credentials&client_id=a&client_secret=b';
    const answer = raw(
      issuer.port,
      `POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: ${body.length}\r\n\r\n`,
      body,
    );
    // Answered or not, the request was taken before the close began.
    await fetch(`${issuer.url}/livez`);
    await issuer.close();
    expect(await answer).toMatch(/^HTTP\/1\.1 401 /);
    await expect(fetch(`${issuer.url}/livez`)).rejects.toThrow();
    expect(await issuer.isReady()).toBe(false);
  });

  test('is not held up by a connection on which nothing was sent yet', async () => {
    const issuer = await startIssuer(issuerOptions(await temporaryDirectory()));
    const socket = connect(issuer.port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    // Accepted for sure, since a later one was answered.
    await fetch(`${issuer.url}/livez`);
    const closed = once(socket, 'close');
    const beganMs = performance.now();
    await issuer.close();
    expect(performance.now() - beganMs).toBeLessThan(4000);
    await closed;
  });

  test('is not held up by an idle connection, and may be asked for twice', async () => {
    const issuer = await startIssuer(issuerOptions(await temporaryDirectory()));
    const socket = connect(issuer.port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.write('GET /livez HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(socket, 'data');
    const closed = once(socket, 'close');
    await Promise.all([issuer.close(), issuer.close()]);
    await closed;
  });
});

describe('options', () => {
  test.each<[string, Partial<IssuerOptions>]>([
    ['a url that is http and not loopback', { url: 'http://auth.example.com' }],
    ['a url that only begins like loopback', { url: 'http://127.0.0.1.example.com' }],
    ['a url with a user', { url: 'https://user:pass@auth.example.com' }],
    ['a url with a query', { url: 'https://auth.example.com/?x=1' }],
    ['a url with a fragment', { url: 'https://auth.example.com/#x' }],
    ['a url of another scheme', { url: 'coap://127.0.0.1' }],
    ['a url that is none', { url: 'auth.example.com' }],
    ['no url on an open address', { http: { host: '0.0.0.0', port: 0 } }],
    ['a lifetime of 0', { tokenLifetimeSeconds: 0 }],
    ['a lifetime over a day', { tokenLifetimeSeconds: 86_401 }],
    ['a maximum of 0', { maxTokenLifetimeSeconds: 0 }],
    ['a maximum over a day', { maxTokenLifetimeSeconds: 86_401 }],
    ['a lifetime over the maximum', { maxTokenLifetimeSeconds: 600, tokenLifetimeSeconds: 601 }],
    ['a default lifetime over the maximum', { maxTokenLifetimeSeconds: 600 }],
    ['a claim that is reserved', { tokenClaims: ['site', 'scp'] }],
    ['an unknown algorithm', { signingAlgorithm: 'HS256' as 'ES256' }],
    ['no default audience', { defaultAudience: [] }],
    ['a heartbeat of 0', { revocationFeed: { heartbeatSeconds: 0 } }],
    ['a heartbeat that proxies do not wait for', { revocationFeed: { heartbeatSeconds: 61 } }],
    ['an endless wait for a reader', { revocationFeed: { drainTimeoutSeconds: Number.POSITIVE_INFINITY } }],
    ['an unknown option', { tokenLifetime: 5 } as Partial<IssuerOptions>],
  ])('%s is config_invalid, and no file is made', async (_name, options) => {
    const directory = await temporaryDirectory();
    const resolved = issuerOptions(directory, options);
    expect(await failure(startIssuer(resolved))).toMatchObject({ code: 'config_invalid' });
    expect(await readdir(directory)).toEqual([]);
  });

  test.each(['http://localhost:1', 'http://127.8.9.1', 'http://[::1]:8080', 'https://auth.example.com/auth'])(
    '%s may be the url, and tokens name it',
    async (url) => {
      const fixture = await issuerFixture({ url });
      expect(fixture.issuer.url).toBe(url);
      const local = `http://127.0.0.1:${fixture.issuer.port}`;
      const { client_id, client_secret } = await fixture.register({});
      const response = await fetch(`${local}/oauth/token`, {
        method: 'POST',
        body: new URLSearchParams({ grant_type: 'client_credentials', client_id, client_secret }),
      });
      const { access_token } = (await response.json()) as { access_token: string };
      expect(JSON.parse(Buffer.from(access_token.split('.')[1] as string, 'base64url').toString()).iss).toBe(
        url,
      );
    },
  );
});

describe('the admin key file', () => {
  test('is made once with 256 bits, for the owner only', async () => {
    const file = join(await temporaryDirectory(), 'admin.key');
    const key = readOrCreateAdminKey(file);
    expect(key).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(readOrCreateAdminKey(file)).toBe(key);
  });

  test('that others may read is refused with the chmod to run', async () => {
    const file = join(await temporaryDirectory(), 'admin.key');
    readOrCreateAdminKey(file);
    await chmod(file, 0o640);
    expect(() => readOrCreateAdminKey(file)).toThrow(
      expect.objectContaining({
        code: 'key_file_invalid',
        message: expect.stringContaining(`chmod 600 ${file}`),
      }),
    );
  });

  test.each(['', 'short', `${'x'.repeat(43)} ${'y'.repeat(43)}`, 'ü'.repeat(50)])(
    'with "%s" in it is refused',
    async (content) => {
      const file = join(await temporaryDirectory(), 'admin.key');
      await writeFile(file, content, { mode: 0o600 });
      expect(() => readOrCreateAdminKey(file)).toThrow(expect.objectContaining({ code: 'key_file_invalid' }));
    },
  );

  test('that is a directory, or in a directory that is missing, is refused', async () => {
    const directory = await temporaryDirectory();
    for (const file of [directory, join(directory, 'missing', 'admin.key')]) {
      expect(() => readOrCreateAdminKey(file)).toThrow(expect.objectContaining({ code: 'key_file_invalid' }));
    }
  });
});
