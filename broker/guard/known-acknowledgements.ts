import type { Guard } from './guard.ts';

/** What is known of a message that was sent and not acknowledged. */
type State = 'sent' | 'released';

/**
 * An acknowledgement is looked for in the queue only when there is such a message, and a PUBREC only once. The host's
 * own persistence goes through all of the queue for each: one who lets its queue grow and acknowledges what it never got
 * stops the broker for seconds with a hundred kilobytes, and leaves an empty queue under each client id it uses.
 */
export const knownAcknowledgements: Guard = {
  name: 'an acknowledgement of nothing is not looked for',
  install({ broker: { persistence, opts } }) {
    if (opts.persistence !== undefined) return undefined;
    const underWay = new Map<string, Map<number, State>>();
    const { outgoingUpdate, outgoingClearMessageId } = persistence;

    function note(clientId: string, messageId: number, state: State): void {
      const states = underWay.get(clientId) ?? new Map<number, State>();
      states.set(messageId, state);
      underWay.set(clientId, states);
    }

    persistence.outgoingUpdate = async (client, packet) => {
      const messageId = packet.messageId as number;
      const isRelease = packet.cmd === 'pubrel';
      if (isRelease && underWay.get(client.id)?.get(messageId) !== 'sent') return;
      await outgoingUpdate.call(persistence, client, packet);
      note(client.id, messageId, isRelease ? 'released' : 'sent');
    };
    persistence.outgoingClearMessageId = (client, packet) => {
      const states = underWay.get(client.id);
      if (states?.delete(packet.messageId as number) !== true) return Promise.resolve(undefined);
      if (states.size === 0) underWay.delete(client.id);
      return outgoingClearMessageId.call(persistence, client, packet);
    };
    return undefined;
  },
};
