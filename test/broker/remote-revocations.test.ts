import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { remoteRevocations } from '../../broker/remote-revocations.ts';
import { until } from '../support/broker-fixture.ts';

interface Feed {
  readonly url: string;
  readonly requests: IncomingMessage[];
  /** The connection that is open. */
  response(): ServerResponse;
}

type Serve = (response: ServerResponse, count: number) => void;

const open: Serve = (response) =>
  void response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();

async function startFeed(serve: Serve = open): Promise<Feed> {
  const requests: IncomingMessage[] = [];
  let current: ServerResponse | undefined;
  const server = createServer((request, response) => {
    requests.push(request);
    current = response;
    serve(response, requests.length);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/revocations`, requests, response: () => current as ServerResponse };
}

function follow(url: string, more: { token?: () => Promise<string>; silenceMs?: number } = {}): string[] {
  const story: string[] = [];
  const stop = remoteRevocations({ url, token: async () => 'canary', random: () => 0, ...more })({
    revoke: (revocation) => story.push(JSON.stringify(revocation)),
    current: () => story.push('current'),
    away: () => story.push('away'),
  });
  onTestFinished(stop);
  return story;
}

const event = (cursor: string, fields: object) =>
  `id: ${cursor}\ndata: ${JSON.stringify({ cursor, expires_at: 9_999_999_999, ...fields })}\n\n`;
const ready = 'event: ready\ndata: {}\n\n';

test('each kind is told, and then that all is known; the token is in the header alone', async () => {
  const feed = await startFeed();
  const story = follow(feed.url);
  await until(() => feed.requests.length === 1);
  feed
    .response()
    .write(
      [
        event('1', { kind: 'token', jti: 'j' }),
        event('2', { kind: 'client', client_id: 'c', at: 5 }),
        ': alive\n\n',
        event('3', { kind: 'issued_before', at: 6 }),
        event('4', { kind: 'issued_before', client_id: 'c', at: 7 }),
        event('5', { kind: 'key', kid: 'k' }),
        event('6', { kind: 'client', client_id: 'c', at: 8, quarantined: true }),
        ready,
      ].join(''),
    );
  await until(() => story.includes('current'));
  expect(story).toEqual([
    '{"kind":"token","tokenId":"j"}',
    '{"kind":"client","clientId":"c","atSeconds":5}',
    '{"kind":"issued_before","atSeconds":6}',
    '{"kind":"issued_before","atSeconds":7,"clientId":"c"}',
    '{"kind":"key","keyId":"k"}',
    '{"kind":"client","clientId":"c","atSeconds":8,"isQuarantined":true}',
    'current',
  ]);
  expect(feed.requests[0]?.headers.authorization).toBe('Bearer canary');
  expect(feed.requests[0]?.url).toBe('/revocations');
});

test('a break is told, and the next connection begins behind what was taken', async () => {
  const feed = await startFeed();
  const story = follow(feed.url);
  await until(() => feed.requests.length === 1);
  feed.response().write(`${event('7', { kind: 'token', jti: 'j' })}${ready}`);
  await until(() => story.includes('current'));
  feed.response().destroy();
  await until(() => feed.requests.length === 2);
  expect(story.at(-1)).toBe('away');
  expect(feed.requests[1]?.url).toBe('/revocations?after=7');
  feed.response().write(ready);
  await until(() => story.at(-1) === 'current');
});

test.each<[string, Serve]>([
  ['401', (response) => void response.writeHead(401).end()],
  ['a page', (response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<p>')],
  ['a redirect', (response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()],
])('%s is no feed: it is away, and asked again', async (_what, serve) => {
  const feed = await startFeed((response, count) =>
    count < 3 ? serve(response, count) : open(response, count),
  );
  const story = follow(feed.url);
  await until(() => feed.requests.length === 3);
  expect(story).toEqual(['away', 'away']);
});

test('a token that cannot be had is a feed that is away', async () => {
  const feed = await startFeed();
  let isRefused = true;
  const story = follow(feed.url, {
    token: async () => {
      if (isRefused) throw new Error('no token');
      return 'canary';
    },
  });
  await until(() => story.length > 0);
  expect(story[0]).toBe('away');
  expect(feed.requests).toEqual([]);
  isRefused = false;
  await until(() => feed.requests.length > 0);
});

test('a connection that goes silent is given up', async () => {
  const feed = await startFeed();
  const story = follow(feed.url, { silenceMs: 50 });
  await until(() => feed.requests.length === 1);
  feed.response().write(ready);
  await until(() => feed.requests.length === 2);
  expect(story.slice(0, 2)).toEqual(['current', 'away']);
});

test.each([
  ['of a kind nobody knows', event('8', { kind: 'tribe', at: 1 })],
  ['that is malformed', 'id: 8\ndata: nonsense\n\n'],
])('an event %s takes back everything issued so far, once', async (_what, text) => {
  const feed = await startFeed();
  const story = follow(feed.url);
  await until(() => feed.requests.length === 1);
  feed.response().write(`${text}${ready}`);
  await until(() => story.includes('current'));
  const { kind, atSeconds } = JSON.parse(story[0] as string);
  expect(kind).toBe('issued_before');
  expect(Math.abs(atSeconds - Date.now() / 1000)).toBeLessThan(5);
  feed.response().destroy();
  await until(() => feed.requests.length === 2);
  expect(feed.requests[1]?.url).toBe('/revocations?after=8');
});

test('an event without an end is not collected for ever', async () => {
  const feed = await startFeed();
  const story = follow(feed.url);
  await until(() => feed.requests.length === 1);
  feed.response().write(`data: ${'x'.repeat(100_000)}`);
  await until(() => story.includes('away'));
});
