/**
 * Holds many MQTT connections in a process of its own. Told `{ port, clients: [{ id, token }] }` it connects all and
 * answers `{ connected }`; from then on it tells `{ closed, ids }` as connections are closed by the broker.
 */
import { connect } from 'node:net';
import { generate, parser } from 'mqtt-packet';
import { connectPacket } from './broker-raw-client.ts';

export interface ManyClientsTask {
  readonly port: number;
  readonly clients: readonly { readonly id: string; readonly token: string }[];
}

/** Connections being made at once. */
const CONCURRENCY = 100;

let closed: string[] = [];

process.on('message', async ({ port, clients }: ManyClientsTask) => {
  const waiting = clients.values();
  const work = async () => {
    for (const client of waiting) await open(port, client);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  process.send?.({ connected: clients.length });
  setInterval(() => {
    if (closed.length > 0) process.send?.({ closed });
    closed = [];
  }, 20);
});

function open(port: number, { id, token }: { id: string; token: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const reader = parser({ protocolVersion: 4 });
    reader.once('packet', (packet) => {
      if (packet.cmd === 'connack' && packet.returnCode === 0) resolve();
      else reject(new Error(`${id}: ${JSON.stringify(packet)}`));
    });
    socket.on('data', (chunk) => reader.parse(chunk));
    socket.on('error', reject);
    socket.on('close', () => closed.push(id));
    socket.write(generate(connectPacket(id, token, { keepalive: 1200 })));
  });
}
