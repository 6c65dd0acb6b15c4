import type { Guard } from './guard.ts';

/** No broker has this id. */
const PUBREL = 'pubrel';

/**
 * A PUBREL takes the place of its own message in the queue. The host's memory persistence compares broker ids before
 * packet identifiers, and two entries without one are the same to it: the second PUBREL renames the first, and its
 * message is sent again.
 */
export const pubrelEntries: Guard = {
  name: 'two QoS 2 messages under way at once are each sent once',
  install({ broker: { persistence, opts } }) {
    if (opts.persistence !== undefined) return undefined;
    const update = persistence.outgoingUpdate;
    persistence.outgoingUpdate = (client, packet) => {
      if (packet.cmd === 'pubrel' && packet.brokerId === undefined) {
        packet.brokerId = PUBREL;
        packet.brokerCounter = packet.messageId as number;
      }
      return update.call(persistence, client, packet);
    };
    return undefined;
  },
};
