import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { generate, type ISubackPacket, type Packet } from 'mqtt-packet';
import { describe, expect } from 'vitest';
import { createWebSocketStream, WebSocket } from 'ws';
import { attack, publishPacket, type TestBroker, until } from '../support/broker-fixture.ts';
import { connectPacket, type RawClient, rawClientOn } from '../support/broker-raw-client.ts';
import { A, B, retained, victim } from './victim.ts';
import { onePacketOfEachKind } from './wire-packets.ts';

const isRefusal = (packet: Packet) => packet.cmd === 'connack' && packet.returnCode === 4;

/** What a client got that is neither about itself alone nor a refusal. */
const gains = (client: RawClient) =>
  client.received.filter((packet) => {
    if (packet.cmd === 'suback') return (packet as ISubackPacket).granted.some((code) => code !== 0x80);
    return packet.cmd === 'publish';
  });

describe('as the first packet of a connection', () => {
  for (const [kind, bytes] of onePacketOfEachKind.filter(([name]) => name !== 'CONNECT')) {
    attack(`${kind} is answered with the end of it`, {}, async (broker) => {
      const device = await victim(broker);
      const client = await broker.raw();
      client.write(bytes);
      await client.closed;
      expect(client.received).toEqual([]);
      await device.unharmed();
      expect(await retained(broker)).toEqual([]);
    });
  }
});

describe('behind a CONNECT with a wrong token', () => {
  for (const [kind, bytes] of onePacketOfEachKind) {
    attack(`${kind} is not served`, {}, async (broker) => {
      const device = await victim(broker);
      const client = await broker.raw();
      client.write(Buffer.concat([generate(connectPacket(A, 'x.y.z')), bytes, bytes]));
      await client.closed;
      expect(client.received.filter((packet) => !isRefusal(packet))).toEqual([]);
      await device.unharmed();
      expect(await retained(broker)).toEqual([]);
    });
  }
});

describe('behind a CONNECT with the attacker’s own token', () => {
  for (const [kind, bytes] of onePacketOfEachKind) {
    attack(`${kind} gives nothing of device A`, {}, async (broker) => {
      const device = await victim(broker);
      const client = await broker.raw();
      // A turn later it would be another code path of the host; both are gone through.
      client.write(Buffer.concat([generate(connectPacket(B, broker.token(B))), bytes]));
      await nextTurn();
      client.write(bytes);
      client.send({ cmd: 'disconnect' });
      await client.closed;
      expect(gains(client)).toEqual([]);
      await device.unharmed();
      expect(await retained(broker)).toEqual([]);
    });
  }
});

describe('bytes that are no MQTT', () => {
  const clientHello = Buffer.from('16030100c8010000c40303', 'hex');
  const rows: [string, Uint8Array][] = [
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['TLS', Buffer.concat([clientHello, Buffer.alloc(194, 7)])],
    ['SSH', Buffer.from('SSH-2.0-OpenSSH_9.6\r\n')],
    ['zeros', Buffer.alloc(5_000)],
    ['ones', Buffer.alloc(5_000, 0xff)],
    ['a CONNECT of length 0', Buffer.from([0x10, 0])],
    ['a CONNECT with a length of five bytes', Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff, 0x01])],
    ['a CONNECT with a length of 256 MB', Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f])],
    ['a CONNECT with a length of 16 KB and a byte', Buffer.from([0x10, 0x81, 0x80, 0x01])],
    ['a CONNECT of another protocol', Buffer.from([0x10, 12, 0, 6, ...Buffer.from('AMQPxx'), 4, 2, 0, 60])],
    [
      'a CONNECT cut inside its client id',
      Buffer.from([0x10, 14, 0, 4, ...Buffer.from('MQTT'), 4, 2, 0, 60, 0, 9, 1, 1]),
    ],
    [
      'a CONNECT whose client id claims 64 KB',
      Buffer.from([0x10, 14, 0, 4, ...Buffer.from('MQTT'), 4, 2, 0, 60, 0xff, 0xff, 1, 1]),
    ],
    [
      'a CONNECT with flags of a user name that is not there',
      Buffer.from([0x10, 13, 0, 4, ...Buffer.from('MQTT'), 4, 0xc2, 0, 60, 0, 1, 1]),
    ],
    [
      'a CONNECT with the reserved flag',
      Buffer.from([0x10, 13, 0, 4, ...Buffer.from('MQTT'), 4, 0x03, 0, 60, 0, 1, 0x61]),
    ],
    [
      'a CONNECT with a will flag and no will',
      Buffer.from([0x10, 13, 0, 4, ...Buffer.from('MQTT'), 4, 0x06, 0, 60, 0, 1, 0x61]),
    ],
    [
      'a CONNECT with fixed-header flags',
      Buffer.from([0x11, 13, 0, 4, ...Buffer.from('MQTT'), 4, 2, 0, 60, 0, 1, 0x61]),
    ],
  ];
  for (const [name, bytes] of rows) {
    attack(`${name} end the connection, and nothing is let in`, {}, async (broker) => {
      const device = await victim(broker);
      const client = await broker.raw();
      client.write(bytes);
      await client.closed;
      expect(client.received).toEqual([]);
      await device.unharmed();
    });
  }
});

describe('one who hangs up or floods before the answer', () => {
  /** Nothing of a connection is left, in the plugin or the host. */
  const isGone = async (broker: TestBroker) => {
    await until(() => broker.auth.connections.size === 0);
    expect(broker.aedes.connectedClients).toBe(0);
  };

  attack('hanging up at any byte of a good CONNECT leaves nothing', {}, async (broker) => {
    const bytes = generate(connectPacket(A, broker.token(A), { clean: false }));
    for (let at = 1; at <= bytes.length; at += 29) {
      const client = await broker.raw();
      client.write(bytes.subarray(0, at));
      client.stream.end();
      await client.end();
    }
    await isGone(broker);
  });

  attack('hanging up a few turns after a good CONNECT leaves nothing', {}, async (broker) => {
    const bytes = generate(connectPacket(A, broker.token(A), { clean: false }));
    for (let turns = 0; turns < 40; turns += 1) {
      const client = await broker.raw();
      client.write(bytes);
      for (let i = 0; i < turns; i += 1) await nextTurn();
      await client.end();
    }
    await isGone(broker);
  });

  attack('200 hanging up at once behind CONNECT leave nothing', {}, async (broker) => {
    const clients = await Promise.all(Array.from({ length: 200 }, () => broker.raw()));
    for (const [i, client] of clients.entries())
      client.send(connectPacket(A, i % 2 === 0 ? broker.token(A) : 'x.y.z'));
    await Promise.all(clients.map((client) => client.end()));
    await isGone(broker);
  });

  attack('5,000 PINGREQ behind a CONNECT are not queued', {}, async (broker) => {
    const client = await broker.raw();
    const pings = Buffer.alloc(10_000).map((_, i) => (i % 2 === 0 ? 0xc0 : 0));
    client.write(Buffer.concat([generate(connectPacket(B, broker.token(B))), pings]));
    await client.closed;
    expect(client.received.filter(({ cmd }) => cmd !== 'connack')).toEqual([]);
    await isGone(broker);
  });

  attack('a CONNECT that comes byte by byte is read as one that comes whole', {}, async (broker) => {
    const codes = [];
    for (const token of [broker.token(B), 'x.y.z']) {
      const client = await broker.raw();
      for (const byte of generate(connectPacket(B, token))) client.write(Buffer.from([byte]));
      codes.push(((await client.next('connack')) as { returnCode?: number }).returnCode);
    }
    expect(codes).toEqual([0, 4]);
  });

  attack(
    'a CONNECT and half a PUBLISH, the other half after CONNACK, is judged as a whole one',
    {},
    async (broker) => {
      const device = await victim(broker);
      const client = await broker.raw();
      const publish = generate(publishPacket(`devices/${A}/x`, 'forged', { qos: 1 }));
      client.write(Buffer.concat([generate(connectPacket(B, broker.token(B))), publish.subarray(0, 9)]));
      expect(await client.next('connack')).toMatchObject({ returnCode: 0 });
      client.write(publish.subarray(9));
      await client.closed;
      await device.unharmed();
    },
  );
});

describe('over WebSocket', () => {
  async function webSocketClient(broker: TestBroker): Promise<{ socket: WebSocket; client: RawClient }> {
    const socket = new WebSocket(broker.ws, 'mqtt');
    await once(socket, 'open');
    return { socket, client: rawClientOn(createWebSocketStream(socket)) };
  }

  attack('a packet that is no CONNECT ends the connection', {}, async (broker) => {
    const { client } = await webSocketClient(broker);
    client.send(publishPacket(`devices/${A}/x`, 'forged'));
    await client.closed;
    expect(client.received).toEqual([]);
  });

  attack('a SUBSCRIBE in the message of a refused CONNECT is not served', {}, async (broker) => {
    const { client } = await webSocketClient(broker);
    const subscriptions = [{ topic: '#', qos: 0 as const }];
    client.send(connectPacket(A, 'x.y.z'), { cmd: 'subscribe', messageId: 1, subscriptions });
    await client.closed;
    expect(client.received.filter((packet) => !isRefusal(packet))).toEqual([]);
  });

  attack('packets cut across messages, with pings between, are judged as whole ones', {}, async (broker) => {
    const device = await victim(broker);
    const { socket, client } = await webSocketClient(broker);
    const bytes = Buffer.concat([
      generate(connectPacket(B, broker.token(B))),
      generate(publishPacket(`devices/${A}/x`, 'forged', { qos: 1 })),
    ]);
    for (let at = 0; at < bytes.length; at += 50) {
      socket.send(bytes.subarray(at, at + 50));
      socket.ping();
    }
    await client.closed;
    expect(client.received.map(({ cmd }) => cmd)).toEqual(['connack']);
    await device.unharmed();
  });

  attack('a text message with a CONNECT in it ends the connection', {}, async (broker) => {
    const { socket, client } = await webSocketClient(broker);
    socket.send(generate(connectPacket(B, broker.token(B))).toString('latin1'));
    await client.closed;
    expect(broker.aedes.connectedClients).toBe(0);
  });
});
