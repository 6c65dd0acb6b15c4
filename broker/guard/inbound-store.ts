import type { Guard } from './guard.ts';
import type { HostClient } from './host.ts';

/**
 * QoS 2 messages of one session that may wait for their PUBREL. The host's own bound is one of each connection, and
 * what it stores outlives the connection.
 */
export const MAX_INBOUND_PER_SESSION = 1_000;

const nothing = Buffer.alloc(0);

/**
 * What is kept of a QoS 2 message until its PUBREL is its packet identifier: it was published when it came, and only
 * its repetition has to be known [MQTT-4.3.3-2]. The host keeps it whole, and as many as there are identifiers.
 */
export const inboundStore: Guard = {
  name: 'of QoS 2 messages only identifiers are kept, and few of one session',
  install({ broker: { persistence }, sessions }) {
    /** It ended while its message was looked at, and nothing of it is to be kept. */
    const isOver = ({ closed, clean, id }: HostClient) =>
      closed && (clean || sessions.live.get(id)?.client.clean === true);
    const ids = new Map<string, Set<number>>();
    const { incomingStorePacket, incomingDelPacket, cleanIncoming } = persistence;

    persistence.incomingStorePacket = async (client, packet) => {
      // Nobody would take the identifier away again, and the next message under it would count as repeated.
      if (isOver(client)) return;
      const messageId = (packet as { messageId?: number }).messageId as number;
      const known = ids.get(client.id) ?? new Set();
      // Rejected, it is not acknowledged, and the connection is closed.
      if (!known.has(messageId) && known.size >= MAX_INBOUND_PER_SESSION) {
        throw new Error('too many QoS 2 messages wait for PUBREL');
      }
      known.add(messageId);
      ids.set(client.id, known);
      await incomingStorePacket.call(
        persistence,
        client,
        Object.assign(Object.create(packet), { topic: '', payload: nothing }),
      );
    };
    persistence.incomingDelPacket = (client, packet) => {
      const known = ids.get(client.id);
      known?.delete(packet.messageId as number);
      if (known?.size === 0) ids.delete(client.id);
      return incomingDelPacket.call(persistence, client, packet);
    };
    persistence.cleanIncoming = (client) => {
      ids.delete(client.id);
      return cleanIncoming.call(persistence, client);
    };
    return undefined;
  },
};
