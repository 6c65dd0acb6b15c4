/** One broker in a process of its own, by itself or on a Redis that it shares. Gets its task by IPC, answers with its port. */
import { startBroker } from '@fleetgate/broker';
import type { JsonWebKeySet } from '@fleetgate/shared';
import { AUDIENCE, ISSUER } from '../broker/tokens.ts';

export interface BrokerTask {
  readonly jwks: JsonWebKeySet;
  /** `redis://…`; without one its sessions are in memory. */
  readonly redis?: string;
}

process.on('SIGTERM', () => process.exit(0));
process.on('message', async (message: { start?: BrokerTask }) => {
  if (message.start === undefined) return;
  const { jwks, redis } = message.start;
  const broker = await startBroker({
    listeners: [{ protocol: 'mqtt', host: '127.0.0.1', port: 0 }],
    issuers: [{ issuer: ISSUER, keys: { jwks: () => jwks } }],
    audience: AUDIENCE,
    limits: { maxConnectionsPerAddress: 100_000 },
    ...(redis === undefined ? {} : { cluster: { redis } }),
  });
  process.send?.({ port: Number(new URL(broker.urls.mqtt as string).port) });
});
