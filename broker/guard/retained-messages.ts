import type { Principal } from '../authorization/decide.ts';
import { clientKey } from '../client-key.ts';
import type { Guard } from './guard.ts';

/**
 * Retained messages are bounded, of one client by number and bytes, and in all by number. What is to be kept takes room as
 * soon as it is allowed, or those behind it in one go would all find the same place; and gives room only by what the store
 * is told, since what is allowed may never come there, as a repetition of a QoS 2 message does not. The host stores in
 * another order than it asks: whose place was cleared meanwhile needs one again. A persistence of the user's own is not
 * counted: what it brings along from before has no owner.
 */
export const retainedMessages: Guard = {
  name: 'retained messages are bounded',
  install({ broker: { persistence, opts }, limits, report, sessions }) {
    if (opts.persistence !== undefined) return undefined;
    const { storeRetained } = persistence;
    const places = createPlaces();
    /** Who published what was allowed and may still be on its way, by payload. */
    const publishers = new WeakMap<object, Principal>();

    function hasRoom(owner: string, topic: string, bytes: number): boolean {
      const before = places.of(topic);
      const own = before?.owner === owner ? before : undefined;
      const used = places.usedBy(owner);
      return (
        (before !== undefined || places.size < limits.maxRetainedMessages) &&
        (own !== undefined || used.messages < limits.maxRetainedMessagesPerClient) &&
        used.bytes - (own?.bytes ?? 0) + bytes <= limits.maxRetainedBytesPerClient
      );
    }

    persistence.storeRetained = (packet) => {
      const { topic, payload } = packet;
      const place = places.of(topic);
      const bytes = bytesOf(topic, payload.length);
      const publisher = publishers.get(payload as Buffer);
      const owner = publisher === undefined ? place?.owner : clientKey(publisher);
      if (payload.length === 0) {
        places.clear(topic);
      } else if (owner !== undefined) {
        if (place?.owner !== owner && !hasRoom(owner, topic, bytes)) {
          report({ action: 'publish', reason: 'too_many_retained', clientId: publisher?.clientId, topic });
          return Promise.resolve();
        }
        places.take(topic, owner, bytes);
      }
      return storeRetained.call(persistence, packet);
    };

    return {
      retain(client, { topic, payload }) {
        const payloadBytes =
          typeof payload === 'string' ? Buffer.byteLength(payload) : (payload?.length ?? 0);
        if (payloadBytes === 0) return undefined;
        const session = sessions.byClient.get(client);
        if (session === undefined) return 'not_authenticated';
        const { principal } = session;
        const owner = clientKey(principal);
        // A smaller one in its place gives room when it is there.
        const bytes = Math.max(places.of(topic)?.bytes ?? 0, bytesOf(topic, payloadBytes));
        if (!hasRoom(owner, topic, bytes)) return 'too_many_retained';
        places.take(topic, owner, bytes);
        if (typeof payload === 'object' && payload !== null) publishers.set(payload, principal);
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
