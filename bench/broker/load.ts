/** Makes the load, in a process of its own. Each task comes by IPC and is answered with what was measured. */
import { once } from 'node:events';
import { connect as connectSocket, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  connectBytes,
  disconnectBytes,
  type Login,
  MAX_MESSAGE_ID,
  publishBytes,
  subscribeBytes,
} from './wire.ts';

export type Task =
  | {
      readonly kind: 'connect';
      /** Several brokers are connected to in turn. */
      readonly port: number | readonly number[];
      readonly seconds: number;
      readonly logins: Login[];
    }
  | {
      readonly kind: 'throughput';
      /** Of several brokers the publisher takes the first, the subscribers those behind it. */
      readonly port: number | readonly number[];
      readonly qos: 0 | 1;
      readonly messages: number;
      readonly publisher: Login;
      readonly subscribers: Login[];
    }
  | { readonly kind: 'idle'; readonly port: number; readonly logins: Login[] }
  | { readonly kind: 'release' };

/** `perSecond` of connects or deliveries; `lost` messages that never came. */
export type Measured = { readonly perSecond: number; readonly lost: number };

const PARALLEL_CONNECTS = 64;
const TOPIC = 'bench/throughput';
const PAYLOAD = Buffer.alloc(64, 'x');
/** QoS 1 messages without acknowledgement at once. */
const WINDOW = 500;
/** How long nothing may arrive before what is missing counts as lost. */
const SILENCE_MS = 3_000;

let idle: Socket[] = [];

process.on('message', async (task: Task) => {
  try {
    process.send?.({ measured: await run(task) });
  } catch (error) {
    process.send?.({ failed: String(error) });
  }
});

async function run(task: Task): Promise<Measured> {
  switch (task.kind) {
    case 'connect':
      return measureConnects(task);
    case 'throughput':
      return measureThroughput(task);
    case 'idle':
      await holdIdle(task);
      return { perSecond: 0, lost: 0 };
    case 'release': {
      const sockets = idle;
      idle = [];
      await Promise.all(
        sockets.map((socket) => {
          socket.destroy();
          return once(socket, 'close');
        }),
      );
      return { perSecond: 0, lost: 0 };
    }
  }
}

async function measureConnects({ port, seconds, logins }: Task & { kind: 'connect' }): Promise<Measured> {
  const packets = logins.map(connectBytes);
  const portOf = inTurn(port);
  const startMs = performance.now();
  const endMs = startMs + seconds * 1000;
  let next = 0;
  let done = 0;
  const work = async () => {
    while (performance.now() < endMs && next < packets.length) {
      const at = next++;
      const socket = await open(portOf(at), packets[at] as Buffer);
      socket.end(disconnectBytes);
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_CONNECTS }, work));
  return { perSecond: done / ((performance.now() - startMs) / 1000), lost: 0 };
}

async function measureThroughput(task: Task & { kind: 'throughput' }): Promise<Measured> {
  const { port, qos, messages, publisher, subscribers } = task;
  const portOf = inTurn(port);
  const size = publishBytes(TOPIC, PAYLOAD, qos, 1).length;
  const expected = messages * subscribers.length;
  let received = 0;
  let lastMs = performance.now();
  const complete = Promise.withResolvers<void>();
  const onReceived = (count: number) => {
    received += count;
    lastMs = performance.now();
    if (received >= expected) complete.resolve();
  };
  const readers = await Promise.all(
    subscribers.map(async (login, n) => {
      const socket = await open(portOf(n + 1), connectBytes(login));
      socket.write(subscribeBytes(TOPIC, qos));
      const [suback] = (await once(socket, 'data')) as [Buffer];
      if (suback[0] !== 0x90 || suback.at(-1) !== qos) throw new Error('the subscription was not granted');
      readPublishes(socket, size, qos, onReceived);
      return socket;
    }),
  );
  const writer = await open(portOf(0), connectBytes(publisher));
  const startMs = performance.now();
  await (qos === 0 ? flood(writer, messages) : pace(writer, messages));
  while (received < expected && performance.now() - lastMs < SILENCE_MS) {
    await Promise.race([complete.promise, sleep(50)]);
  }
  const tookSeconds = (lastMs - startMs) / 1000;
  for (const socket of [...readers, writer]) socket.destroy();
  return { perSecond: received / tookSeconds, lost: expected - received };
}

/** Counts PUBLISH packets of one size, and acknowledges them. */
function readPublishes(socket: Socket, size: number, qos: 0 | 1, onReceived: (count: number) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  // After fixed header (2 bytes: all packets here are shorter than 128) and topic.
  const idAt = 2 + 2 + TOPIC.length;
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const count = Math.floor(bytes.length / size);
    rest = bytes.subarray(count * size);
    if (count === 0) return;
    if (qos === 1) {
      const acks = Buffer.allocUnsafe(count * 4);
      for (let n = 0; n < count; n += 1) {
        acks[n * 4] = 0x40;
        acks[n * 4 + 1] = 2;
        bytes.copy(acks, n * 4 + 2, n * size + idAt, n * size + idAt + 2);
      }
      socket.write(acks);
    }
    onReceived(count);
  });
}

async function flood(socket: Socket, messages: number): Promise<void> {
  const one = publishBytes(TOPIC, PAYLOAD, 0, 0);
  const batch = Buffer.concat(Array.from({ length: 100 }, () => one));
  for (let sent = 0; sent < messages; sent += 100) {
    if (!socket.write(messages - sent >= 100 ? batch : batch.subarray(0, (messages - sent) * one.length))) {
      await once(socket, 'drain');
    }
  }
}

/** QoS 1 with a window: a few under way at once, the next when one is acknowledged. */
function pace(socket: Socket, messages: number): Promise<void> {
  const ids = Array.from({ length: Math.min(messages, MAX_MESSAGE_ID) }, (_, n) => n + 1);
  const packets = ids.map((id) => publishBytes(TOPIC, PAYLOAD, 1, id));
  let sent = 0;
  let acknowledged = 0;
  let odd = 0;
  return new Promise((resolve) => {
    const fill = () => {
      const batch: Buffer[] = [];
      while (sent < messages && sent - acknowledged < WINDOW) {
        batch.push(packets[sent % packets.length] as Buffer);
        sent += 1;
      }
      if (batch.length > 0) socket.write(Buffer.concat(batch));
    };
    socket.on('data', (chunk: Buffer) => {
      odd += chunk.length;
      const count = Math.floor(odd / 4);
      odd -= count * 4;
      acknowledged += count;
      if (acknowledged >= messages) return resolve();
      // In batches, as a client that has much to say does.
      if (sent - acknowledged <= WINDOW / 2) fill();
    });
    fill();
  });
}

function inTurn(port: number | readonly number[]): (n: number) => number {
  const ports = typeof port === 'number' ? [port] : port;
  return (n) => ports[n % ports.length] as number;
}

async function holdIdle({ port, logins }: Task & { kind: 'idle' }): Promise<void> {
  const waiting = logins.values();
  await Promise.all(
    Array.from({ length: PARALLEL_CONNECTS }, async () => {
      for (const login of waiting) idle.push(await open(port, connectBytes(login)));
    }),
  );
}

async function open(port: number, connect: Buffer): Promise<Socket> {
  const socket = connectSocket({ host: '127.0.0.1', port, noDelay: true });
  socket.write(connect);
  const [connack] = (await once(socket, 'data')) as [Buffer];
  if (connack[0] !== 0x20 || connack[3] !== 0) throw new Error(`CONNACK ${connack.toString('hex')}`);
  socket.on('error', () => {});
  return socket;
}
