import type { Guard } from './guard.ts';
import { FIRST_TEMPORARY_ID } from './unsent-messages.ts';

/** What the persistences of Aedes say of a message they do not hold. */
const NO_SUCH_PACKET = 'no such packet';

/**
 * A message that is delivered and was not put into the queue is sent all the same. That happens when a filter is given
 * up, or grants change, between the two; the host takes it for an error and closes the connection.
 */
export const unqueuedMessages: Guard = {
  name: 'a message that was not queued closes no connection',
  install({ broker: { persistence } }) {
    const update = persistence.outgoingUpdate;
    persistence.outgoingUpdate = async (client, packet) => {
      try {
        await update.call(persistence, client, packet);
      } catch (error) {
        const isAsked = (packet.messageId ?? 0) >= FIRST_TEMPORARY_ID;
        if (isAsked || !(error instanceof Error) || error.message !== NO_SUCH_PACKET) throw error;
      }
    };
    return undefined;
  },
};
