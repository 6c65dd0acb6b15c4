import { createDeadlines, type Deadline, type DeadlinesOptions } from '../deadlines.ts';
import type { TokenActivity } from './introspection.ts';

/** Questions in flight: with 50 ms each, ten thousand sessions are through in a minute. */
const MAX_CONCURRENT = 8;

export interface TokenWatch {
  /** Calls `onInactive` once the token is; the function that is returned ends it before. */
  watch(tokenText: string, onInactive: () => void): () => void;
  /** Tokens that are watched. */
  readonly size: number;
  close(): void;
}

interface Watch {
  readonly tokenText: string;
  /** Of one session each. */
  readonly listeners: Set<() => void>;
  deadline?: Deadline;
}

export interface TokenWatchOptions {
  /** Never rejects. */
  readonly check: (tokenText: string) => Promise<TokenActivity>;
  readonly intervalMs: number;
  readonly deadlines: DeadlinesOptions;
}

/** Asks about each token that is watched at once and then every interval; a token watched twice is asked about once. */
export function createTokenWatch({
  check,
  intervalMs,
  deadlines: deadlinesOptions,
}: TokenWatchOptions): TokenWatch {
  const { now, onError } = deadlinesOptions;
  const deadlines = createDeadlines(deadlinesOptions);
  const watches = new Map<string, Watch>();
  const due = new Set<Watch>();
  let running = 0;

  function watch(tokenText: string, onInactive: () => void): () => void {
    let found = watches.get(tokenText);
    if (found === undefined) {
      found = { tokenText, listeners: new Set() };
      watches.set(tokenText, found);
      due.add(found);
    }
    const watched = found;
    // A function of its own, so that one given twice is called twice.
    const listener = () => onInactive();
    watched.listeners.add(listener);
    pump();
    return () => {
      watched.listeners.delete(listener);
      if (watched.listeners.size === 0) forget(watched);
    };
  }

  function forget(watch: Watch): void {
    deadlines.cancel(watch.deadline);
    due.delete(watch);
    if (watches.get(watch.tokenText) === watch) watches.delete(watch.tokenText);
  }

  function pump(): void {
    for (const watch of due) {
      if (running >= MAX_CONCURRENT) return;
      due.delete(watch);
      poll(watch).catch(onError);
    }
  }

  async function poll(watch: Watch): Promise<void> {
    running += 1;
    const activity = await check(watch.tokenText);
    running -= 1;
    if (watches.get(watch.tokenText) === watch) {
      if (activity === 'inactive') end(watch);
      else watch.deadline = deadlines.add(now() + intervalMs, enqueue, watch);
    }
    pump();
  }

  function enqueue(watch: Watch): void {
    due.add(watch);
    pump();
  }

  function end(watch: Watch): void {
    forget(watch);
    for (const listener of watch.listeners) {
      try {
        listener();
      } catch (error) {
        onError(error);
      }
    }
  }

  return {
    watch,
    get size() {
      return watches.size;
    },
    close() {
      deadlines.close();
      watches.clear();
      due.clear();
    },
  };
}
