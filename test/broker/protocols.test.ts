import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BrokerOptions, type RunningBroker, startBroker } from '@fleetgate/broker';
import { connectAsync } from 'mqtt';
import { generate } from 'mqtt-packet';
import { describe, expect, onTestFinished, test } from 'vitest';
import { attack, payloads, publishPacket, startTestBroker, subscribe } from '../support/broker-fixture.ts';
import { connackOf, connectPacket, type RawClient, rawClient } from '../support/broker-raw-client.ts';
import { testIssuer } from '../support/broker-tokens.ts';
import { testTls } from '../support/certificates.ts';

const issuer = testIssuer();
const topic = 'devices/device-1/x';
const token = (clientId: string, expiresInSeconds = 600) =>
  issuer.token({
    clientId,
    expiresInSeconds,
    scope: [`mqtt:publish:devices/${clientId}/#`, `mqtt:subscribe:devices/${clientId}/#`],
  });

describe.each(['mqtt', 'mqtts', 'ws', 'wss'] as const)('over %s', (protocol) => {
  /** `startBroker` with one listener. */
  async function start(more: Partial<BrokerOptions> = {}): Promise<RunningBroker & { url: string }> {
    const isTls = protocol === 'mqtts' || protocol === 'wss';
    const { certFile, keyFile } = await testTls();
    const broker = await startBroker({
      issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks } }],
      listeners: [{ protocol, host: '127.0.0.1', port: 0, ...(isTls ? { tls: { certFile, keyFile } } : {}) }],
      ...more,
    });
    onTestFinished(() => broker.close());
    return { ...broker, url: broker.urls[protocol] as string };
  }

  async function raw(url: string): Promise<RawClient> {
    return rawClient(url, { tls: { ca: (await testTls()).authority.cert } });
  }

  test('MQTT.js publishes and receives within its grants', async () => {
    const broker = await start();
    const client = await connectAsync(broker.url, {
      clientId: 'device-1',
      username: 'device-1',
      password: token('device-1'),
      reconnectPeriod: 0,
      ca: (await testTls()).authority.cert,
    });
    const received = new Promise<string>((resolve) =>
      client.on('message', (_topic, payload) => resolve(`${payload}`)),
    );
    await client.subscribeAsync(topic, { qos: 1 });
    await client.publishAsync(topic, 'hello', { qos: 1 });
    expect(await received).toBe('hello');
    await client.endAsync();
  });

  test.each([
    ['a wrong token', 4, 'x.y.z', 'device-1'],
    ['the client id of another', 2, token('device-2'), 'device-1'],
  ])('%s is refused with %i', async (_what, code, password, clientId) => {
    const broker = await start();
    const ca = (await testTls()).authority.cert;
    const options = { clientId, username: '', password, reconnectPeriod: 0, ca };
    await expect(connectAsync(broker.url, options, false)).rejects.toMatchObject({ code });
  });

  test('a subscribe outside the grants gets 0x80, a publish closes the connection', async () => {
    const broker = await startTestBroker({ protocol });
    const client = await broker.session('device-1');
    expect(await subscribe(client, ['devices/#', topic])).toEqual([0x80, 1]);
    client.send(publishPacket('devices/device-2/x', 'forged', { qos: 1 }));
    await client.closed;
    expect(client.received.map(({ cmd }) => cmd)).toEqual(['connack', 'suback']);
  });

  test('a session is cut off at the expiry of its token', async () => {
    const broker = await start({ clockSkewSeconds: 0 });
    const client = await raw(broker.url);
    const short = token('device-1', 1);
    expect(await connackOf(client, connectPacket('device-1', short))).toBe(0);
    await client.closed;
    const { exp } = JSON.parse(Buffer.from(short.split('.')[1] as string, 'base64url').toString());
    expect(Date.now()).toBeGreaterThanOrEqual(exp * 1000);
    expect(Date.now()).toBeLessThan(exp * 1000 + 1_500);
  });

  attack('a CONNECT over the limit is closed on its header', { protocol }, async (broker) => {
    const client = await broker.raw();
    client.write(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]));
    await client.closed;
    expect(await broker.refusal({ reason: 'packet_too_large' })).toMatchObject({ action: 'packet' });
  });

  attack('what is not MQTT is closed', { protocol }, async (broker) => {
    const client = await broker.raw();
    client.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    await client.closed;
    expect(await broker.refusal({ reason: 'protocol_refused' })).toBeDefined();
  });

  test('a client over the limit is told to come back later', async () => {
    const broker = await startTestBroker({ protocol, limits: { maxConnections: 1 } });
    await broker.session('device-1');
    expect(await broker.connack('device-2', broker.token('device-2'))).toBe(3);
  });

  test('the keep alive is enforced', async () => {
    const broker = await startTestBroker({ protocol });
    const client = await broker.session('device-1', { keepalive: 1 });
    const startedAt = performance.now();
    await client.closed;
    // One and a half times the keep alive [MQTT-3.1.2-24].
    expect(performance.now() - startedAt).toBeGreaterThan(1_400);
  });

  attack(
    'a reader that reads nothing is cut off',
    { protocol, limits: { drainTimeoutSeconds: 0.3 } },
    async (broker) => {
      const slow = await broker.session('device-1');
      await subscribe(slow, [topic], 0);
      slow.stream.pause();
      const publisher = await broker.session(
        'publisher',
        {},
        broker.token('publisher', { scope: ['mqtt:publish:#'] }),
      );
      const gone = once(broker.aedes, 'clientDisconnect');
      for (let i = 0; i < 30; i += 1) publisher.send(publishPacket(topic, Buffer.alloc(1_000_000)));
      expect(((await gone)[0] as { id: string }).id).toBe('device-1');
    },
  );

  test('close sends what is on its way, and accepts nothing more', async () => {
    const broker = await start();
    const watcher = await raw(broker.url);
    await connackOf(watcher, connectPacket('device-1', token('device-1')));
    await subscribe(watcher, [topic], 0);
    const idle = await raw(broker.url);
    watcher.send(publishPacket(topic, 'on its way', { qos: 1 }));
    await watcher.next('puback');
    const startedAt = performance.now();
    await broker.close();
    await Promise.all([watcher.closed, idle.closed]);
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    expect(payloads(watcher.received)).toEqual(['on its way']);
    await expect(raw(broker.url)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('close ends within 10 s though one reads nothing of what waits for it', async () => {
    const broker = await start({ limits: { drainTimeoutSeconds: 2 } });
    const client = await raw(broker.url);
    await connackOf(client, connectPacket('device-1', token('device-1')));
    await subscribe(client, [topic], 0);
    const publisher = await raw(broker.url);
    const all = issuer.token({ clientId: 'publisher', scope: ['mqtt:publish:#'] });
    await connackOf(publisher, connectPacket('publisher', all));
    client.stream.pause();
    const sent = 40;
    for (let i = 0; i < sent; i += 1) publisher.send(publishPacket(topic, Buffer.alloc(500_000), { qos: 1 }));
    // It is acknowledged when it was written to all subscribers, and so no more when one is stuck.
    while ((await Promise.race([publisher.next('puback'), sleep(300, 'stuck')])) !== 'stuck');
    const startedAt = performance.now();
    await broker.close();
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    client.stream.resume();
    await client.closed;
    expect(payloads(client.received).length).toBeLessThan(sent);
  });

  test('a burst right before close reaches its subscriber whole', async () => {
    const broker = await start();
    const client = await raw(broker.url);
    await connackOf(client, connectPacket('device-1', token('device-1')));
    await subscribe(client, [topic], 0);
    const numbers = Array.from({ length: 200 }, (_, index) => `${index}`.padStart(5_000, '0'));
    client.write(Buffer.concat(numbers.map((number) => generate(publishPacket(topic, number, { qos: 1 })))));
    for (const _ of numbers) await client.next('puback');
    await broker.close();
    await client.closed;
    expect(payloads(client.received)).toEqual(numbers);
  });
});
