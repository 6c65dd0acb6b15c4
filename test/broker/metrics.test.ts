import { once } from 'node:events';
import { fleetgate, parsePolicy, startBroker } from '@fleetgate/broker';
import { prometheusObserver } from '@fleetgate/broker/metrics';
import { Registry } from 'prom-client';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import type { BrokerState } from '../../broker/observer.ts';
import { protocols } from '../../broker/protocol.ts';
import type { RevocationListener } from '../../broker/revocation-source.ts';
import {
  publishPacket,
  startTestBroker,
  subscribe,
  type TestBroker,
  type TestBrokerOptions,
  until,
} from '../support/broker-fixture.ts';
import { connectPacket } from '../support/broker-raw-client.ts';
import { testIssuer } from '../support/broker-tokens.ts';
import { parseMetrics, type Scrape } from '../support/prometheus-text.ts';
import { httpServer } from '../support/verifier-fixture.ts';

async function start(
  options: TestBrokerOptions = {},
): Promise<{ broker: TestBroker; scrape: () => Promise<Scrape>; text: () => Promise<string> }> {
  const register = new Registry();
  const broker = await startTestBroker({ ...options, observer: prometheusObserver(register) });
  const text = () => register.metrics();
  return { broker, text, scrape: async () => parseMetrics(await text()) };
}

test('a CONNECT is counted by its answer', async () => {
  const { broker, scrape } = await start();
  await broker.session('device-1');
  await broker.session('device-2');
  await broker.connack('device-1', 'x.y.z');
  await broker.connack('device-3', broker.token('device-1'), { username: '' });
  const { value } = await scrape();
  expect(value('fleetgate_connects_total', { result: 'accepted' })).toBe(2);
  expect(value('fleetgate_connects_total', { result: 'token_malformed' })).toBe(1);
  expect(value('fleetgate_connects_total', { result: 'client_id_mismatch' })).toBe(1);
  expect(value('fleetgate_token_verify_seconds_count')).toBe(4);
});

describe('a client that leaves before its CONNECT is answered is counted as gone', () => {
  const gone = async (scrape: () => Promise<Scrape>) =>
    (await scrape()).value('fleetgate_connects_total', { result: 'gone' }) ?? 0;

  const verified = async (scrape: () => Promise<Scrape>) =>
    (await scrape()).value('fleetgate_token_verify_seconds_count');

  /** An issuer whose keys come when they are released. */
  async function slowIssuer() {
    const issuer = testIssuer('https://remote.example');
    const waiting: (() => void)[] = [];
    const server = await httpServer((_request, response) => {
      response.setHeader('content-type', 'application/json');
      waiting.push(() => response.end(JSON.stringify(issuer.jwks())));
    });
    const remoteIssuers = [{ issuer: issuer.name, keys: { jwksUri: `${server.origin}/jwks.json` } }];
    const asked = () => until(() => waiting.length > 0);
    const release = () => {
      for (const answer of waiting.splice(0)) answer();
    };
    return { issuer, remoteIssuers, asked, release };
  }

  test('while its token is verified', async () => {
    const { issuer, remoteIssuers, asked, release } = await slowIssuer();
    const { broker, scrape } = await start({ remoteIssuers });
    const client = await broker.raw();
    client.send(connectPacket('device-1', issuer.token()));
    await asked();
    await client.end();
    await until(() => broker.auth.connections.size === 0);
    release();
    await until(async () => (await gone(scrape)) === 1);
    expect((await scrape()).value('fleetgate_connects_total', { result: 'accepted' })).toBe(0);
  });

  test('while it waits for another connection of its client', async () => {
    const { broker, scrape } = await start();
    const { persistence } = broker.aedes as unknown as {
      persistence: { cleanSubscriptions(client: object): Promise<void> };
    };
    const clean = persistence.cleanSubscriptions;
    let release = () => {};
    const isHeld = new Promise<void>((held) => {
      persistence.cleanSubscriptions = async (client) => {
        held();
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        return clean.call(persistence, client);
      };
    });
    const first = await broker.raw();
    first.send(connectPacket('device-1', broker.token('device-1')));
    await isHeld;
    const second = await broker.raw();
    second.send(connectPacket('device-1', broker.token('device-1')));
    // Verified by then, and in the line.
    await until(async () => (await verified(scrape)) === 2);
    await second.end();
    await until(async () => (await gone(scrape)) === 1);
    persistence.cleanSubscriptions = clean;
    release();
    await first.next('connack');
  });

  test('and not when it was closed for taking too long: that is counted already', async () => {
    const { issuer, remoteIssuers, asked, release } = await slowIssuer();
    const { broker, scrape } = await start({ remoteIssuers, limits: { connectTimeoutSeconds: 0.3 } });
    const client = await broker.raw();
    client.send(connectPacket('device-1', issuer.token()));
    await asked();
    await client.closed;
    release();
    await until(async () => (await verified(scrape)) === 1);
    expect(await gone(scrape)).toBe(0);
    expect((await scrape()).value('fleetgate_connects_total', { result: 'connect_timeout' })).toBe(1);
  });

  test('and not when its token was refused: the reason says more', async () => {
    const { issuer, remoteIssuers, asked, release } = await slowIssuer();
    const { broker, scrape } = await start({ remoteIssuers });
    const client = await broker.raw();
    client.send(connectPacket('device-1', issuer.token({ header: { kid: 'made-up' } })));
    await asked();
    await client.end();
    release();
    expect(await broker.refusal({ action: 'connect' })).toMatchObject({ reason: 'token_key_unknown' });
    expect(await gone(scrape)).toBe(0);
  });
});

test('each decision is counted once, by action and result', async () => {
  const { broker, scrape } = await start({ deniedPublish: 'drop' });
  const client = await broker.session('device-1', {
    will: { topic: 'devices/device-1/will/gone', payload: Buffer.from('x'), qos: 0, retain: false },
  });
  await subscribe(client, ['devices/device-1/+', 'devices/device-2/+']);
  for (const topic of ['devices/device-1/a', 'devices/device-1/b', 'devices/device-2/a']) {
    client.send(publishPacket(topic, 'x', { qos: 1 }));
    await client.next('puback');
  }
  await client.settle();
  await client.end();
  const counted = async () => {
    const { value } = await scrape();
    const of = (action: string, result: string) => value('fleetgate_decisions_total', { action, result });
    return {
      published: of('publish', 'allowed'),
      refused: of('publish', 'no_rule'),
      received: of('receive', 'allowed'),
      subscribed: of('subscribe', 'allowed'),
      notSubscribed: of('subscribe', 'no_rule'),
      wills: of('will', 'allowed'),
    };
  };
  await until(async () => (await counted()).wills === 1);
  // A second look counts nothing again.
  expect(await counted()).toEqual({
    published: 2,
    refused: 1,
    received: 2,
    subscribed: 1,
    notSubscribed: 1,
    wills: 1,
  });
});

test('a delivery that is held back and a packet that breaks the protocol are counted', async () => {
  const scopes = { observe: { subscribe: [{ topic: 'a/+/t', broader: 'filter' }] } };
  const policy = parsePolicy(JSON.stringify({ version: 1, scopes }), 'policy.yaml');
  const { broker, scrape } = await start({ policy });
  const scope = ['observe', 'mqtt:publish:a/#'];
  const client = await broker.session('device-1', {}, broker.token('device-1', { scope }));
  await subscribe(client, ['a/#']);
  client.send(publishPacket('a/1/u', 'held back'), publishPacket('a/1/t', 'delivered'));
  await client.next('publish');
  const stranger = await broker.raw();
  stranger.write(Buffer.from([0x30, 0x05, 0x00, 0x01, 0x61, 0x78, 0x78]));
  await stranger.closed;
  const { value } = await scrape();
  expect(value('fleetgate_decisions_total', { action: 'receive', result: 'no_rule' })).toBe(1);
  expect(value('fleetgate_decisions_total', { action: 'receive', result: 'allowed' })).toBe(1);
  expect(value('fleetgate_decisions_total', { action: 'packet', result: 'protocol_refused' })).toBe(1);
});

test('renewals are counted by result', async () => {
  const { broker, scrape } = await start();
  const client = await broker.session('device-1');
  for (const token of [broker.token('device-1'), broker.token('device-2'), 'x.y.z']) {
    client.send(publishPacket('$fleetgate/token', token, { qos: 1 }));
    await client.next('puback');
  }
  const { value } = await scrape();
  expect(value('fleetgate_renewals_total', { result: 'accepted' })).toBe(1);
  expect(value('fleetgate_renewals_total', { result: 'token_claim_invalid' })).toBe(1);
  expect(value('fleetgate_renewals_total', { result: 'token_malformed' })).toBe(1);
});

test('revocations are counted by kind, sessions that were ended by reason', async () => {
  let aheadMs = 0;
  const { broker, scrape } = await start({ now: () => Date.now() + aheadMs });
  const clients = [await broker.session('device-1'), await broker.session('device-2')];
  const short = await broker.session('device-3', {}, broker.token('device-3', { expiresInSeconds: 60 }));
  aheadMs = 66_000;
  await short.closed;
  await broker.auth.revoke(broker.issuer.name, { kind: 'token', tokenId: 'nobody' });
  await broker.auth.revoke(broker.issuer.name, { kind: 'tribe' } as never);
  await broker.auth.revoke(broker.issuer.name, { kind: 'key', keyId: broker.issuer.kid });
  await Promise.all(clients.map(({ closed }) => closed));
  const { value } = await scrape();
  expect(value('fleetgate_revocations_total', { kind: 'token' })).toBe(1);
  expect(value('fleetgate_revocations_total', { kind: 'key' })).toBe(1);
  expect(value('fleetgate_revocations_total', { kind: 'unknown' })).toBe(1);
  expect(value('fleetgate_sessions_cut_total', { reason: 'token_revoked' })).toBe(2);
  expect(value('fleetgate_sessions_cut_total', { reason: 'session_expired' })).toBe(1);
});

test('messages that find a full queue are counted as dropped, not as refused', async () => {
  const { broker, scrape } = await start({ limits: { maxQueuedMessagesPerClient: 1 } });
  const topic = 'devices/device-1/x';
  const client = await broker.session('device-1', { clean: false });
  await subscribe(client, [topic]);
  await client.end();
  const scope = [`mqtt:publish:${topic}`];
  const publisher = await broker.session('publisher', {}, broker.token('publisher', { scope }));
  for (let sent = 0; sent < 3; sent += 1) {
    publisher.send(publishPacket(topic, 'x', { qos: 1 }));
    await publisher.next('puback');
  }
  const { value } = await scrape();
  expect(value('fleetgate_messages_dropped_total', { reason: 'queue_full' })).toBe(2);
  expect(value('fleetgate_decisions_total', { action: 'receive', result: 'queue_full' })).toBeUndefined();
});

test('connections are told by protocol, sessions by what is left of their token', async () => {
  let aheadMs = 0;
  const { broker, scrape } = await start({ now: () => Date.now() + aheadMs });
  await broker.raw();
  const gone = await broker.session('device-0');
  await broker.session('device-1', {}, broker.token('device-1', { expiresInSeconds: 100 }));
  await broker.session('device-2', {}, broker.token('device-2', { expiresInSeconds: 3000 }));
  const browser = broker.mqttClient('device-3', {
    token: broker.token('device-3', { expiresInSeconds: 80_000 }),
    protocol: 'ws',
    port: Number(new URL(broker.ws).port),
  });
  await new Promise((resolve) => browser.once('connect', resolve));
  await gone.end();
  await until(async () => (await scrape()).value('fleetgate_connections', { protocol: 'mqtt' }) === 3);
  const seen = await scrape();
  expect(seen.value('fleetgate_connections', { protocol: 'ws' })).toBe(1);
  expect(seen.value('fleetgate_connections', { protocol: 'wss' })).toBe(0);
  const expiring = (one: Scrape) =>
    ['60', '300', '900', '3600', '+Inf'].map((le) => one.value('fleetgate_sessions_expiring', { le }));
  expect(expiring(seen)).toEqual([0, 1, 1, 2, 3]);
  aheadMs = 50_000;
  expect(expiring(await scrape())).toEqual([1, 1, 1, 2, 3]);
});

test.each(protocols)('a session over %s is counted as one', async (protocol) => {
  const { broker, scrape } = await start({ protocol });
  await broker.session('device-1');
  const { value } = await scrape();
  for (const one of protocols) {
    expect(value('fleetgate_connections', { protocol: one }), one).toBe(one === protocol ? 1 : 0);
  }
});

test('what a listener refuses before MQTT is counted too', async () => {
  const register = new Registry();
  const issuer = testIssuer();
  const told: string[] = [];
  const broker = await startBroker({
    issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks } }],
    listeners: [{ protocol: 'ws', host: '127.0.0.1', port: 0 }],
    observer: prometheusObserver(register),
    onDecision: ({ action, reason }) => void told.push(`${action} ${reason}`),
    audit: ({ event, reason }) => void told.push(`${event} ${reason}`),
  });
  onTestFinished(() => broker.close());
  const socket = new WebSocket(broker.urls.ws as string, ['other']);
  await once(socket, 'error');
  const { value } = parseMetrics(await register.metrics());
  expect(value('fleetgate_connects_total', { result: 'protocol_refused' })).toBe(1);
  expect(told).toEqual(['connect protocol_refused', 'connect_refused protocol_refused']);
});

test('a revocation feed is away until it is current, and when it says so', async () => {
  const issuer = testIssuer('https://followed.example');
  let feed: RevocationListener | undefined;
  const source = (listener: RevocationListener) => {
    feed = listener;
    return () => {};
  };
  const { scrape } = await start({
    issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks }, revocations: { source } }],
  });
  const isAway = async () =>
    (await scrape()).value('fleetgate_revocation_feed_away', { issuer: issuer.name });
  expect(await isAway()).toBe(1);
  feed?.current();
  expect(await isAway()).toBe(0);
  feed?.away();
  expect(await isAway()).toBe(1);
});

test('a token that is shown again is a hit of the cache', async () => {
  const { broker, scrape } = await start();
  const token = broker.token('device-1');
  for (let shown = 0; shown < 3; shown += 1) expect(await broker.connack('device-1', token)).toBe(0);
  const { value } = await scrape();
  expect(value('fleetgate_token_cache_total', { result: 'miss' })).toBe(1);
  expect(value('fleetgate_token_cache_total', { result: 'hit' })).toBe(2);
  expect(value('fleetgate_token_cache_entries')).toBe(1);
});

test('totals of the token cache and of key fetches are those the verifier has', async () => {
  const register = new Registry();
  const observer = prometheusObserver(register);
  const tokens = { hits: 7, misses: 3, size: 2, keyFetches: 5, keyFetchFailures: 1 };
  const state: BrokerState = {
    connections: () => new Map(),
    secondsToExpiry: () => [],
    revocationFeeds: () => [],
    tokens: () => tokens,
    cluster: () => undefined,
  };
  observer.watch(state);
  await register.metrics();
  tokens.hits = 8;
  const { value } = parseMetrics(await register.metrics());
  expect(value('fleetgate_token_cache_total', { result: 'hit' })).toBe(8);
  expect(value('fleetgate_token_cache_total', { result: 'miss' })).toBe(3);
  expect(value('fleetgate_token_cache_entries')).toBe(2);
  expect(value('fleetgate_key_fetches_total', { result: 'ok' })).toBe(4);
  expect(value('fleetgate_key_fetches_total', { result: 'failed' })).toBe(1);
});

test('labels are of a closed set, and hold nothing a client chose', async () => {
  const { broker, text } = await start({ deniedPublish: 'drop' });
  const token = broker.token('canary-client');
  const client = await broker.session('canary-client', {}, token);
  await subscribe(client, ['devices/canary-client/#', 'canary/#', 'canary-filter/+']);
  for (const topic of ['devices/canary-client/x', 'canary/topic', token]) {
    client.send(publishPacket(topic.slice(0, 500), 'canary-payload', { qos: 1 }));
    await client.next('puback');
  }
  await broker.connack('canary-other', token);
  await broker.connack('canary/malformed', 'canary.token.x');
  await broker.auth.revoke(broker.issuer.name, { kind: 'client', clientId: 'canary-client', atSeconds: 1 });
  const printed = await text();
  const { samples } = parseMetrics(printed);
  const labels = new Set(samples.flatMap((sample) => Object.keys(sample.labels)));
  expect([...labels].sort()).toEqual(['action', 'kind', 'le', 'protocol', 'reason', 'result']);
  expect(printed).not.toMatch(/canary|devices|127\.0\.0\.1/);
  expect(printed).not.toContain(token.slice(0, 20));
  // Beside those: the issuers of the configuration.
  for (const { name, labels } of samples) {
    if (name !== 'fleetgate_revocation_feed_away') expect(labels).not.toHaveProperty('issuer');
  }
});

test('one observer is of one plugin', () => {
  const issuer = testIssuer();
  const options = {
    issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks } }],
    observer: prometheusObserver(new Registry()),
  };
  fleetgate(options).close();
  expect(() => fleetgate(options)).toThrow(TypeError);
});
