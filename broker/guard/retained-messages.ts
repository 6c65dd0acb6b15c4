import { clientKey } from '../client-key.ts';
import type { Guard } from './guard.ts';

/**
 * Retained messages are bounded, of one client by number and bytes, and in all by number. What is to be kept takes room as
 * soon as it is allowed, or those behind it in one go would all find the same place; and gives room only by what the store
 * is told, since what is allowed may never come there, as a repetition of a QoS 2 message does not. A persistence of the
 * user's own is not counted: what it brings along from before has no owner.
 */
export const retainedMessages: Guard = {
  name: 'retained messages are bounded',
  install({ broker: { persistence, opts }, limits, sessions }) {
    if (opts.persistence !== undefined) return undefined;
    const { storeRetained } = persistence;
    const places = createPlaces();

    persistence.storeRetained = (packet) => {
      const { topic, payload } = packet;
      const place = places.of(topic);
      if (payload.length === 0) places.clear(topic);
      else if (place !== undefined) places.take(topic, place.owner, bytesOf(topic, payload.length));
      return storeRetained.call(persistence, packet);
    };

    return {
      retain(client, topic, payloadBytes) {
        if (payloadBytes === 0) return undefined;
        const session = sessions.byClient.get(client);
        if (session === undefined) return 'not_authenticated';
        const owner = clientKey(session.principal);
        const before = places.of(topic);
        const own = before?.owner === owner ? before : undefined;
        const used = places.usedBy(owner);
        // A smaller one in its place gives room when it is there.
        const bytes = Math.max(before?.bytes ?? 0, bytesOf(topic, payloadBytes));
        if (
          (before === undefined && places.size >= limits.maxRetainedMessages) ||
          (own === undefined && used.messages >= limits.maxRetainedMessagesPerClient) ||
          used.bytes - (own?.bytes ?? 0) + bytes > limits.maxRetainedBytesPerClient
        ) {
          return 'too_many_retained';
        }
        places.take(topic, owner, bytes);
        return undefined;
      },
    };
  },
};

function bytesOf(topic: string, payloadBytes: number): number {
  return topic.length + payloadBytes;
}

interface Place {
  /** Of a client, whatever its MQTT client id. */
  readonly owner: string;
  readonly bytes: number;
}

interface Use {
  readonly messages: number;
  readonly bytes: number;
}

const nothing: Use = Object.freeze({ messages: 0, bytes: 0 });

/** Whose message each topic keeps, and what each owner has of them. */
function createPlaces() {
  const byTopic = new Map<string, Place>();
  const byOwner = new Map<string, Use>();

  function add(owner: string, messages: number, bytes: number): void {
    const used = byOwner.get(owner) ?? nothing;
    const left = { messages: used.messages + messages, bytes: used.bytes + bytes };
    if (left.messages > 0) byOwner.set(owner, left);
    else byOwner.delete(owner);
  }

  function clear(topic: string): void {
    const place = byTopic.get(topic);
    if (place === undefined) return;
    byTopic.delete(topic);
    add(place.owner, -1, -place.bytes);
  }

  return {
    get size() {
      return byTopic.size;
    },
    of: (topic: string) => byTopic.get(topic),
    usedBy: (owner: string) => byOwner.get(owner) ?? nothing,
    take(topic: string, owner: string, bytes: number) {
      clear(topic);
      byTopic.set(topic, { owner, bytes });
      add(owner, 1, bytes);
    },
    clear,
  };
}
