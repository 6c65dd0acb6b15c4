import { SESSION_TOPIC } from '@fleetgate/shared';
import type { HostClient } from './guard/host.ts';

/**
 * Where a message goes that is acknowledged and delivered to nobody: nobody can subscribe to it. The host
 * acknowledges only what it publishes.
 */
export const DROPPED_TOPIC = '$fleetgate/dropped';

const nothing = new Uint8Array(0);

/** Empties a message, so that the host acknowledges it and neither keeps nor delivers anything of it. */
export function discard(packet: { topic: string; payload: unknown; retain: boolean }): void {
  packet.topic = DROPPED_TOPIC;
  packet.payload = nothing;
  packet.retain = false;
}

/**
 * Sends one QoS 0 message on {@link SESSION_TOPIC} to one connection, past the emitter. It has no broker id: with one
 * it would raise the host's mark of what this client has seen, and messages numbered before it would be lost. `done` is
 * called when it has been written, and whoever reads slowly has taken it, or the connection is gone.
 */
export function deliverOwn(client: HostClient, payload: Uint8Array, done: () => void): void {
  const packet = { cmd: 'publish', topic: SESSION_TOPIC, payload, qos: 0, retain: false, brokerId: null };
  ownPackets.add(packet);
  client.deliver0(packet, done);
}

/** Whether this very packet was made here. */
export function isOwnPacket(packet: object): boolean {
  return ownPackets.has(packet);
}

const ownPackets = new WeakSet<object>();
