import { Readable } from 'node:stream';
import { matches } from '@fleetgate/shared';
import type { AedesPublishPacket } from 'aedes';
import { logQuietly } from '../refusal.ts';
import type { Guard } from './guard.ts';
import type { HostClient, HostPersistence } from './host.ts';

/** Comparisons of a topic with a filter in one turn of the event loop: some three milliseconds. */
const COMPARISONS_PER_TURN = 25_600;

/** Gives what is retained and matches one of `filters`, each once; ends early when `isOver` says so. */
type Search = (filters: ReadonlySet<string>, isOver: () => boolean) => AsyncGenerator<AedesPublishPacket>;

/**
 * Retained messages are looked up in turns, a filter without wildcards directly, and of one client one look-up after the
 * other: what it asks for meanwhile is one more, for all of that. The host goes through all messages for each filter,
 * also one named twice, in one go, and for every SUBSCRIBE at once: a long one stops it for seconds, and a hundred in
 * one segment for minutes. A persistence of the user's own is asked for one filter after the other, each once.
 */
export const retainedLookUp: Guard = {
  name: 'looking up retained messages stops nothing',
  install({ broker, limits, log }) {
    const { persistence, opts } = broker;
    const search = searchOf(persistence, opts.persistence === undefined);
    const running = new WeakMap<object, LookUp>();
    let asking: HostClient | undefined;
    // The host says so, and asks the persistence in the same go.
    broker.on('subscribe', (_subscriptions: unknown, client: HostClient) => {
      asking = client;
      queueMicrotask(() => {
        asking = undefined;
      });
    });

    function begin(client: HostClient, filters: Set<string>): AsyncGenerator<AedesPublishPacket> {
      const mine: LookUp = { next: filters };
      // Now: what is below runs when it is first read.
      running.set(client, mine);
      return lookUp(client, mine);
    }

    async function* lookUp(client: HostClient, mine: LookUp): AsyncGenerator<AedesPublishPacket> {
      try {
        while (mine.next.size > 0 && !client.closed) {
          const current = mine.next;
          mine.next = new Set();
          yield* search(current, () => client.closed);
        }
      } finally {
        running.delete(client);
      }
    }

    function queue({ next }: LookUp, { subscriptions }: HostClient, filters: readonly string[]): void {
      for (const filter of filters) next.add(filter);
      if (next.size <= limits.maxSubscriptionsPerClient) return;
      for (const filter of next) if (subscriptions[filter] === undefined) next.delete(filter);
    }

    persistence.createRetainedStreamCombi = (filters) => {
      const client = asking;
      const before = client && running.get(client);
      if (client !== undefined && before !== undefined) {
        queue(before, client, filters);
        return Readable.from([]);
      }
      const all = new Set(filters);
      const found = client === undefined ? search(all, () => false) : begin(client, all);
      // The host listens to no error of it.
      return Readable.from(found).on('error', (error) => logQuietly(log, error));
    };
    return undefined;
  },
};

/** Of one client. */
interface LookUp {
  /** What is to be looked up when the current one is done. */
  next: Set<string>;
}

function searchOf(persistence: HostPersistence, isOwn: boolean): Search {
  if (isOwn) return searchOfMap(followRetained(persistence));
  return persistence.retained === undefined ? searchOfStore(persistence) : searchOfMap(persistence.retained);
}

function followRetained(persistence: HostPersistence): ReadonlyMap<string, AedesPublishPacket> {
  const kept = new Map<string, AedesPublishPacket>();
  const { storeRetained } = persistence;
  persistence.storeRetained = async (packet) => {
    const { topic, payload } = packet;
    if (payload.length === 0) kept.delete(topic);
    else kept.set(topic, Object.assign({}, packet));
    await storeRetained.call(persistence, packet);
  };
  return kept;
}

function searchOfMap(kept: ReadonlyMap<string, AedesPublishPacket>): Search {
  const turn = createTurns();

  return async function* (filters, isOver) {
    const wild: string[] = [];
    const named = new Set<string>();
    for (const filter of filters) {
      if (filter.includes('+') || filter.includes('#')) wild.push(filter);
      else if (kept.has(filter)) named.add(filter);
    }
    for (const topic of named) {
      const packet = kept.get(topic);
      if (packet !== undefined) yield packet;
    }
    if (wild.length === 0) return;
    const all = kept.entries();
    for (let isDone = false; !isDone; ) {
      await turn();
      if (isOver()) return;
      const found: AedesPublishPacket[] = [];
      for (let compared = 0; compared < COMPARISONS_PER_TURN; compared += wild.length) {
        const { value, done } = all.next();
        isDone = done === true;
        if (value === undefined) break;
        const [topic, packet] = value;
        // [MQTT-3.3.1-6]: one that several filters match once, as the host sends it for each, is enough.
        if (!named.has(topic) && wild.some((filter) => matches(filter, topic))) found.push(packet);
      }
      yield* found;
    }
  };
}

function searchOfStore(persistence: HostPersistence): Search {
  const { createRetainedStreamCombi } = persistence;
  const turn = createTurns();
  return async function* (filters, isOver) {
    for (const filter of filters) {
      await turn();
      if (isOver()) return;
      yield* createRetainedStreamCombi.call(persistence, [filter]);
    }
  };
}

/** One of those who wait goes on in each turn of the event loop, in the order they came. */
function createTurns(): () => Promise<void> {
  const waiting: (() => void)[] = [];
  let isScheduled = false;

  function schedule(): void {
    if (isScheduled || waiting.length === 0) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      waiting.shift()?.();
      schedule();
    });
  }

  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      schedule();
    });
}
