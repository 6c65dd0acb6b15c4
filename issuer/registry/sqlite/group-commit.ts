import { FleetgateError } from '@fleetgate/shared';
import type { RegistryLoad } from '../registry.ts';
import { asRegistryError, type Database, isFault, isLocked } from './database.ts';

/** Acts in one transaction. Ours: a full batch holds the event loop for about 10 ms. */
const MAX_BATCH_ACTS = 1000;

/** Acts that may wait. Ours: some seconds of work at full speed; who comes later is told to come back. */
const MAX_WAITING_ACTS = 20_000;

/** How long an act waits for a lock that another process holds. Ours: far longer than a commit takes. */
const MAX_LOCK_WAIT_MS = 1000;

/** Between two tries to take it; the event loop goes on meanwhile. */
const LOCK_RETRY_MS = 10;

export interface GroupCommit {
  /**
   * Runs a synchronous act in the next shared transaction; the promise settles after its commit. An act that throws
   * is undone alone and harms no other.
   * @throws FleetgateError `registry_unavailable` when the transaction fails, too many acts wait or it was closed
   */
  run<T>(act: () => T): Promise<T>;
  /** Whether the last thing that was written, was not: no room, no right, a lock, a damaged file. */
  isFailing(): boolean;
  load(): RegistryLoad;
  /** Finishes the acts that wait; later ones are rejected. */
  close(): void;
}

export interface GroupCommitOptions {
  readonly maxWaitingActs?: number;
  /** Called before a transaction begins. */
  readonly onBegin?: () => void;
  /** Called before an act that may find the database in another state than the act before left it in. */
  readonly onOtherState?: () => void;
  readonly monotonicMs?: () => number;
}

interface Waiting {
  readonly act: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly sinceMs: number;
}

type Outcome = { readonly value: unknown } | { readonly error: unknown };

/**
 * Shares one durable commit among all acts that came in while the one before was written: one fsync for many acts is
 * what makes durability cheap.
 */
export function groupCommit(
  database: Database,
  {
    maxWaitingActs = MAX_WAITING_ACTS,
    onBegin,
    onOtherState,
    monotonicMs = () => performance.now(),
  }: GroupCommitOptions = {},
): GroupCommit {
  const begin = database.prepare('BEGIN IMMEDIATE');
  const commit = database.prepare('COMMIT');
  const rollback = database.prepare('ROLLBACK');
  const savepoint = database.prepare('SAVEPOINT act');
  const release = database.prepare('RELEASE act');
  const rollbackTo = database.prepare('ROLLBACK TO act');
  let waiting: Waiting[] = [];
  let isClosed = false;
  let hasFailed = false;
  let commits = 0;
  let acts = 0;

  function flush(): void {
    if (waiting.length === 0) return;
    const lock = takeLock();
    if (lock !== 'taken' && isLocked(lock.error) && !isClosed) {
      waitForLock(lock.error);
      return;
    }
    const batch = waiting.slice(0, MAX_BATCH_ACTS);
    waiting = waiting.slice(MAX_BATCH_ACTS);
    if (waiting.length > 0 && !isClosed) setImmediate(flush);
    settle(batch, lock === 'taken' ? commitTogether(batch) : fail(batch, lock.error));
  }

  function takeLock(): 'taken' | { readonly error: unknown } {
    try {
      onBegin?.();
      begin.run();
      return 'taken';
    } catch (error) {
      return { error };
    }
  }

  /** Who has waited long enough is refused; the others go on waiting, and nothing else waits for them. */
  function waitForLock(error: unknown): void {
    const nowMs = monotonicMs();
    const patient = waiting.findIndex(({ sinceMs }) => nowMs - sinceMs < MAX_LOCK_WAIT_MS);
    const expired = waiting.slice(0, patient === -1 ? waiting.length : patient);
    waiting = waiting.slice(expired.length);
    if (waiting.length > 0) setTimeout(flush, LOCK_RETRY_MS);
    if (expired.length > 0) settle(expired, fail(expired, error));
  }

  function fail(batch: readonly Waiting[], error: unknown): Outcome[] {
    hasFailed = true;
    return batch.map(() => ({ error: asRegistryError(error) }));
  }

  function commitTogether(batch: readonly Waiting[]): Outcome[] {
    try {
      onOtherState?.();
      hasFailed = false;
      const outcomes = batch.map(({ act }) => attempt(act));
      commit.run();
      commits += 1;
      acts += batch.length;
      return outcomes;
    } catch (error) {
      undo();
      return fail(batch, error);
    }
  }

  function undo(): void {
    try {
      if (database.inTransaction) rollback.run();
    } catch {
      // The next BEGIN fails then, and with it its batch: nothing is answered as done that is not.
    }
  }

  function attempt(act: () => unknown): Outcome {
    savepoint.run();
    try {
      const value = act();
      release.run();
      return { value };
    } catch (error) {
      // On a full disk and the like SQLite ends the whole transaction: then the whole batch has failed.
      if (!database.inTransaction) throw error;
      rollbackTo.run();
      release.run();
      onOtherState?.();
      if (isFault(error)) hasFailed = true;
      return { error: asRegistryError(error) };
    }
  }

  function unavailable(message: string): Promise<never> {
    return Promise.reject(new FleetgateError('registry_unavailable', message));
  }

  return {
    run<T>(act: () => T): Promise<T> {
      if (isClosed) return unavailable('the registry is closed');
      if (waiting.length >= maxWaitingActs) return unavailable('too many acts wait for the registry');
      if (waiting.length === 0) setImmediate(flush);
      return new Promise<T>((resolve, reject) => {
        waiting.push({
          act,
          resolve: resolve as (value: unknown) => void,
          reject,
          sinceMs: monotonicMs(),
        });
      });
    },
    isFailing: () => hasFailed,
    load: () => ({ waitingActs: waiting.length, commits, acts }),
    close() {
      isClosed = true;
      if (waiting.length > 0) database.pragma(`busy_timeout = ${MAX_LOCK_WAIT_MS}`);
      while (waiting.length > 0) flush();
    },
  };
}

function settle(batch: readonly Waiting[], outcomes: readonly Outcome[]): void {
  batch.forEach(({ resolve, reject }, index) => {
    const outcome = outcomes[index] as Outcome;
    if ('error' in outcome) reject(outcome.error);
    else resolve(outcome.value);
  });
}
