import type { Logger } from '../options.ts';
import { logQuietly } from '../refusal.ts';
import type { ClusterSettings } from './options.ts';
import { createStore, type Store } from './redis.ts';

/** Between two tries to reach Redis. */
const RETRY_MS = 250;

/** Looks at whether it answers, in the time it may take. */
const LOOKS = 5;

export interface LinkListener {
  /** What the bus says from `open` on, in order and without a gap as long as one link lasts. */
  bus(data: Buffer): void;
  /** Both connections stand, and the bus is listened to. The link is up when this resolves. */
  open(store: Store): Promise<void>;
  /** It is up no more; nothing that was under way is known to have been done. */
  lost(): void;
}

/** Two connections to Redis, one for commands and one for the bus, that live and end together. */
export interface Link {
  /** @throws LinkAway */
  store(): Store;
  readonly isUp: boolean;
  /** Times it was lost. */
  readonly losses: number;
  /** Ends it as if Redis had; it is tried again. */
  drop(why: string): void;
  /** Resolves when the first try has been made, whatever came of it. */
  start(): Promise<void>;
  close(): void;
}

/** Redis does not answer, and nothing was asked of it. */
export class LinkAway extends Error {}

export function createLink(settings: ClusterSettings, log: Logger, listener: LinkListener): Link {
  const { frozenAfterSeconds, prefix } = settings;
  let current: Store | undefined;
  let end: ((why: string) => void) | undefined;
  let losses = 0;
  let isClosed = false;
  let retry: NodeJS.Timeout | undefined;
  /** The last failure that was logged: one line for each, not one for each try. */
  let logged = '';

  function say(level: 'info' | 'error', line: object, text: string): void {
    try {
      log[level](line, text);
    } catch (error) {
      logQuietly(log, error);
    }
  }

  async function tryOnce(): Promise<void> {
    const store = createStore(settings, 'fleetgate');
    const bus = createStore(settings, 'fleetgate-bus');
    const both = [store, bus];
    let watch: NodeJS.Timeout | undefined;
    let hasEnded = false;
    let isOpening = false;
    let failed: (error: Error) => void = () => {};
    const failure = new Promise<never>((_resolve, reject) => {
      failed = reject;
    });
    failure.catch(() => {});

    function finish(why: string): void {
      if (hasEnded) return;
      hasEnded = true;
      clearInterval(watch);
      const wasUp = current === store;
      current = undefined;
      end = undefined;
      // First, so that what hangs on it finds it away.
      failed(new Error(why));
      for (const one of both) {
        // A socket of TLS may fail once more, and an error that nobody listens to ends the process.
        one.stream?.on('error', () => {});
        one.disconnect();
      }
      if (why !== logged && !isClosed) {
        say(
          'error',
          { event: 'cluster_away', error: why },
          'the Redis of the brokers does not serve this one',
        );
        logged = why;
      }
      if (wasUp) {
        losses += 1;
        listener.lost();
      }
      if (!isClosed) retry = setTimeout(() => void tryOnce(), RETRY_MS);
    }

    end = finish;
    for (const one of both) {
      one.on('error', (error: Error) => finish(describe(error)));
      one.on('close', () => finish('connection lost'));
    }
    bus.on('messageBuffer', (_channel: Buffer, data: Buffer) => {
      if (isOpening && !hasEnded) listener.bus(data);
    });
    try {
      await Promise.race([failure, Promise.all(both.map((one) => one.connect()))]);
      watch = watchdog(both, frozenAfterSeconds * 1000, () => finish('no answer'));
      await Promise.race([failure, bus.subscribe(`${prefix}bus`)]);
      isOpening = true;
      await Promise.race([failure, listener.open(store)]);
      if (hasEnded) return;
      current = store;
      logged = '';
      say('info', { event: 'cluster_joined' }, 'joined the brokers of this Redis');
    } catch (error) {
      finish(describe(error));
    }
  }

  return {
    store() {
      if (current === undefined) throw new LinkAway('Redis is away');
      return current;
    },
    get isUp() {
      return current !== undefined;
    },
    get losses() {
      return losses;
    },
    drop: (why) => end?.(why),
    start: tryOnce,
    close() {
      isClosed = true;
      clearTimeout(retry);
      end?.('closed');
    },
  };
}

/** A frozen Redis gives no error, and its connections stand. */
function watchdog(stores: readonly Store[], patienceMs: number, silent: () => void): NodeJS.Timeout {
  const unanswered = new Map<Store, number>();
  const isSilent = () => {
    const now = performance.now();
    return Array.from(unanswered.values()).some((sinceMs) => now - sinceMs > patienceMs);
  };
  return setInterval(() => {
    if (isSilent()) {
      // It may be this process that stood still, and the answers are waiting to be read.
      setImmediate(() => setImmediate(() => isSilent() && silent()));
      return;
    }
    for (const store of stores) {
      if (unanswered.has(store)) continue;
      unanswered.set(store, performance.now());
      store.ping().then(
        () => unanswered.delete(store),
        () => {},
      );
    }
  }, patienceMs / LOOKS);
}

/** Redis' own words; its commands, which hold what was asked, are not among them. */
function describe(error: unknown): string {
  return error instanceof Error ? error.message.slice(0, 200) : 'error';
}
