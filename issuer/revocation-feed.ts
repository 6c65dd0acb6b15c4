import type { Logger } from 'pino';
import type { Registry } from './registry/registry.ts';
import { repeat } from './repeat.ts';
import type { RecordedRevocation } from './revocation.ts';

/**
 * Between two looks for revocations that another process on the same database has made. A revocation is to be known
 * everywhere within a second.
 */
const POLL_INTERVAL_MS = 500;

/** Between two times that expired revocations are forgotten. Ours: they do no harm but take up room. */
const PRUNE_INTERVAL_MS = 600_000;

/** Revocations read at once, and the most that wait for one reader. Ours: some tens of kilobytes as events. */
const BATCH_REVOCATIONS = 200;

export interface RevocationBatch {
  /** In the order they were made; empty where there was none to begin with. */
  readonly revocations: readonly RecordedRevocation[];
  /** Whether these were all there are by now. */
  readonly isCurrent: boolean;
}

/** How far a subscriber's knowledge goes. */
export interface SubscriptionState {
  /** All that was revoked so far has been told, and what is revoked will be told as it happens. */
  current?(): void;
  /** The registry cannot be read: what is revoked from now on is not told until it is `current` again. */
  away?(): void;
}

/** Where revocations are told as they are made, by this process or another on the same database. */
export interface RevocationFeed {
  /**
   * Tells `listener` each revocation that has not expired, then each as it is made. One may be told twice. Begins
   * after this call has returned; what it gives back ends it.
   */
  subscribe(listener: (revocation: RecordedRevocation) => void, state?: SubscriptionState): () => void;
  /**
   * The same for one reader at its own pace, those after cursor `after` only. Waits at the end for more; ends when
   * `signal` says so or the feed is closed.
   * @throws FleetgateError `registry_unavailable`
   */
  follow(options: {
    readonly after?: string | undefined;
    readonly signal: AbortSignal;
  }): AsyncGenerator<RevocationBatch>;
  /** Readers that {@link follow} at the moment. */
  readers(): number;
  /** Says that there may be new ones. */
  wake(): void;
  close(): Promise<void>;
}

export interface RevocationFeedContext {
  readonly registry: Registry;
  readonly now: () => number;
  readonly log?: Logger | undefined;
}

/** Opens the feed. Readers share being woken, and what those at one place read; each reads on from where it is. */
export function openRevocationFeed({ registry, now, log }: RevocationFeedContext): RevocationFeed {
  const alarm = createAlarm();
  const nowSeconds = () => Math.floor(now() / 1000);
  let seen: number | undefined;
  let isClosed = false;
  let readers = 0;
  const underWay = new Map<string, Promise<RecordedRevocation[]>>();

  const listAfter = (after: string | undefined) =>
    registry.listRevocations({ after, nowSeconds: nowSeconds(), limit: BATCH_REVOCATIONS });

  /** The same, asked for once by all at one place that the same alarm has woken: none is older than that. */
  function listTogether(after: string | undefined, rung: number): Promise<RecordedRevocation[]> {
    const key = `${rung} ${after ?? ''}`;
    const known = underWay.get(key);
    if (known !== undefined) return known;
    const asked = listAfter(after).finally(() => underWay.delete(key));
    underWay.set(key, asked);
    return asked;
  }

  const stopListening = registry.onOtherRevocations(() => alarm.ring());
  const stopPolling = repeat(POLL_INTERVAL_MS, async () => {
    try {
      const mark = await registry.revocationMark();
      if (mark !== seen) alarm.ring();
      seen = mark;
    } catch {
      // Readers find out for themselves, and when it is over.
      seen = undefined;
      alarm.ring();
    }
  });
  const stopPruning = repeat(PRUNE_INTERVAL_MS, async () => {
    try {
      let pruned = 1;
      while (pruned > 0 && !isClosed) pruned = await registry.pruneRevocations(nowSeconds());
    } catch (error) {
      log?.warn(
        { event: 'revocations_not_pruned', err: error },
        'expired revocations could not be forgotten',
      );
    }
  });

  async function* readOn({ after, signal }: { after?: string | undefined; signal: AbortSignal }) {
    let cursor = after;
    let wasCurrent = false;
    while (!signal.aborted && !isClosed) {
      const rung = alarm.count();
      const revocations: readonly RecordedRevocation[] = await (wasCurrent
        ? listTogether(cursor, rung)
        : listAfter(cursor));
      const isCurrent = revocations.length < BATCH_REVOCATIONS;
      cursor = revocations.at(-1)?.cursor ?? cursor;
      if (revocations.length > 0 || isCurrent !== wasCurrent) yield { revocations, isCurrent };
      wasCurrent = isCurrent;
      if (isCurrent) await alarm.after(rung, signal);
    }
  }

  async function* follow(from: { after?: string | undefined; signal: AbortSignal }) {
    readers += 1;
    try {
      yield* readOn(from);
    } finally {
      readers -= 1;
    }
  }

  // A listener that throws must not keep others, or the next revocation, from being told.
  function quietly(act: () => void): void {
    try {
      act();
    } catch (error) {
      log?.error({ event: 'subscriber_failed', err: error }, 'a subscriber of revocations failed');
    }
  }

  async function tell(
    listener: (revocation: RecordedRevocation) => void,
    state: SubscriptionState,
    signal: AbortSignal,
  ): Promise<void> {
    let after: string | undefined;
    let wasCurrent: boolean | undefined;
    while (!signal.aborted && !isClosed) {
      const rung = alarm.count();
      try {
        for await (const { revocations, isCurrent } of readOn({ after, signal })) {
          for (const revocation of revocations) if (!signal.aborted) quietly(() => listener(revocation));
          after = revocations.at(-1)?.cursor ?? after;
          if (isCurrent && wasCurrent !== true && !signal.aborted) {
            wasCurrent = true;
            quietly(() => state.current?.());
          }
        }
      } catch (error) {
        if (wasCurrent !== false) {
          wasCurrent = false;
          log?.warn({ event: 'revocations_unavailable', err: error }, 'revocations cannot be read');
          quietly(() => state.away?.());
        }
        await alarm.after(rung, signal);
      }
    }
  }

  return {
    subscribe(listener, state = {}) {
      const ending = new AbortController();
      setImmediate(() => void tell(listener, state, ending.signal));
      return () => ending.abort();
    },
    follow,
    readers: () => readers,
    wake: () => alarm.ring(),
    async close() {
      isClosed = true;
      stopListening();
      alarm.ring();
      await Promise.all([stopPolling(), stopPruning()]);
    },
  };
}

/** Wakes whoever waits, and whoever has read before it rang and waits only now. */
function createAlarm() {
  const waiting = new Set<() => void>();
  let count = 0;
  return {
    count: () => count,
    ring() {
      count += 1;
      for (const wake of waiting) wake();
    },
    /** Settles when it has rung since it had rung `rung` times, or when `signal` says so. */
    after(rung: number, signal: AbortSignal): Promise<void> {
      if (count !== rung || signal.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const wake = () => {
          waiting.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        waiting.add(wake);
        signal.addEventListener('abort', wake);
      });
    },
  };
}
