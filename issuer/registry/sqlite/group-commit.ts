import { FleetgateError } from '@fleetgate/shared';
import { asRegistryError, type Database } from './database.ts';

/** Acts in one transaction. Ours: a full batch holds the event loop for about 10 ms. */
const MAX_BATCH_ACTS = 1000;

/** Acts that may wait. Ours: some seconds of work at full speed; who comes later is told to come back. */
const MAX_WAITING_ACTS = 20_000;

export interface GroupCommit {
  /**
   * Runs a synchronous act in the next shared transaction; the promise settles after its commit. An act that throws
   * is undone alone and harms no other.
   * @throws FleetgateError `registry_unavailable` when the transaction fails, too many acts wait or it was closed
   */
  run<T>(act: () => T): Promise<T>;
  /** Finishes the acts that wait; later ones are rejected. */
  close(): void;
}

export interface GroupCommitOptions {
  readonly maxWaitingActs?: number;
  /** Called before an act that may find the database in another state than the act before left it in. */
  readonly onOtherState?: () => void;
}

interface Waiting {
  readonly act: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

type Outcome = { readonly value: unknown } | { readonly error: unknown };

/**
 * Shares one durable commit among all acts that came in while the one before was written: one fsync for many acts is
 * what makes durability cheap.
 */
export function groupCommit(
  database: Database,
  { maxWaitingActs = MAX_WAITING_ACTS, onOtherState }: GroupCommitOptions = {},
): GroupCommit {
  const begin = database.prepare('BEGIN IMMEDIATE');
  const commit = database.prepare('COMMIT');
  const rollback = database.prepare('ROLLBACK');
  const savepoint = database.prepare('SAVEPOINT act');
  const release = database.prepare('RELEASE act');
  const rollbackTo = database.prepare('ROLLBACK TO act');
  let waiting: Waiting[] = [];
  let isClosed = false;

  function flush(): void {
    const batch = waiting.slice(0, MAX_BATCH_ACTS);
    waiting = waiting.slice(MAX_BATCH_ACTS);
    if (waiting.length > 0) setImmediate(flush);
    if (batch.length > 0) settle(batch, commitTogether(batch));
  }

  function commitTogether(batch: readonly Waiting[]): Outcome[] {
    try {
      begin.run();
      onOtherState?.();
      const outcomes = batch.map(({ act }) => attempt(act));
      commit.run();
      return outcomes;
    } catch (error) {
      undo();
      return batch.map(() => ({ error: asRegistryError(error) }));
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
        waiting.push({ act, resolve: resolve as (value: unknown) => void, reject });
      });
    },
    close() {
      isClosed = true;
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
