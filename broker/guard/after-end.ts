import type { Guard } from './guard.ts';
import type { HostClient } from './host.ts';

/** Not a packet of MQTT: the host destroys the connection of whoever sends it, here one more time, and does nothing else. */
const UNSERVED = 'unserved';

/**
 * The packet that ends a connection is the last of it: a DISCONNECT [MQTT-3.14.4-2], or one that breaks the protocol
 * (MQTT 3.1.1 §4.8). The host goes on with those that came in the same segment: it would publish, subscribe, and take a
 * DISCONNECT behind a malformed packet for a leave in good order, without a will [MQTT-3.1.2-8].
 */
export const afterEnd: Guard = {
  name: 'nothing behind the end of a connection is served',
  packet(packet, client) {
    if (hasEnded(client)) packet.cmd = UNSERVED;
    else if (client.connecting && !client.connackSent && client._parser._queue?.length === 0) {
      client.prependOnceListener('connected', lookAgain);
    }
  },
};

const hasEnded = ({ closed, conn }: HostClient) => closed || conn.destroyed;

// Until a session stands the host keeps packets, and then handles all of them in one go.
function lookAgain(this: HostClient): void {
  const queue = this._parser._queue ?? [];
  for (const [index, packet] of queue.entries()) {
    Object.defineProperty(queue, index, { get: () => (hasEnded(this) ? { cmd: UNSERVED } : packet) });
  }
}
