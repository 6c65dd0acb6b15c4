import { text } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { httpTransport } from '../../agent/transport/http.ts';
import {
  CANARY_SECRET,
  CANARY_TOKEN,
  credentialsFor,
  goodBody,
  json,
  rejection,
  startEndpoint,
} from './token-endpoint-double.ts';

const never = new AbortController().signal;
const ask = (origin: string, changes = {}) => httpTransport(credentialsFor(origin, changes))({}, never);

test('id and secret are form-encoded each before they are joined, and the body is a form', async () => {
  let body = '';
  const { origin, requests } = await startEndpoint((request, response) => {
    text(request).then((received) => {
      body = received;
      json(goodBody)(request, response);
    });
  });
  const transport = httpTransport(credentialsFor(origin));
  expect(await transport({ scope: 'a b' }, never)).toEqual(goodBody);
  expect(body).toBe('grant_type=client_credentials&scope=a+b');
  const sent = requests[0]?.headers.authorization?.replace('Basic ', '') ?? '';
  expect(Buffer.from(sent, 'base64').toString()).toBe('sensor-1:canary+secret%2B%2F%25%3A%C3%BC');
});

test.each([
  ['expires_in is negative', { ...goodBody, expires_in: -1 }],
  ['expires_in is zero', { ...goodBody, expires_in: 0 }],
  ['expires_in is missing', { ...goodBody, expires_in: undefined }],
  ['expires_in is a string', { ...goodBody, expires_in: '900' }],
  ['expires_in is above 30 days', { ...goodBody, expires_in: 30 * 86_400 + 1 }],
  ['expires_in is no safe integer', { ...goodBody, expires_in: 1e300 }],
  ['token_type is another', { ...goodBody, token_type: 'DPoP' }],
  ['token_type is missing', { ...goodBody, token_type: undefined }],
  ['access_token is missing', { ...goodBody, access_token: undefined }],
  ['access_token is a number', { ...goodBody, access_token: 7 }],
  ['access_token is longer than 8 KiB', { ...goodBody, access_token: 'a'.repeat(8193) }],
  ['the body is an array', [goodBody]],
])('a success where %s is no token', async (_name, body) => {
  const { origin } = await startEndpoint(json(body));
  await expect(ask(origin)).rejects.toMatchObject({ code: 'token_response_invalid' });
});

test.each(['bearer', 'BEARER'])('token_type %s is Bearer', async (tokenType) => {
  const { origin } = await startEndpoint(
    json({ ...goodBody, token_type: tokenType, expires_in: 30 * 86_400 }),
  );
  expect(await ask(origin)).toMatchObject({ token_type: 'Bearer' });
});

test('HTML with status 200 is no token', async () => {
  const { origin } = await startEndpoint((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html>please log in</html>');
  });
  await expect(ask(origin)).rejects.toMatchObject({ code: 'token_response_invalid' });
});

test('a body of 10 MB is given up at the limit, not read to its end', async () => {
  let closedEarly: Promise<boolean> | undefined;
  const { origin } = await startEndpoint((_request, response) => {
    closedEarly = new Promise((resolve) => {
      response.once('close', () => resolve(!response.writableFinished));
    });
    response.writeHead(200, { 'content-type': 'application/json' }).end(Buffer.alloc(10_000_000, 0x20));
  });
  await expect(ask(origin)).rejects.toMatchObject({ code: 'token_response_invalid' });
  expect(await closedEarly).toBe(true);
});

test('a redirect is not followed: the secret is sent to one place', async () => {
  const { origin, requests } = await startEndpoint((_request, response) => {
    response.writeHead(307, { location: '/elsewhere' }).end();
  });
  await expect(ask(origin)).rejects.toMatchObject({ code: 'token_request_failed' });
  expect(requests.map(({ url }) => url)).toEqual(['/token']);
});

test.each([
  [401, { error: 'invalid_client' }, 'invalid_client'],
  [400, { error: 'invalid_scope' }, 'invalid_scope'],
  [503, { error: 'temporarily_unavailable' }, 'temporarily_unavailable'],
  [400, { error: 'no_such_code' }, 'token_request_failed'],
  [500, {}, 'token_request_failed'],
])('status %i with %o is told by its code', async (status, body, code) => {
  const { origin } = await startEndpoint(json(body, status));
  await expect(ask(origin)).rejects.toMatchObject({ code });
});

test('an endpoint that does not answer in time is token_request_failed', async () => {
  const { origin } = await startEndpoint(() => undefined);
  const transport = httpTransport(credentialsFor(origin), { timeoutMs: 50 });
  await expect(transport({}, never)).rejects.toMatchObject({ code: 'token_request_failed' });
});

test('without token_endpoint the metadata of exactly this issuer names it', async () => {
  const { origin, requests } = await startEndpoint((request, response) => {
    const metadata = { issuer: `http://${request.headers.host}`, token_endpoint: `${origin}/found` };
    json(request.url === '/found' ? goodBody : metadata)(request, response);
  });
  const { token_endpoint: _left, ...credentials } = credentialsFor(origin);
  await httpTransport(credentials)({}, never);
  expect(requests.map(({ url }) => url)).toEqual(['/.well-known/oauth-authorization-server', '/found']);
});

test.each(['/', '/other'])(
  'metadata whose issuer differs by %s is refused, and no secret is sent',
  async (more) => {
    const { origin, requests } = await startEndpoint((request, response) => {
      json({ issuer: `${origin}${more}`, token_endpoint: `${origin}/found` })(request, response);
    });
    const { token_endpoint: _left, ...credentials } = credentialsFor(origin);
    await expect(httpTransport(credentials)({}, never)).rejects.toMatchObject({
      code: 'token_response_invalid',
    });
    expect(requests.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
  },
);

test('http is refused unless the host is loopback', () => {
  const changes = { token_endpoint: 'http://issuer.example/token' };
  expect(() => httpTransport(credentialsFor('https://issuer.example', changes))).toThrow(
    expect.objectContaining({ code: 'credentials_invalid' }),
  );
});

test('no error holds the secret or the token, whatever the issuer echoes', async () => {
  const bodies: [number, (authorization: string) => unknown][] = [
    [401, () => ({ error: 'invalid_client', error_description: `bad secret ${CANARY_SECRET}` })],
    [401, () => ({ error: 'invalid_client', error_description: `${'x'.repeat(190)}${CANARY_SECRET}` })],
    [401, (authorization) => ({ error: 'invalid_client', error_description: authorization })],
    [503, () => ({ error_description: CANARY_SECRET })],
    [400, () => ({ error: CANARY_SECRET })],
    [200, () => ({ ...goodBody, expires_in: -1 })],
    [200, () => `${CANARY_TOKEN} ${CANARY_SECRET}`],
  ];
  for (const [status, body] of bodies) {
    const { origin } = await startEndpoint((request, response) =>
      json(body(request.headers.authorization ?? ''), status)(request, response),
    );
    const shown = inspect(await rejection(ask(origin)), { depth: 9, showHidden: true });
    const pair = Buffer.from('sensor-1:canary+secret%2B%2F%25%3A%C3%BC').toString('base64');
    for (const canary of ['canary', pair]) expect(shown).not.toContain(canary);
  }
});
