import type { Guard } from './guard.ts';

/** Above every packet identifier of the wire, so that it cannot be mistaken for one. */
export const FIRST_TEMPORARY_ID = 65_536;

/** Copies of one message that are looked for: more than a client usually may have filters. */
const MAX_COPIES = 1_000;

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
      // Several at once may take the same copy of a message that is queued once for each filter it matches: who finds
      // it gone takes the next.
      for (let copies = 0; copies < MAX_COPIES; copies += 1) {
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
        const cleared = await clear.call(persistence, client, named);
        if (cleared !== undefined && cleared !== null) return cleared;
      }
      return undefined;
    };
    return undefined;
  },
};
