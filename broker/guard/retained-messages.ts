import { Readable } from 'node:stream';
import { matches } from '@fleetgate/shared';
import type { AedesPublishPacket } from 'aedes';
import { logQuietly } from '../refusal.ts';
import type { Guard } from './guard.ts';

/** Topics looked at in one turn of the event loop: with a hundred filters some three milliseconds. */
const TOPICS_PER_TURN = 256;

/**
 * Retained messages are bounded, of one client and in all, and looked up once for a SUBSCRIBE, a filter without
 * wildcards directly, with pauses for others. The host goes through all of them for each filter, also one named
 * twice, in one go: with many of either it stops for seconds. A persistence of the user's own is
 * asked for one filter after the other, each once.
 */
export const retainedMessages: Guard = {
  name: 'retained messages are bounded, and looking them up stops nothing',
  install({ broker: { persistence, opts }, limits, log }) {
    const { createRetainedStreamCombi, storeRetained } = persistence;
    if (opts.persistence !== undefined) {
      const inTurns = async function* (filters: ReadonlySet<string>) {
        for (const filter of filters) {
          yield* createRetainedStreamCombi.call(persistence, [filter]);
          await new Promise(setImmediate);
        }
      };
      persistence.createRetainedStreamCombi = (filters) =>
        // The host listens to no error of it.
        Readable.from(inTurns(new Set(filters))).on('error', (error) => logQuietly(log, error));
      return undefined;
    }

    const kept = new Map<string, AedesPublishPacket>();
    /** Whose message each topic keeps, as soon as it is allowed: those behind it in one go are counted with it. */
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

    persistence.storeRetained = async (packet) => {
      const { topic, payload } = packet;
      if (payload.length === 0) kept.delete(topic);
      else kept.set(topic, Object.assign({}, packet));
      await storeRetained.call(persistence, packet);
    };
    persistence.createRetainedStreamCombi = (filters) => Readable.from(lookUp(kept, new Set(filters)));

    return {
      retain({ id }, topic, bytes) {
        if (bytes === 0) disown(topic);
        if (bytes === 0 || owners.get(topic) === id) return undefined;
        const isFull = !owners.has(topic) && owners.size >= limits.maxRetainedMessages;
        const count = counts.get(id) ?? 0;
        if (isFull || count >= limits.maxRetainedMessagesPerClient) return 'too_many_retained';
        disown(topic);
        owners.set(topic, id);
        counts.set(id, count + 1);
        return undefined;
      },
    };
  },
};

async function* lookUp(
  kept: ReadonlyMap<string, AedesPublishPacket>,
  filters: ReadonlySet<string>,
): AsyncGenerator<AedesPublishPacket> {
  const wild: string[] = [];
  const found = new Set<string>();
  for (const filter of filters) {
    if (filter.includes('+') || filter.includes('#')) wild.push(filter);
    else if (kept.has(filter)) found.add(filter);
  }
  for (const topic of found) {
    const packet = kept.get(topic);
    if (packet !== undefined) yield packet;
  }
  if (wild.length === 0) return;
  let looked = 0;
  for (const [topic, packet] of kept) {
    looked += 1;
    if (looked % TOPICS_PER_TURN === 0) await new Promise(setImmediate);
    // [MQTT-3.3.1-6]: one that several filters match once, as the host sends it for each, is enough.
    if (!found.has(topic) && wild.some((filter) => matches(filter, topic))) yield packet;
  }
}
