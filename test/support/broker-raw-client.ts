import { once } from 'node:events';
import { connect as connectSocket, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { generate, type IConnackPacket, type IConnectPacket, type Packet, parser } from 'mqtt-packet';
import { type ClientOptions, createWebSocketStream, WebSocket } from 'ws';

/** An MQTT client that sends what it is told to, in one write, and hides nothing it gets. */
export interface RawClient {
  readonly stream: Duplex;
  /** All packets so far, in order. */
  readonly received: readonly Packet[];
  /** Resolves when the broker has closed the connection. */
  readonly closed: Promise<void>;
  send(...packets: Packet[]): void;
  write(bytes: Uint8Array): void;
  /** The next packet that was not taken yet; with `cmd` the next of that kind, which drops those before it. */
  next(cmd?: Packet['cmd']): Promise<Packet>;
  /** Everything that arrives up to the answer to a ping: what is not there by then was not sent before it. */
  settle(): Promise<readonly Packet[]>;
  end(): Promise<void>;
}

/** What a client brings to TLS, and a socket to use in place of a new one. */
export interface RawClientOptions {
  readonly tls?: { ca?: string; cert?: string; key?: string; rejectUnauthorized?: boolean };
  readonly socket?: Socket;
}

/** A client over any of the four protocols, with nothing sent yet. */
export async function rawClient(url: string, options: RawClientOptions = {}): Promise<RawClient> {
  return rawClientOn(await openStream(url, options));
}

async function openStream(url: string, { tls = {}, socket: given }: RawClientOptions): Promise<Duplex> {
  const { protocol, hostname, port } = new URL(url);
  if (protocol === 'ws:' || protocol === 'wss:') {
    const plain = given === undefined ? {} : { createConnection: () => given };
    const secure =
      given === undefined ? tls : { createConnection: () => connectTls({ ...tls, socket: given }) };
    const webSocket = new WebSocket(url, ['mqtt'], protocol === 'ws:' ? plain : (secure as ClientOptions));
    await once(webSocket, 'open');
    return createWebSocketStream(webSocket);
  }
  const socket = given ?? connectSocket({ host: hostname, port: Number(port), noDelay: true });
  if (given === undefined) await once(socket, 'connect');
  if (protocol === 'mqtt:') return socket;
  const secure = connectTls({ ...tls, socket });
  await once(secure, 'secureConnect');
  return secure;
}

/** Resolves when `stream` has closed, with an error or without: `once` of Node would reject. */
export function closeOf(stream: Duplex): Promise<void> {
  return new Promise((resolve) => stream.once('close', () => resolve()));
}

export function rawClientOn(stream: Duplex): RawClient {
  const received: Packet[] = [];
  let taken = 0;
  let wake: (() => void)[] = [];
  let isClosed = false;
  const wakeAll = () => {
    const waiting = wake;
    wake = [];
    for (const one of waiting) one();
  };
  const reader = parser({ protocolVersion: 4 });
  reader.on('packet', (packet: Packet) => {
    received.push(packet);
    wakeAll();
  });
  stream.on('data', (chunk: Buffer) => reader.parse(chunk));
  stream.on('error', () => {});
  const closed = new Promise<void>((resolve) => {
    const done = () => {
      isClosed = true;
      resolve();
      wakeAll();
    };
    stream.once('close', done);
    stream.once('end', () => stream.destroy());
  });

  async function next(cmd?: Packet['cmd']): Promise<Packet> {
    for (;;) {
      while (taken < received.length) {
        const packet = received[taken] as Packet;
        taken += 1;
        if (cmd === undefined || packet.cmd === cmd) return packet;
      }
      if (isClosed) throw new Error(`closed while waiting for ${cmd ?? 'a packet'}`);
      await new Promise<void>((resolve) => wake.push(resolve));
    }
  }

  const write = (bytes: Uint8Array) => void stream.write(bytes);
  const send = (...packets: Packet[]) => write(Buffer.concat(packets.map((packet) => generate(packet))));
  return {
    stream,
    received,
    closed,
    write,
    send,
    next,
    async settle() {
      const from = taken;
      send({ cmd: 'pingreq' });
      await next('pingresp');
      return received.slice(from, taken - 1);
    },
    async end() {
      stream.destroy();
      await closed;
    },
  };
}

export function connectPacket(
  clientId: string,
  token: string | undefined,
  more: Partial<IConnectPacket> = {},
): IConnectPacket {
  return {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    keepalive: 60,
    clientId,
    ...(token === undefined ? {} : { username: clientId, password: Buffer.from(token) }),
    ...more,
  };
}

/** Sends a CONNECT and gives the return code, or `closed`. */
export async function connackOf(client: RawClient, packet: IConnectPacket): Promise<number | 'closed'> {
  client.send(packet);
  try {
    return ((await client.next('connack')) as IConnackPacket).returnCode ?? -1;
  } catch {
    return 'closed';
  }
}

export interface ConnectBytes {
  flags: number;
  clientId: string;
  willTopic?: string;
  username?: string | Uint8Array;
  password?: string;
}

/** A CONNECT no library would write. */
export function connectBytes({ flags, clientId, willTopic, username, password }: ConnectBytes): Buffer {
  const fields = [clientId, ...(willTopic === undefined ? [] : [willTopic, 'gone']), username, password];
  const body = Buffer.concat([
    field('MQTT'),
    Buffer.from([4, flags, 0, 60]),
    ...fields.filter((one) => one !== undefined).map(field),
  ]);
  const length = body.length < 128 ? [body.length] : [(body.length & 127) | 128, body.length >> 7];
  return Buffer.concat([Buffer.from([0x10, ...length]), body]);
}

/** Text or bytes behind their length, as MQTT has them. */
export function field(text: string | Uint8Array): Buffer {
  const bytes = Buffer.from(text as string);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
}
