import type { VerifiedToken } from '@fleetgate/verifier';
import type { AedesPublishPacket } from 'aedes';
import { createKeptSessions, type KeptSessions } from '../kept-sessions.ts';
import { createFilterTable } from './filter-table.ts';
import { LinkAway } from './link.ts';
import type { Store } from './redis.ts';
import { type BusMessage, decodeMessage } from './wire.ts';

/** Of a hash that is read in pieces. */
const SCAN_COUNT = 1_000;

/**
 * What every broker knows of all sessions that are kept, and of what is retained: read at the start, and then as the bus
 * tells it. It may be some milliseconds behind.
 */
export interface Directory {
  readonly kept: KeptSessions;
  readonly retained: ReadonlyMap<string, AedesPublishPacket>;
  /** Sessions with a filter of QoS 1 or 2 for a topic. */
  match(topic: string): Iterable<string>;
  /** Number of the last message of the bus it has taken in. */
  readonly applied: number;
  /** Reads everything; messages of the bus that come meanwhile are taken in behind it. */
  load(store: Store, prefix: string): Promise<void>;
  /** False when one is missing before it. */
  apply(message: BusMessage): boolean;
  /** What the bus says is not taken in until `load` asks. */
  forget(): void;
  /** Resolves when it has taken in another, and rejects when none will come. */
  next(): Promise<void>;
  /** Nothing comes any more until it is read again. */
  lost(): void;
}

export function createDirectory(onError: (error: unknown) => void): Directory {
  const kept = createKeptSessions();
  const keptIds = new Set<string>();
  const filters = createFilterTable();
  const retained = new Map<string, AedesPublishPacket>();
  let applied = 0;
  /** What the bus said before that is in what was read. */
  let isRead = false;
  /** While it is read. */
  let waiting: BusMessage[] | undefined;
  let told: PromiseWithResolvers<void> = Promise.withResolvers();

  function keep(id: string, token: string): void {
    keptIds.add(id);
    const one = Object.freeze(JSON.parse(token) as VerifiedToken);
    // What was compiled for a token hangs on the object that a session here has.
    if (kept.get(id)?.tokenId !== one.tokenId) kept.keep(id, one);
  }

  function setFilter(id: string, filter: string, qos: number): void {
    if (qos > 0) filters.add(filter, id);
    else filters.remove(filter, id);
  }

  function setRetained(body: Buffer, isOwn: boolean): void {
    const { topic, payload, qos } = decodeMessage(body);
    if (payload.length === 0) {
      retained.delete(topic);
      return;
    }
    // What came in one read of the socket is one piece of memory.
    const own = isOwn ? payload : Buffer.from(payload);
    retained.set(topic, { cmd: 'publish', topic, payload: own, qos, retain: true, dup: false } as never);
  }

  function take(message: BusMessage): void {
    switch (message.kind) {
      case 'message':
        if (((message.body[0] ?? 0) & 0b100) !== 0) setRetained(message.body, false);
        break;
      case 'filters':
        for (const [filter, qos] of message.filters) setFilter(message.id, filter, qos);
        break;
      case 'kept':
        keep(message.id, message.token);
        break;
      case 'forgotten':
        keptIds.delete(message.id);
        kept.forget(message.id);
        filters.forget(message.id);
        break;
    }
  }

  function apply(message: BusMessage): boolean {
    if (waiting !== undefined) {
      waiting.push(message);
      return true;
    }
    if (!isRead) return true;
    if (message.seq <= applied) return true;
    if (message.seq !== applied + 1) return false;
    try {
      take(message);
    } catch (error) {
      onError(error);
    }
    applied = message.seq;
    const { resolve } = told;
    told = Promise.withResolvers();
    resolve();
    return true;
  }

  async function* scan(store: Store, key: string): AsyncGenerator<readonly [Buffer, Buffer][]> {
    let cursor = '0';
    do {
      const [next, flat] = await store.hscanBuffer(key, cursor, 'COUNT', SCAN_COUNT);
      const pairs: [Buffer, Buffer][] = [];
      for (let at = 0; at + 1 < flat.length; at += 2)
        pairs.push([flat[at] as Buffer, flat[at + 1] as Buffer]);
      yield pairs;
      cursor = next.toString();
    } while (cursor !== '0');
  }

  return {
    kept,
    retained,
    match: (topic) => filters.match(topic),
    get applied() {
      return applied;
    },
    async load(store, prefix) {
      waiting = [];
      for (const id of keptIds) kept.forget(id);
      keptIds.clear();
      filters.clear();
      retained.clear();
      const start = Number((await store.get(`${prefix}seq`)) ?? 0);
      for await (const pairs of scan(store, `${prefix}kept`)) {
        const ids = pairs.map(([id]) => id.toString());
        for (const [at, [, token]] of pairs.entries()) keep(ids[at] as string, token.toString());
        const all = await Promise.all(ids.map((id) => store.hgetall(`${prefix}subs:${id}`)));
        for (const [at, subscriptions] of all.entries()) {
          for (const [filter, qos] of Object.entries(subscriptions)) {
            setFilter(ids[at] as string, filter, Number(qos));
          }
        }
      }
      for await (const pairs of scan(store, `${prefix}retained`)) {
        for (const [, body] of pairs) setRetained(body, true);
      }
      const missed = waiting;
      waiting = undefined;
      applied = start;
      isRead = true;
      for (const message of missed) {
        if (!apply(message)) throw new Error('the bus has a gap');
      }
    },
    apply,
    forget() {
      isRead = false;
      waiting = undefined;
    },
    next: () => told.promise,
    lost() {
      const { promise, reject } = told;
      promise.catch(() => {});
      told = Promise.withResolvers();
      reject(new LinkAway('Redis is away'));
    },
  };
}
