import { clientKey } from '../client-key.ts';
import type { Guard } from './guard.ts';

/**
 * Retained messages are bounded, of one client and in all. Counted by what the store is told, since what is allowed may
 * never come there, as a repetition of a QoS 2 message does not: a clearing gives room when it has been stored. What is
 * to be kept takes room as soon as it is allowed, or those behind it in one go would all find the same place. A
 * persistence of the user's own is not counted: what it brings along from before has no owner.
 */
export const retainedMessages: Guard = {
  name: 'retained messages are bounded',
  install({ broker: { persistence, opts }, limits, sessions }) {
    if (opts.persistence !== undefined) return undefined;
    const { storeRetained } = persistence;
    /** Whose message each topic keeps; of a client whatever its MQTT client id. */
    const owners = new Map<string, string>();
    const counts = new Map<string, number>();

    function disown(topic: string): void {
      const owner = owners.get(topic);
      if (owner === undefined) return;
      owners.delete(topic);
      const left = (counts.get(owner) ?? 0) - 1;
      if (left > 0) counts.set(owner, left);
      else counts.delete(owner);
    }

    persistence.storeRetained = (packet) => {
      if (packet.payload.length === 0) disown(packet.topic);
      return storeRetained.call(persistence, packet);
    };

    return {
      retain(client, topic, bytes) {
        if (bytes === 0) return undefined;
        const session = sessions.byClient.get(client);
        if (session === undefined) return 'not_authenticated';
        const owner = clientKey(session.principal);
        if (owners.get(topic) === owner) return undefined;
        const isFull = !owners.has(topic) && owners.size >= limits.maxRetainedMessages;
        const count = counts.get(owner) ?? 0;
        if (isFull || count >= limits.maxRetainedMessagesPerClient) return 'too_many_retained';
        disown(topic);
        owners.set(topic, owner);
        counts.set(owner, count + 1);
        return undefined;
      },
    };
  },
};
