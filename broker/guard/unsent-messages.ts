import type { Guard } from './guard.ts';

/** Above every packet identifier of the wire, so that it cannot be mistaken for one. */
export const FIRST_TEMPORARY_ID = 65_536;

/**
 * A message that is held back leaves the queue of a persistent session. It was queued before it was to be sent, has no
 * packet identifier yet, and the host clears by identifier: it would clear the first entry without one, another
 * message. Here it is first given an identifier of its own.
 */
export const unsentMessages: Guard = {
  name: 'a message held back removes itself from the queue and no other',
  install({ broker: { persistence } }) {
    const clear = persistence.outgoingClearMessageId;
    let temporaryId = FIRST_TEMPORARY_ID;
    persistence.outgoingClearMessageId = async (client, packet) => {
      if (packet.messageId !== undefined) return clear.call(persistence, client, packet);
      temporaryId = temporaryId === Number.MAX_SAFE_INTEGER ? FIRST_TEMPORARY_ID : temporaryId + 1;
      const named = Object.assign(Object.create(Object.getPrototypeOf(packet)), packet, {
        messageId: temporaryId,
      });
      try {
        await persistence.outgoingUpdate(client, named);
      } catch {
        // Not in the queue: nothing to clear.
        return undefined;
      }
      return clear.call(persistence, client, named);
    };
    return undefined;
  },
};
