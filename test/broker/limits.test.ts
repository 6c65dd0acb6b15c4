import { once } from 'node:events';
import { connect as connectSocket } from 'node:net';
import { generate, type IPublishPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { createSizeScreen, screenChunk } from '../../broker/guard/packet-size.ts';
import {
  attack,
  payloads,
  publishPacket,
  startTestBroker,
  subscribe,
  type TestBroker,
  until,
} from '../support/broker-fixture.ts';
import { connectPacket, type RawClient } from '../support/broker-raw-client.ts';

function frame(first: number, length: number, bodyBytes = 0): Buffer {
  const bytes = [first];
  let left = length;
  do {
    bytes.push((left & 127) | (left > 127 ? 128 : 0));
    left >>= 7;
  } while (left > 0);
  return Buffer.concat([Buffer.from(bytes), Buffer.alloc(bodyBytes)]);
}

describe('the size of packets', () => {
  test.each([1, 2, 3, 7, 1000])('is followed across chunks of %i bytes', (size) => {
    const stream = Buffer.concat([
      frame(0x10, 100, 100),
      frame(0xc0, 0),
      frame(0x30, 1000, 1000),
      frame(0xc0, 0),
      frame(0x30, 1001),
    ]);
    const screen = createSizeScreen(102, 1003);
    const verdicts: string[] = [];
    for (let at = 0; at < stream.length; at += size)
      verdicts.push(screenChunk(screen, stream.subarray(at, at + size)));
    expect(verdicts.pop()).toBe('packet_too_large');
    expect(new Set(verdicts)).toEqual(new Set(size === 1000 ? verdicts.slice(0, 1) : ['fits']));
  });

  test.each([
    ['a first packet at the limit', frame(0x10, 100), 'fits'],
    ['a first packet over it', frame(0x10, 101), 'packet_too_large'],
    ['a first packet that is no CONNECT', frame(0x30, 10), 'protocol_refused'],
    ['a length of five bytes', Buffer.from([0x10, 0x80, 0x80, 0x80, 0x80, 0x00]), 'protocol_refused'],
    ['the greatest length there is', Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]), 'packet_too_large'],
  ])('%s', (_what, bytes, verdict) => {
    expect(screenChunk(createSizeScreen(102, 1003), bytes)).toBe(verdict);
  });

  attack('a CONNECT over the limit is closed on its header', {}, async (broker) => {
    const client = await broker.raw();
    client.write(frame(0x10, 16_384));
    await client.closed;
    expect(await broker.refusal({ reason: 'packet_too_large' })).toMatchObject({ action: 'packet' });
  });

  attack('a CONNECT of 256 MB is closed on its header', {}, async (broker) => {
    const client = await broker.raw();
    client.write(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]));
    await client.closed;
  });

  attack('a PUBLISH over the limit is closed on its header, once there is a session', {}, async (broker) => {
    const client = await broker.session('device-1');
    client.write(frame(0x30, 1_048_576));
    await client.closed;
    expect(await broker.refusal({ reason: 'packet_too_large' })).toMatchObject({ clientId: 'device-1' });
  });

  test('a PUBLISH at the limit goes through', async () => {
    const broker = await startTestBroker();
    const client = await broker.session('device-1');
    const topic = 'devices/device-1/big';
    await subscribe(client, [topic], 0);
    client.send(publishPacket(topic, Buffer.alloc(1_048_576 - 4 - 2 - topic.length)));
    expect(((await client.next('publish')) as IPublishPacket).payload).toHaveLength(
      1_048_576 - 4 - 2 - topic.length,
    );
  });

  attack('a long packet sent right behind CONNECT is not cut off', {}, async (broker) => {
    const client = await broker.raw();
    const topic = 'devices/device-1/big';
    const publish = publishPacket(topic, Buffer.alloc(200_000), { qos: 1 });
    client.send(connectPacket('device-1', broker.token('device-1')), publish);
    expect(await client.next('connack')).toMatchObject({ returnCode: 0 });
    expect(await client.next('puback')).toBeDefined();
  });

  describe('over WebSocket', () => {
    attack('a CONNECT over the limit is closed', {}, async (broker) => {
      const socket = await webSocket(broker);
      socket.send(frame(0x10, 16_384));
      await once(socket, 'close');
      expect(await broker.refusal({ reason: 'packet_too_large' })).toBeDefined();
    });

    attack('a message that never ends is closed before there is a session', {}, async (broker) => {
      const socket = await webSocket(broker);
      const closed = once(socket, 'close');
      socket.on('error', () => {});
      // A fragment that is not the last: nothing of it is handed on.
      socket.send(Buffer.alloc(500_000), { fin: false });
      await closed;
      expect(await broker.refusal({ reason: 'packet_too_large' })).toBeDefined();
    });

    attack('a message over the limit is closed once there is a session', {}, async (broker) => {
      const socket = await webSocket(broker);
      socket.on('error', () => {});
      socket.send(generate(connectPacket('device-1', broker.token('device-1'))));
      await once(socket, 'message');
      const closed = once(socket, 'close');
      socket.send(frame(0x30, 2_000_000, 2_000_000));
      await closed;
    });
  });
});

describe('the number of connections', () => {
  test('over the limit a client is told to come back later, and may when another has gone', async () => {
    const broker = await startTestBroker({ limits: { maxConnections: 2 } });
    const first = await broker.session('device-1');
    await broker.session('device-2');
    expect(await broker.connack('device-3', broker.token('device-3'))).toBe(3);
    expect(await broker.refusal({ reason: 'too_many_connections' })).toMatchObject({ returnCode: 3 });
    await first.end();
    await until(() => broker.auth.connections.size === 1);
    expect(await broker.connack('device-3', broker.token('device-3'))).toBe(0);
  });

  test('the same of one address', async () => {
    const broker = await startTestBroker({ limits: { maxConnectionsPerAddress: 1 } });
    await broker.session('device-1');
    expect(await broker.connack('device-2', broker.token('device-2'))).toBe(3);
  });

  attack('500 sockets that say nothing', { limits: { maxConnections: 50 } }, async (broker) => {
    const idle = await Promise.all(Array.from({ length: 500 }, () => broker.raw()));
    await until(() => idle.filter(({ stream }) => stream.destroyed).length >= 500 - 50 - 64);
    expect(broker.auth.connections.size).toBeLessThanOrEqual(50 + 64);
    await Promise.all(idle.map((client) => client.end()));
    await until(() => broker.auth.connections.size === 0);
  });
});

describe('the time to connect', () => {
  const limits = { connectTimeoutSeconds: 0.3 };

  attack('a socket that says nothing is closed', { limits }, async (broker) => {
    const client = await broker.raw();
    await client.closed;
    expect(await broker.refusal({ reason: 'connect_timeout' })).toMatchObject({ action: 'connect' });
  });

  attack('a CONNECT that comes a byte at a time is closed', { limits }, async (broker) => {
    const client = await broker.raw();
    const timer = setInterval(() => client.write(Buffer.from([0x10])), 20);
    await client.closed;
    clearInterval(timer);
  });

  test('a socket of a token that takes for ever to verify is closed', async () => {
    const keys = await silentServer();
    const broker = await startTestBroker({
      limits,
      issuers: [{ issuer: 'https://issuer.example', keys: { jwksUri: keys } }],
    });
    const client = await broker.raw();
    client.send(connectPacket('device-1', broker.token('device-1')));
    await client.closed;
    expect(client.received).toEqual([]);
    expect(await broker.refusal({ reason: 'connect_timeout' })).toBeDefined();
  });

  attack('an HTTP request that is never finished is closed', { limits }, async (broker) => {
    const { port } = new URL(broker.ws);
    const socket = connectSocket(Number(port), '127.0.0.1');
    socket.on('error', () => {});
    socket.resume();
    await once(socket, 'connect');
    socket.write('GET / HTTP/1.1\r\n');
    await once(socket, 'close');
  });

  test('a session is not closed by it', async () => {
    const broker = await startTestBroker({ limits });
    const client = await broker.session('device-1');
    const other = await broker.raw();
    await other.closed;
    expect(await client.settle()).toEqual([]);
  });
});

describe('the queue of a session', () => {
  const limits = { maxQueuedMessagesPerClient: 10 };
  const topic = 'devices/device-1/x';
  const numbers = Array.from({ length: 50 }, (_, i) => String(i));

  async function publishNumbers(broker: TestBroker): Promise<void> {
    const publisher = await broker.session(
      'publisher',
      {},
      broker.token('publisher', { scope: ['mqtt:publish:#'] }),
    );
    for (const number of numbers) {
      publisher.send(publishPacket(topic, number, { qos: 1 }));
      await publisher.next('puback');
    }
    await publisher.settle();
    await publisher.end();
  }

  async function subscriber(broker: TestBroker): Promise<RawClient> {
    const client = await broker.session('device-1', { clean: false });
    await subscribe(client, [topic]);
    return client;
  }

  async function takeAll(client: RawClient, count: number): Promise<string[]> {
    const got: string[] = [];
    while (got.length < count) {
      const packet = (await client.next('publish')) as IPublishPacket;
      got.push(packet.payload.toString());
      client.send({ cmd: 'puback', messageId: packet.messageId as number });
    }
    return [...got, ...payloads(await client.settle())];
  }

  attack(
    'holds the oldest while the client is offline, and takes up again when they are fetched',
    { limits },
    async (broker) => {
      await (await subscriber(broker)).end();
      await publishNumbers(broker);
      expect(await broker.refusal({ reason: 'queue_full' })).toMatchObject({ action: 'receive' });
      const again = await broker.session('device-1', { clean: false });
      expect(await takeAll(again, 10)).toEqual(numbers.slice(0, 10));
      await again.end();
      await publishNumbers(broker);
      const third = await broker.session('device-1', { clean: false });
      expect(await takeAll(third, 10)).toEqual(numbers.slice(0, 10));
    },
  );

  test('of a client that acknowledges has no bound on what passes through', async () => {
    const broker = await startTestBroker({ limits });
    const client = await subscriber(broker);
    const [, got] = await Promise.all([publishNumbers(broker), takeAll(client, numbers.length)]);
    expect(got).toEqual(numbers);
  });

  attack(
    'closes a client that never acknowledges',
    { limits: { maxQueuedMessagesPerClient: 2 } },
    async (broker) => {
      const client = await subscriber(broker);
      await publishNumbers(broker);
      await client.closed;
      expect(await broker.refusal({ action: 'session', reason: 'queue_full' })).toMatchObject({
        clientId: 'device-1',
      });
    },
  );
});

attack(
  'one who reads nothing is cut off and holds up others no longer',
  { limits: { drainTimeoutSeconds: 0.3 } },
  async (broker) => {
    const slow = await broker.session('device-1');
    await subscribe(slow, ['devices/device-1/#'], 0);
    slow.stream.pause();
    const publisher = await broker.session(
      'publisher',
      {},
      broker.token('publisher', { scope: ['mqtt:publish:#'] }),
    );
    const big = Buffer.alloc(500_000);
    for (let i = 0; i < 40; i += 1) publisher.send(publishPacket('devices/device-1/x', big));
    await until(() => broker.auth.connections.size === 1);
    expect(await publisher.settle()).toEqual([]);
  },
);

async function webSocket(broker: TestBroker): Promise<WebSocket> {
  const socket = new WebSocket(broker.ws, 'mqtt');
  await once(socket, 'open');
  return socket;
}

async function silentServer(): Promise<string> {
  const { createServer } = await import('node:net');
  const { onTestFinished } = await import('vitest');
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer((socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as { port: number }).port}/jwks.json`;
}
