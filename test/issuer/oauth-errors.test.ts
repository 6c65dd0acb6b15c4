import { execFile } from 'node:child_process';
import { connect as connectTls } from 'node:tls';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { publicRoutes } from '../../issuer/http/public.ts';
import { openHttpServer } from '../../issuer/http/server.ts';
import { openIssuer } from '../../issuer/open-issuer.ts';
import { resolveOptions } from '../../issuer/options.ts';
import {
  basic,
  type IssuerFixture,
  issuerFixture,
  issuerOptions,
  type RegisteredClient,
  temporaryDirectory,
} from '../support/issuer-fixture.ts';
import { exchange, openTo, type RawAnswer, rawPost } from '../support/raw-http.ts';
import { tlsIssuer } from '../support/tls-issuer.ts';

let fixture: IssuerFixture;
let client: RegisteredClient;

beforeEach(async () => {
  fixture = await issuerFixture();
  client = await fixture.register({ client_id: 'dev-1', scope: 'a b' });
});

const formType = 'content-type: application/x-www-form-urlencoded';
const jsonType = 'content-type: application/json';

/** What each endpoint for clients asks for besides who asks. */
const endpoints = [
  ['/oauth/token', { grant_type: 'client_credentials' }],
  ['/oauth/introspect', { token: 'x' }],
  ['/oauth/revoke', { token: 'x' }],
] as const;

const credentials = () => ({ client_id: client.client_id, client_secret: client.client_secret });
const formOf = (parameters: Record<string, string>) => new URLSearchParams(parameters).toString();
const authorizationOf = (secret: string = client.client_secret) =>
  `authorization: ${basic('dev-1', secret).authorization}`;

/** The one answer to bytes sent to the issuer. */
async function answerTo(...chunks: (string | Uint8Array)[]): Promise<RawAnswer> {
  const answers = await exchange(openTo(fixture.issuer.port), ...chunks);
  expect(answers).toHaveLength(1);
  return answers[0] as RawAnswer;
}

/** What RFC 6749 §5.2 asks of every error. */
function expectError(answer: RawAnswer, status: number, error: string): void {
  const body = JSON.parse(answer.body) as Record<string, string>;
  expect([answer.status, body['error']]).toEqual([status, error]);
  expect(Object.keys(body).sort()).toEqual(['error', 'error_description']);
  expect(body['error_description']).toMatch(/^[\x20\x21\x23-\x5b\x5d-\x7e]+$/);
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
  expect(answer.headers.get('cache-control')).toBe('no-store');
  expect(answer.body).not.toContain(client.client_secret);
  if (status === 401) expect(answer.headers.get('www-authenticate')).toMatch(/^Basic realm="/);
}

describe('each error of RFC 6749 §5.2 and RFC 8707 §2 is answered by the token endpoint', () => {
  const token = (parameters: Record<string, string>, headers: string[] = []) =>
    answerTo(rawPost('/oauth/token', [formType, ...headers], formOf(parameters)));
  const grant = { grant_type: 'client_credentials' };

  test('invalid_request, for a parameter that is missing', async () => {
    expectError(await token(credentials()), 400, 'invalid_request');
  });

  test('invalid_request, for one that is repeated', async () => {
    const body = `${formOf({ ...grant, ...credentials() })}&grant_type=client_credentials`;
    expectError(await answerTo(rawPost('/oauth/token', [formType], body)), 400, 'invalid_request');
  });

  test('invalid_request, for more than one way to authenticate', async () => {
    expectError(await token({ ...grant, ...credentials() }, [authorizationOf()]), 400, 'invalid_request');
  });

  test('invalid_client, for no authentication', async () => {
    expectError(await token({ ...grant, client_id: 'dev-1' }), 401, 'invalid_client');
  });

  test('invalid_client, for a client nobody knows', async () => {
    expectError(await token({ ...grant, ...credentials(), client_id: 'dev-2' }), 401, 'invalid_client');
  });

  test('invalid_client, for a wrong secret', async () => {
    expectError(await token({ ...grant, ...credentials(), client_secret: 'x' }), 401, 'invalid_client');
  });

  test('invalid_client, for a method there is not', async () => {
    const bearer = 'authorization: Bearer abc';
    expectError(await token(grant, [bearer]), 401, 'invalid_client');
  });

  test('unauthorized_client, for a client registered for another grant', async () => {
    const body = { clientId: 'web', grantTypes: ['authorization_code'] };
    const made = await fixture.call('POST', '/recipe/oauth/clients', body);
    const { clientSecret } = (await made.json()) as { clientSecret: string };
    const asked = await token({ ...grant, client_id: 'web', client_secret: clientSecret });
    expectError(asked, 400, 'unauthorized_client');
  });

  test('unsupported_grant_type', async () => {
    expectError(await token({ ...credentials(), grant_type: 'password' }), 400, 'unsupported_grant_type');
  });

  test('unsupported_grant_type and not invalid_grant, for a grant that would name another', async () => {
    for (const other of [
      { grant_type: 'authorization_code', code: 'x' },
      { grant_type: 'refresh_token', refresh_token: 'x' },
      { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: 'x' },
    ]) {
      expectError(await token({ ...credentials(), ...other }), 400, 'unsupported_grant_type');
    }
  });

  test.each(['c', 'a c', 'a  b', ' a', 'a\nb', 'ü', 'a"b', 'x'.repeat(5000), 'a.*'])(
    'invalid_scope, for the scope %j',
    async (scope) => {
      expectError(await token({ ...grant, ...credentials(), scope }), 400, 'invalid_scope');
    },
  );

  test.each([{ audience: 'api' }, { resource: 'https://api.example.com' }, { resource: 'mqtt' }])(
    'invalid_target, for %j',
    async (more) => {
      expectError(await token({ ...grant, ...credentials(), ...more }), 400, 'invalid_target');
    },
  );
});

describe.each(endpoints)('%s', (path, parameters) => {
  const ask = (headers: string[], body: string | Uint8Array) => answerTo(rawPost(path, headers, body));
  const good = () => formOf({ ...parameters, ...credentials() });
  const goodJson = () => JSON.stringify({ ...parameters, ...credentials() });

  test.each<[string, () => Promise<RawAnswer>]>([
    ['in the form', () => ask([formType], good())],
    ['in JSON', () => ask([jsonType], goodJson())],
    ['with Basic', () => ask([formType, authorizationOf()], formOf(parameters))],
    ['with UTF-8 named', () => ask([`${formType}; Charset="UTF-8"`], good())],
    ['that says it is not compressed', () => ask([formType, 'content-encoding: identity'], good())],
    [
      'in chunks',
      () => {
        const head = `POST ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${formType}\r\ntransfer-encoding: chunked\r\n\r\n`;
        const chunks = Array.from(good(), (character) => `1\r\n${character}\r\n`);
        return answerTo(head, ...chunks, '0\r\n\r\n');
      },
    ],
    ['that waits for 100', () => ask([formType, 'expect: 100-continue'], good())],
  ])('answers a request %s', async (_name, made) => {
    expect((await made()).status).toBe(200);
  });

  test.each<[string, () => Promise<RawAnswer>, number, string]>([
    ['an empty body in JSON', () => ask([jsonType], ''), 400, 'invalid_request'],
    [
      'no body',
      () => answerTo(`POST ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`),
      400,
      'invalid_request',
    ],
    ['no type', () => ask([], good()), 415, 'invalid_request'],
    ['text', () => ask(['content-type: text/plain'], good()), 415, 'invalid_request'],
    [
      'a file form',
      () => ask(['content-type: multipart/form-data; boundary=x'], '--x--'),
      415,
      'invalid_request',
    ],
    ['XML', () => ask(['content-type: application/xml'], '<x/>'), 415, 'invalid_request'],
    ['JSON of a kind', () => ask(['content-type: application/ld+json'], goodJson()), 415, 'invalid_request'],
    ['a type that is a list', () => ask([`${jsonType}, text/plain`], goodJson()), 415, 'invalid_request'],
    ['a type that is none', () => ask(['content-type: ;;;'], good()), 415, 'invalid_request'],
    ['Latin 1', () => ask([`${formType}; charset=iso-8859-1`], good()), 415, 'invalid_request'],
    [
      'UTF-16',
      () => ask([`${jsonType};charset=utf-16`], Buffer.from(goodJson(), 'utf16le')),
      415,
      'invalid_request',
    ],
    ['compression', () => ask([formType, 'content-encoding: gzip'], good()), 415, 'invalid_request'],
    [
      'bytes that are not UTF-8',
      () => ask([formType], Buffer.from(`${good()}&x=\xff`, 'latin1')),
      400,
      'invalid_request',
    ],
    [
      'JSON that is not UTF-8',
      () => ask([jsonType], Buffer.from(goodJson().replace('{', '{"\xe9":1,'), 'latin1')),
      400,
      'invalid_request',
    ],
    ['an escape that is not UTF-8', () => ask([formType], `${good()}&x=%ff`), 400, 'invalid_request'],
    ['an overlong escape', () => ask([formType], `${good()}&x=%c0%af`), 400, 'invalid_request'],
    ['an escaped surrogate', () => ask([formType], `${good()}&%ed%a0%80=x`), 400, 'invalid_request'],
    ['a parameter twice', () => ask([formType], `${good()}&client_id=dev-1`), 400, 'invalid_request'],
    ['one twice, once escaped', () => ask([formType], `${good()}&client%5Fid=dev-1`), 400, 'invalid_request'],
    ['one twice, once empty', () => ask([formType], `${good()}&client_secret=`), 400, 'invalid_request'],
    ['an unknown parameter twice', () => ask([formType], `${good()}&x=1&x=1`), 400, 'invalid_request'],
    [
      'a member twice',
      () => ask([jsonType], goodJson().replace('{', '{"client_id":"x",')),
      400,
      'invalid_request',
    ],
    ['a list', () => ask([jsonType], `[${goodJson()}]`), 400, 'invalid_request'],
    [
      'a list of parameters',
      () => ask([jsonType], JSON.stringify(Object.entries(credentials()))),
      400,
      'invalid_request',
    ],
    ['null', () => ask([jsonType], 'null'), 400, 'invalid_request'],
    ['a number', () => ask([jsonType], '1e400'), 400, 'invalid_request'],
    ['two JSON texts', () => ask([jsonType], `${goodJson()}${goodJson()}`), 400, 'invalid_request'],
    ['JSON with a comment', () => ask([jsonType], `${goodJson()}//`), 400, 'invalid_request'],
    ['JSON with NUL behind it', () => ask([jsonType], `${goodJson()}\0`), 400, 'invalid_request'],
    ['JSON that is a form', () => ask([jsonType], good()), 400, 'invalid_request'],
    [
      'JSON 30,000 deep',
      () => ask([jsonType], `{"x":${'['.repeat(30_000)}${']'.repeat(30_000)}}`),
      400,
      'invalid_request',
    ],
    [
      'JSON of 30,000 open brackets',
      () => ask([jsonType], '{"x":['.padEnd(30_000, '[')),
      400,
      'invalid_request',
    ],
    [
      'a prototype',
      () => ask([jsonType], goodJson().replace('{', '{"__proto__":{"client_id":"x"},')),
      400,
      'invalid_request',
    ],
    [
      'a secret that is an object',
      () =>
        ask(
          [jsonType],
          JSON.stringify({ ...parameters, client_id: 'dev-1', client_secret: { toString: 'x' } }),
        ),
      400,
      'invalid_request',
    ],
    [
      'a secret that is a list',
      () =>
        ask(
          [jsonType],
          JSON.stringify({ ...parameters, client_id: 'dev-1', client_secret: [client.client_secret] }),
        ),
      400,
      'invalid_request',
    ],
    [
      'true for client_id',
      () => ask([jsonType], JSON.stringify({ ...parameters, ...credentials(), client_id: true })),
      400,
      'invalid_request',
    ],
    ['NUL in the id', () => ask([formType], good().replace('dev-1', 'dev-1%00')), 401, 'invalid_client'],
    ['NUL in the secret', () => ask([formType], `${good()}%00`), 401, 'invalid_client'],
    ['a secret with a space behind it', () => ask([formType], `${good()}+`), 401, 'invalid_client'],
    [
      'Basic with NUL',
      () => ask([formType, authorizationOf(`${client.client_secret}\0`)], formOf(parameters)),
      401,
      'invalid_client',
    ],
    [
      'Bearer',
      () => ask([formType, `authorization: Bearer ${client.client_secret}`], formOf(parameters)),
      401,
      'invalid_client',
    ],
    [
      'Basic and the secret in the body',
      () => ask([formType, authorizationOf()], good()),
      400,
      'invalid_request',
    ],
    [
      'Basic twice',
      () => ask([formType, authorizationOf(), authorizationOf()], formOf(parameters)),
      400,
      'invalid_request',
    ],
    [
      'Basic, and one that is wrong behind it',
      () => ask([formType, authorizationOf(), authorizationOf('x')], formOf(parameters)),
      400,
      'invalid_request',
    ],
    ['two types', () => ask([formType, jsonType], good()), 400, 'invalid_request'],
  ])('refuses %s, and serves the next', async (_name, made, status, error) => {
    expectError(await made(), status, error);
    expect((await ask([formType], good())).status).toBe(200);
  });

  test.each([
    ['the secret in the query', () => `?client_secret=${client.client_secret}`],
    ['an empty query', () => '?'],
    ['the secret in a fragment', () => `#client_secret=${client.client_secret}`],
  ])('refuses %s', async (_name, behind) => {
    const answer = await answerTo(rawPost(`${path}${behind()}`, [formType], good()));
    expectError(answer, 400, 'invalid_request');
  });

  test('refuses a body over 64 KiB by what it announces, before it is sent', async () => {
    const answer = await answerTo(
      `POST ${path} HTTP/1.1\r\nhost: x\r\n${formType}\r\ncontent-length: 65537\r\n\r\n`,
    );
    expectError(answer, 413, 'invalid_request');
  });

  test.each(['GET', 'PUT', 'DELETE', 'TRACE', 'OPTIONS'])('refuses %s', async (method) => {
    const answer = await answerTo(
      `${method} ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${authorizationOf()}\r\n\r\n`,
    );
    expectError(answer, 405, 'invalid_request');
    expect(answer.headers.get('allow')).toBe('POST');
  });

  test.each<[string, string]>([
    ['a length and chunks', 'content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['two lengths', 'content-length: 5\r\ncontent-length: 6\r\n\r\nx=1&y='],
    ['a length below 0', 'content-length: -1\r\n\r\n'],
    ['a length of 23 digits', `content-length: ${'9'.repeat(23)}\r\n\r\n`],
    ['a chunk without a size', 'transfer-encoding: chunked\r\n\r\nzz\r\n'],
    ['a chunk of endless size', `transfer-encoding: chunked\r\n\r\n${'f'.repeat(20)}\r\n`],
    ['chunks that end otherwise', 'transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n'],
    ['NUL in a header', 'x: a\0b\r\n\r\n'],
    ['a header that goes on', 'x: a\r\n b\r\n\r\n'],
    ['a space before the colon', 'content-length : 0\r\n\r\n'],
  ])('refuses %s and closes', async (_name, rest) => {
    expectError(
      await answerTo(`POST ${path} HTTP/1.1\r\nhost: x\r\n${formType}\r\n${rest}`),
      400,
      'invalid_request',
    );
  });

  test('answers requests sent at once in their order, each by itself', async () => {
    const one = (body: string, connection: string) =>
      `POST ${path} HTTP/1.1\r\nhost: x\r\nconnection: ${connection}\r\n${formType}\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    const wrong = formOf({ ...parameters, ...credentials(), client_secret: 'wrong' });
    const answers = await exchange(
      openTo(fixture.issuer.port),
      one(good(), 'keep-alive') +
        one(wrong, 'keep-alive') +
        one(formOf(parameters), 'keep-alive') +
        one(good(), 'close'),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 401, 401, 200]);
  });

  test('does not take a body for the next request, nor what is behind one', async () => {
    const hidden = `POST ${path} HTTP/1.1\r\nhost: x\r\n\r\n`;
    const body = formOf({ ...parameters, ...credentials(), x: hidden });
    expect((await ask([formType], body)).status).toBe(200);
  });
});

test.each(endpoints)(
  '%s cuts off a body that comes too slowly, and serves others meanwhile',
  async (path, parameters) => {
    const options = resolveOptions(issuerOptions(await temporaryDirectory()));
    const issuer = await openIssuer(options, () => 'http://127.0.0.1');
    const server = openHttpServer(undefined, {
      timeouts: { idleMs: 60_000, requestMs: 400, keepAliveMs: 60_000 },
    });
    onTestFinished(async () => {
      await server.close();
      await issuer.close();
    });
    await server.app.register(
      publicRoutes(issuer, {
        configuredUrl: undefined,
        byCertificate: [],
        now: Date.now,
        ...options.revocationFeed,
      }),
    );
    const port = await server.listen({ host: '127.0.0.1', port: 0 });
    const body = formOf({ ...parameters, client_id: 'nobody', client_secret: 'x' });
    const slow = exchange(
      openTo(port),
      `POST ${path} HTTP/1.1\r\nhost: x\r\n${formType}\r\ncontent-length: ${body.length}\r\n\r\n`,
      body.slice(0, 5),
    );
    const [other] = await exchange(openTo(port), rawPost(path, [formType], body));
    expect(other?.status).toBe(401);
    const [answer] = await slow;
    expectError(answer as RawAnswer, 408, 'invalid_request');
  },
);

test.each([
  ['/oauth/token', 400, 'invalid_request'],
  ['/oauth/introspect', 401, 'invalid_client'],
  ['/oauth/revoke', 401, 'invalid_client'],
] as const)('%s refuses an empty form with %d %s', async (path, status, error) => {
  expectError(await answerTo(rawPost(path, [formType], '')), status, error);
});

test.each(endpoints)('%s answers and refuses over TLS as in the clear', async (path, parameters) => {
  const { authority, issuer, register } = await tlsIssuer();
  client = await register({ client_id: 'dev-1' });
  const open = () => connectTls({ port: issuer.port, host: '127.0.0.1', ca: authority.cert });
  const good = formOf({ ...parameters, ...credentials() });
  const wrong = formOf({ ...parameters, ...credentials(), client_secret: 'x' });
  const keepAlive = (body: string) =>
    `POST ${path} HTTP/1.1\r\nhost: x\r\n${formType}\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
  const cases: [Uint8Array | string, number, string][] = [
    [rawPost(path, [formType], wrong), 401, 'invalid_client'],
    [rawPost(path, [formType], formOf(parameters)), 401, 'invalid_client'],
    [rawPost(path, [formType], `${good}&client_id=dev-1`), 400, 'invalid_request'],
    [rawPost(path, [formType, authorizationOf()], good), 400, 'invalid_request'],
    [rawPost(`${path}?client_secret=x`, [formType], good), 400, 'invalid_request'],
    [rawPost(path, ['content-type: text/plain'], good), 415, 'invalid_request'],
    [rawPost(path, [jsonType], '{"__proto__":{}}'), 400, 'invalid_request'],
    [`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`, 405, 'invalid_request'],
    [
      `POST ${path} HTTP/1.1\r\nhost: x\r\n${formType}\r\ncontent-length: 65537\r\n\r\n`,
      413,
      'invalid_request',
    ],
    ['nonsense\r\n\r\n', 400, 'invalid_request'],
  ];
  for (const [bytes, status, error] of cases) {
    const [answer] = await exchange(open, bytes);
    expectError(answer as RawAnswer, status, error);
  }
  const last = rawPost(path, [formType], good).toString();
  const answers = await exchange(open, keepAlive(good) + keepAlive(wrong) + last);
  expect(answers.map((answer) => answer.status)).toEqual([200, 401, 200]);
});

describe('curl', () => {
  const run = promisify(execFile);
  /** Configuration on standard input: no secret is in argv. */
  async function curl(
    path: string,
    ...lines: string[]
  ): Promise<{ status: number; body: Record<string, unknown> }> {
    const promise = run('curl', ['--silent', '--config', '-', '--write-out', '\n%{http_code}'], {
      timeout: 10_000,
    });
    promise.child.stdin?.end([`url = "${fixture.issuer.url}${path}"`, ...lines, ''].join('\n'));
    const { stdout } = await promise;
    const end = stdout.lastIndexOf('\n');
    const text = stdout.slice(0, end);
    return { status: Number(stdout.slice(end)), body: text === '' ? {} : JSON.parse(text) };
  }
  const user = () => `user = "dev-1:${client.client_secret}"`;

  test('gets a token, is told what it grants, ends it, and is told that it is over', async () => {
    const { status, body } = await curl(
      '/oauth/token',
      user(),
      'data = "grant_type=client_credentials&scope=a"',
    );
    expect([status, body['scope']]).toEqual([200, 'a']);
    const token = `data-urlencode = "token=${body['access_token']}"`;
    const active = await curl('/oauth/introspect', user(), token);
    expect(active).toMatchObject({ status: 200, body: { active: true, client_id: 'dev-1', scope: 'a' } });
    expect(await curl('/oauth/revoke', user(), token)).toEqual({ status: 200, body: {} });
    expect(await curl('/oauth/introspect', user(), token)).toEqual({ status: 200, body: { active: false } });
  });

  test.each<[string, () => string[], number, string]>([
    [
      'a wrong secret',
      () => ['user = "dev-1:wrong"', 'data = "grant_type=client_credentials"'],
      401,
      'invalid_client',
    ],
    [
      'the grant in the query',
      () => [user(), 'get', 'data = "grant_type=client_credentials"'],
      405,
      'invalid_request',
    ],
    ['a file form', () => [user(), 'form = "grant_type=client_credentials"'], 415, 'invalid_request'],
    [
      'a scope too many',
      () => [user(), 'data = "grant_type=client_credentials&scope=c"'],
      400,
      'invalid_scope',
    ],
    [
      'a Bearer token',
      () => ['oauth2-bearer = "x"', 'data = "grant_type=client_credentials"'],
      401,
      'invalid_client',
    ],
  ])('is refused %s', async (_name, lines, status, error) => {
    expect(await curl('/oauth/token', ...lines())).toMatchObject({ status, body: { error } });
  });
});
