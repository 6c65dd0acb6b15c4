import { once } from 'node:events';
import { connect as connectSocket, type Socket } from 'node:net';
import { generate } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { startTestBroker, type TestBroker } from '../../support/broker-fixture.ts';
import {
  closeOf,
  connackOf,
  connectPacket,
  type RawClient,
  rawClientOn,
} from '../../support/broker-raw-client.ts';
import { binaryHeader } from '../../support/proxy-header.ts';

const protocols = ['mqtt', 'mqtts', 'ws', 'wss'] as const;
const listener = { proxyProtocol: true, proxyFrom: ['127.0.0.1'] };

const line = (address: string) => Buffer.from(`PROXY TCP4 ${address} 198.51.100.1 56324 1883\r\n`);
const binary = (address: string) =>
  binaryHeader(0x21, 0x11, Buffer.from([...address.split('.').map(Number), 198, 51, 100, 1, 220, 4, 7, 91]));
const local = binaryHeader(0x20, 0x00, Buffer.alloc(0));

async function socketTo(url: string): Promise<Socket> {
  const socket = connectSocket({ host: '127.0.0.1', port: Number(new URL(url).port), noDelay: true });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** A client behind a proxy that sends `header`. */
async function proxied(broker: TestBroker, header: Uint8Array): Promise<RawClient> {
  const socket = await socketTo(broker.url);
  socket.write(header);
  return broker.raw({ socket });
}

async function closesOn(broker: TestBroker, ...chunks: Uint8Array[]): Promise<void> {
  const socket = await socketTo(broker.url);
  const closed = closeOf(socket);
  socket.resume();
  for (const chunk of chunks) socket.write(chunk);
  await closed;
}

const addresses = (broker: TestBroker) =>
  Array.from(broker.auth.connections as ReadonlySet<{ address?: string }>, ({ address }) => address);

describe.each(protocols)('in front of %s', (protocol) => {
  test.each([
    ['version 1', line('192.0.2.7'), '192.0.2.7'],
    ['version 2', binary('192.0.2.7'), '192.0.2.7'],
    ['version 2 LOCAL', local, '127.0.0.1'],
    ['version 1 UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n'), '127.0.0.1'],
  ])('a header of %s says who the client is', async (_what, header, address) => {
    const broker = await startTestBroker({ protocol, listener });
    const client = await proxied(broker, header);
    expect(await connackOf(client, connectPacket('device-1', broker.token('device-1')))).toBe(0);
    expect(addresses(broker)).toEqual([address]);
  });

  test('a refusal names the address of the client', async () => {
    const broker = await startTestBroker({ protocol, listener });
    const client = await proxied(broker, line('192.0.2.7'));
    expect(await connackOf(client, connectPacket('device-1', 'x.y.z'))).toBe(4);
    expect(await broker.refusal({ reason: 'token_malformed' })).toMatchObject({ address: '192.0.2.7' });
  });

  test('the limit of connections is counted for the client, not the proxy', async () => {
    const broker = await startTestBroker({ protocol, listener, limits: { maxConnectionsPerAddress: 1 } });
    const connack = async (address: string, id: string) =>
      connackOf(await proxied(broker, line(address)), connectPacket(id, broker.token(id)));
    expect(await connack('192.0.2.7', 'device-1')).toBe(0);
    expect(await connack('192.0.2.8', 'device-2')).toBe(0);
    expect(await connack('192.0.2.7', 'device-3')).toBe(3);
    expect(await broker.refusal({ reason: 'too_many_connections' })).toMatchObject({ address: '192.0.2.7' });
  });

  test('a header that comes a byte at a time is taken', async () => {
    const broker = await startTestBroker({ protocol, listener });
    const socket = await socketTo(broker.url);
    for (const byte of binary('192.0.2.7')) {
      socket.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const client = await broker.raw({ socket });
    expect(await connackOf(client, connectPacket('device-1', broker.token('device-1')))).toBe(0);
    expect(addresses(broker)).toEqual(['192.0.2.7']);
  });

  test('a client without a header is closed', async () => {
    const broker = await startTestBroker({ protocol, listener });
    const client = await broker.raw().catch(() => undefined);
    client?.send(connectPacket('device-1', broker.token('device-1')));
    await client?.closed;
    expect(await broker.refusal({ reason: 'proxy_header_refused' })).toMatchObject({ address: '127.0.0.1' });
    expect(broker.auth.connections.size).toBe(0);
  });

  test('a header from elsewhere than the proxies is not believed', async () => {
    const broker = await startTestBroker({
      protocol,
      listener: { proxyProtocol: true, proxyFrom: ['192.0.2.0/24', '::1'] },
    });
    await closesOn(broker, line('192.0.2.7'));
    expect(await broker.refusal({ reason: 'proxy_header_refused' })).toMatchObject({ address: '127.0.0.1' });
  });

  test('a header that does not come in time is not waited for', async () => {
    const broker = await startTestBroker({ protocol, listener, limits: { connectTimeoutSeconds: 0.2 } });
    await closesOn(broker, line('192.0.2.7').subarray(0, 20));
    expect(await broker.refusal({ reason: 'connect_timeout' })).toMatchObject({ address: '127.0.0.1' });
  });
});

test.each([
  ['a line that never ends', Buffer.alloc(200, 'PROXY UNKNOWN ')],
  ['a version 2 header of 64 KiB', binaryHeader(0x21, 0x11, Buffer.alloc(65_535)).subarray(0, 16)],
  ['datagrams', binaryHeader(0x21, 0x12, Buffer.alloc(12))],
  ['MQTT', generate(connectPacket('device-1', 'x.y.z'))],
])('%s is closed', async (_what, bytes) => {
  const broker = await startTestBroker({ listener });
  await closesOn(broker, bytes);
  expect(await broker.refusal({ reason: 'proxy_header_refused' })).toMatchObject({ action: 'connect' });
  const client = await proxied(broker, line('192.0.2.7'));
  expect(await connackOf(client, connectPacket('device-1', broker.token('device-1')))).toBe(0);
});

test.each([
  ['line', line('192.0.2.7')],
  ['binary', binary('192.0.2.7')],
])('CONNECT in one segment with the header (%s) is read', async (_what, header) => {
  const broker = await startTestBroker({ listener });
  const client = rawClientOn(await socketTo(broker.url));
  client.write(Buffer.concat([header, generate(connectPacket('device-1', broker.token('device-1')))]));
  expect(await client.next('connack')).toMatchObject({ returnCode: 0 });
});

test('a second header is what the client sends, and no MQTT', async () => {
  const broker = await startTestBroker({ listener });
  await closesOn(broker, line('192.0.2.7'), line('192.0.2.8'));
  expect(await broker.refusal({ reason: 'protocol_refused' })).toMatchObject({ address: '192.0.2.7' });
});

test('without the option a header is what the client sends, and no MQTT', async () => {
  const broker = await startTestBroker();
  await closesOn(broker, line('192.0.2.7'));
  expect(await broker.refusal({ reason: 'protocol_refused' })).toMatchObject({ address: '127.0.0.1' });
});

test('on the way to MQTT, too, the limit of an address is that of the client', async () => {
  const broker = await startTestBroker({
    protocol: 'mqtts',
    listener,
    limits: { maxConnectionsPerAddress: 1 },
  });
  // Two handshakes that do not begin: one of them has to go.
  const closed = Promise.race([closesOn(broker, line('192.0.2.7')), closesOn(broker, line('192.0.2.7'))]);
  await closed;
  expect(await broker.refusal({ reason: 'too_many_connections' })).toMatchObject({ address: '192.0.2.7' });
  const other = await proxied(broker, line('192.0.2.8'));
  expect(await connackOf(other, connectPacket('device-1', broker.token('device-1')))).toBe(0);
});
