import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { createConnection } from '../agent/connection.ts';
import { exchange } from '../agent/transport/exchange.ts';
import { remoteRevocations } from '../broker/remote-revocations.ts';
import { adminClient } from '../cli/admin-client.ts';
import { fetchKeySet } from '../issuer/client-auth/fetch-key-set.ts';
import { fetchJson } from '../verifier/fetch-json.ts';
import { createAuthority } from './support/certificates.ts';

// NODE_TLS_REJECT_UNAUTHORIZED=0 makes Node accept any server: here one that nobody stands for.

let host: string;
let asked = 0;

beforeEach(async () => {
  const { cert, key } = await (await createAuthority()).issue('somebody');
  asked = 0;
  const server = createServer({ cert, key }, (_request, response) => {
    asked += 1;
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  server.on('upgrade', (_request, socket) => {
    asked += 1;
    socket.destroy();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close());
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
});
afterEach(() => vi.unstubAllEnvs());

const never = new AbortController().signal;

test.each<[string, () => Promise<unknown>, RegExp]>([
  ['the agent its token', () => exchange({ url: `https://${host}/`, signal: never }), /certificate/],
  [
    'the broker the keys of an issuer',
    () => fetchJson({ url: `https://${host}/jwks.json`, signal: never, maxBytes: 1000 }),
    /NODE_EXTRA_CA_CERTS/,
  ],
  ['the issuer the keys of a client', () => fetchKeySet(`https://${host}/`, 1000), /NODE_EXTRA_CA_CERTS/],
  [
    'an operator the admin API',
    () => adminClient(`https://${host}`, 'key').issuerUrl(),
    /NODE_EXTRA_CA_CERTS/,
  ],
])('%s does not ask of a server that nobody stands for', async (_what, ask, words) => {
  const answer = await ask().catch((error: Error) => ({ problem: error.message }));
  expect((answer as { problem: string }).problem).toMatch(words);
  expect(asked).toBe(0);
});

test.each(['mqtts', 'wss'])('the agent shows its token to no such broker over %s', async (protocol) => {
  const connection = createConnection({
    url: `${protocol}://${host}/`,
    clientId: 'a',
    username: 'a',
    clean: true,
    keepaliveSeconds: 60,
    connectTimeoutMs: 2000,
    onMessage: () => {},
  });
  onTestFinished(() => connection.close());
  const outcome = await connection.open('token', never);
  expect(outcome).toMatchObject({ kind: 'unreachable', reason: expect.stringContaining('certificate') });
  expect(asked).toBe(0);
});

test('the broker asks for no revocations of such an issuer', async () => {
  const problems: unknown[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => problems.push(JSON.parse(line)) });
  const source = remoteRevocations({ url: `https://${host}/revocations`, token: async () => 'token', log });
  const stop = source({ revoke: () => {}, current: () => {}, away: () => {} });
  onTestFinished(stop);
  await vi.waitFor(() => expect(problems).not.toEqual([]));
  expect(problems[0]).toMatchObject({
    event: 'revocation_feed_away',
    problem: expect.stringContaining('NODE_EXTRA_CA_CERTS'),
  });
  expect(asked).toBe(0);
});
