/**
 * Devices in a process of their own: each gets a token and holds a session, and together they publish. Told
 * `{ issuer, port, sessions, publishesPerSecond }` it answers `{ connected }`, or `{ failed }`.
 */
import { connect, type Socket } from 'node:net';
import { generate, type Packet, parser } from 'mqtt-packet';
import { clientId, clientSecret } from '../issuer/clients.ts';

export interface DevicesTask {
  /** Of the issuer, without a path. */
  readonly issuer: string;
  readonly port: number;
  readonly sessions: number;
  /** Of all together. One in fifty is followed by a SUBSCRIBE that is refused. */
  readonly publishesPerSecond: number;
}

/** Sessions being made at once. */
const CONCURRENCY = 32;

const payload = Buffer.from('21.5');

/** Of what is published, in milliseconds. */
const TICK_MS = 100;

process.on('message', async (task: DevicesTask) => {
  try {
    const sockets: Socket[] = [];
    const numbers = Array.from({ length: task.sessions }, (_, n) => n).values();
    const work = async () => {
      for (const n of numbers) sockets[n] = await openSession(n, task);
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, work));
    process.send?.({ connected: sockets.length });
    publish(sockets, task.publishesPerSecond);
  } catch (error) {
    process.send?.({ failed: String(error) });
  }
});

async function openSession(n: number, { issuer, port }: DevicesTask): Promise<Socket> {
  const id = clientId(n);
  const answer = await fetch(`${issuer}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: id,
      client_secret: clientSecret(n),
    }),
  });
  const { access_token: password, error } = (await answer.json()) as Record<string, string>;
  if (password === undefined) throw new Error(`${id} got no token: ${error}`);
  return await new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const reader = parser({ protocolVersion: 4 });
    reader.once('packet', (packet) => {
      if (packet.cmd === 'connack' && packet.returnCode === 0) resolve(socket);
      else reject(new Error(`${id}: ${JSON.stringify(packet)}`));
    });
    socket.on('data', (chunk) => reader.parse(chunk));
    socket.once('error', reject);
    const session = { protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 1200 } as const;
    socket.write(
      generate({ cmd: 'connect', ...session, clientId: id, username: id, password: Buffer.from(password) }),
    );
  });
}

/** Round and round, a part with each tick. */
function publish(sockets: readonly Socket[], perSecond: number): void {
  let [owed, next] = [0, 0];
  setInterval(() => {
    for (owed += (perSecond * TICK_MS) / 1000; owed >= 1; owed -= 1, next += 1) {
      const n = next % sockets.length;
      const topic = `devices/${clientId(n)}/telemetry/t`;
      send(sockets[n], { cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false });
      if (next % 50 !== 0) continue;
      const subscriptions = [{ topic: 'devices/+/telemetry/#', qos: 0 as const }];
      send(sockets[n], { cmd: 'subscribe', messageId: 1, subscriptions });
    }
  }, TICK_MS);
}

function send(socket: Socket | undefined, packet: Packet): void {
  socket?.write(generate(packet));
}
