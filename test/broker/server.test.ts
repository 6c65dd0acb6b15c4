import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { type BrokerOptions, type RunningBroker, startBroker } from '@fleetgate/broker';
import { connectAsync } from 'mqtt';
import { generate } from 'mqtt-packet';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { payloads, publishPacket, subscribe } from '../support/broker-fixture.ts';
import { connackOf, connectPacket, rawClient } from '../support/broker-raw-client.ts';
import { testIssuer } from '../support/broker-tokens.ts';

const issuer = testIssuer();
const token = (clientId: string) =>
  issuer.token({
    clientId,
    scope: [`mqtt:publish:devices/${clientId}/#`, `mqtt:subscribe:devices/${clientId}/#`],
  });

async function start(more: Partial<BrokerOptions> = {}): Promise<RunningBroker> {
  const broker = await startBroker({
    issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks } }],
    listeners: [
      { protocol: 'mqtt', host: '127.0.0.1', port: 0 },
      { protocol: 'ws', host: '127.0.0.1', port: 0 },
    ],
    ...more,
  });
  onTestFinished(() => broker.close());
  return broker;
}

test('port 0 is a free port, named in the addresses', async () => {
  const broker = await start();
  expect(broker.urls).toEqual({
    mqtt: expect.stringMatching(/^mqtt:\/\/127\.0\.0\.1:[1-9]\d*$/),
    ws: expect.stringMatching(/^ws:\/\/127\.0\.0\.1:[1-9]\d*$/),
  });
});

test.each(['mqtt', 'ws'] as const)('a client publishes and receives over %s', async (protocol) => {
  const broker = await start();
  const client = await connectAsync(broker.urls[protocol] as string, {
    clientId: 'device-1',
    username: 'device-1',
    password: token('device-1'),
    reconnectPeriod: 0,
  });
  const topic = 'devices/device-1/echo';
  const received = new Promise<string>((resolve) =>
    client.on('message', (_topic, payload) => resolve(`${payload}`)),
  );
  await client.subscribeAsync(topic, { qos: 1 });
  await client.publishAsync(topic, 'hello', { qos: 1 });
  expect(await received).toBe('hello');
  await client.endAsync();
});

test.each(['mqtt', 'ws'] as const)('a wrong token is refused with 4 over %s', async (protocol) => {
  const broker = await start();
  const options = { clientId: 'device-1', username: 'device-1', password: 'x.y.z', reconnectPeriod: 0 };
  await expect(connectAsync(broker.urls[protocol] as string, options, false)).rejects.toMatchObject({
    code: 4,
  });
});

test('a port in use names host and port, and leaves no listener behind', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void taken.close());
  const { port } = taken.address() as AddressInfo;
  const free = createServer();
  await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
  const freePort = (free.address() as AddressInfo).port;
  await new Promise((resolve) => free.close(resolve));
  const listeners = [
    { protocol: 'mqtt' as const, host: '127.0.0.1', port: freePort },
    { protocol: 'ws' as const, host: '127.0.0.1', port },
  ];
  const failure = await start({ listeners }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'address_in_use', message: expect.stringContaining(`${port}`) });
  expect((failure as Error).message).toContain('127.0.0.1');
  const again = await start({ listeners: [{ protocol: 'mqtt', host: '127.0.0.1', port: freePort }] });
  expect(again.urls.mqtt).toContain(`${freePort}`);
});

test('a listener on an IPv6 address has it in brackets', async () => {
  const broker = await start({ listeners: [{ protocol: 'mqtt', host: '::1', port: 0 }] }).catch(
    () => undefined,
  );
  // Not every machine has IPv6.
  if (broker !== undefined) expect(broker.urls.mqtt).toMatch(/^mqtt:\/\/\[::1\]:\d+$/);
});

test('close sends what is on its way, publishes wills, and accepts nothing more', async () => {
  const broker = await start();
  const url = broker.urls.mqtt as string;
  const topic = 'devices/device-1/x';
  const client = await rawClient(url);
  await connackOf(client, connectPacket('device-1', token('device-1')));
  await subscribe(client, [topic], 0);
  const idle = await rawClient(url);
  client.send(publishPacket(topic, 'on its way', { qos: 1 }));
  await client.next('puback');
  await broker.close();
  await Promise.all([client.closed, idle.closed]);
  expect(payloads(client.received)).toEqual(['on its way']);
  await expect(rawClient(url)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await broker.close();
});

test('close does not wait for one who reads nothing', async () => {
  const broker = await start({ limits: { drainTimeoutSeconds: 0.3 } });
  const topic = 'devices/device-1/x';
  const client = await rawClient(broker.urls.mqtt as string);
  await connackOf(client, connectPacket('device-1', token('device-1')));
  await subscribe(client, [topic], 0);
  client.stream.pause();
  for (let i = 0; i < 20; i += 1) client.send(publishPacket(topic, Buffer.alloc(500_000)));
  await broker.close();
  client.stream.resume();
  await client.closed;
});

test('a WebSocket that does not offer mqtt gets no further than its handshake', async () => {
  const reasons: string[] = [];
  const broker = await start({ onRefusal: ({ reason }) => reasons.push(reason) });
  for (const protocols of [[], ['other']]) {
    const socket = new WebSocket(broker.urls.ws as string, protocols);
    const [error] = await once(socket, 'error').catch((thrown: unknown) => [thrown]);
    expect(String(error)).toContain('400');
  }
  expect(reasons).toEqual(['protocol_refused', 'protocol_refused']);
});

test('a plain HTTP request is told to upgrade', async () => {
  const broker = await start();
  const answer = await fetch((broker.urls.ws as string).replace('ws:', 'http:'));
  expect(answer.status).toBe(426);
});

test('a text message over WebSocket ends the connection', async () => {
  const broker = await start();
  const socket = new WebSocket(broker.urls.ws as string, ['mqtt']);
  socket.on('error', () => {});
  await once(socket, 'open');
  socket.send(generate(connectPacket('device-1', token('device-1'))));
  await once(socket, 'message');
  const closed = once(socket, 'close');
  // A PUBLISH that is ASCII throughout, and in a binary message would be taken.
  const publish = generate(publishPacket('devices/device-1/x', 'x'));
  expect([...publish].every((byte) => byte < 0x80)).toBe(true);
  socket.send(publish.toString('latin1'));
  await closed;
});
