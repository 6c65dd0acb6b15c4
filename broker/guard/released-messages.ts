import type { Guard } from './guard.ts';

/** Stands where a message has the id of the broker it came through. */
const RELEASED = 'released';

/**
 * A message of QoS 2 that a client has received is released, each by its own packet identifier. The host looks for it
 * in the queue by a broker id and counter that a PUBREL lacks, so of two that were received it finds one twice, and the
 * other is sent again after a reconnect; and it closes the client when there is none, as of every retained message.
 */
export const releasedMessages: Guard = {
  name: 'each received QoS 2 message is released',
  install({ broker: { persistence, opts } }) {
    const update = persistence.outgoingUpdate;
    persistence.outgoingUpdate = async (client, packet) => {
      if (packet.cmd !== 'pubrel') return update.call(persistence, client, packet);
      // Only the host's own persistence compares so.
      if (opts.persistence === undefined && packet.brokerId === undefined) {
        packet.brokerId = RELEASED;
        packet.brokerCounter = packet.messageId as number;
      }
      try {
        await update.call(persistence, client, packet);
      } catch {
        // Not in the queue: nothing will send it again, and the PUBREL is owed all the same [MQTT-4.3.3-1].
      }
    };
    return undefined;
  },
};
