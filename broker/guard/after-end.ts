import type { Guard } from './guard.ts';

/** Not a packet of MQTT: the host destroys the connection of whoever sends it, here one more time, and does nothing else. */
const UNSERVED = 'unserved';

/**
 * The packet that ends a connection is the last of it: a DISCONNECT [MQTT-3.14.4-2], or one that breaks the protocol
 * (MQTT 3.1.1 §4.8). The host goes on with those that came in the same segment: it would publish, subscribe, and take a
 * DISCONNECT behind a malformed packet for a leave in good order, without a will [MQTT-3.1.2-8].
 */
export const afterEnd: Guard = {
  name: 'nothing behind the end of a connection is served',
  watch(client, { stream }) {
    const hasEnded = () => stream.destroyed || client.closed;
    client._parser.prependListener('packet', (packet: { cmd: string }) => {
      if (hasEnded()) packet.cmd = UNSERVED;
    });
    // Until a session stands the host keeps packets, and then handles all of them in one go.
    client.prependOnceListener('connected', () => {
      const queue = client._parser._queue ?? [];
      for (const [index, packet] of queue.entries()) {
        Object.defineProperty(queue, index, { get: () => (hasEnded() ? { cmd: UNSERVED } : packet) });
      }
    });
  },
};
