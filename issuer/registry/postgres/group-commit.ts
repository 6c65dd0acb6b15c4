import { FleetgateError } from '@fleetgate/shared';
import type pg from 'pg';
import type { Act } from '../acts/statement.ts';
import type { RegistryLoad } from '../registry.ts';
import type { AuditJournal } from './audit-journal.ts';
import { asRegistryError, isOfOneAct } from './connection.ts';
import { runAct } from './run-act.ts';

/** Acts in one transaction. Ours: other issuers wait for their turn meanwhile. */
const MAX_BATCH_ACTS = 500;

/** Acts that may wait. Ours: some seconds of work at full speed; who comes later is told to come back. */
const MAX_WAITING_ACTS = 20_000;

/** Does what several acts of one kind ask for by few statements, in the transaction that is open. */
export type Together<Input, T> = (client: pg.ClientBase, inputs: readonly Input[]) => Promise<readonly T[]>;

export interface GroupCommit {
  /**
   * Runs an act in the next shared transaction; the promise settles after its commit. An act that fails is undone alone
   * and harms no other: the others are run again.
   * @throws FleetgateError `registry_unavailable` when the transaction fails, too many acts wait or it was closed
   */
  run<T>(act: () => Act<T>): Promise<T>;
  /** The same of an act that is done together with others that stand beside it. */
  runTogether<Input, T>(together: Together<Input, T>, input: Input): Promise<T>;
  /** Whether the last transaction failed. */
  isFailing(): boolean;
  load(): RegistryLoad;
  /** Finishes the acts that wait; later ones are rejected. */
  close(): Promise<void>;
}

type Asked =
  | { readonly act: () => Act<unknown> }
  | { readonly together: Together<unknown, unknown>; readonly input: unknown };

type Waiting = Asked & { resolve(value: unknown): void; reject(error: unknown): void };

/**
 * Shares one transaction, and one turn among the issuers, among all acts that came in while the one before was
 * committed.
 */
export function groupCommit(pool: pg.Pool, journal: AuditJournal): GroupCommit {
  let waiting: Waiting[] = [];
  let inWork = 0;
  let working: Promise<void> | undefined;
  let isClosed = false;
  let hasFailed = false;
  let commits = 0;
  let acts = 0;

  async function work(): Promise<void> {
    // What comes in within one turn of the event loop goes together.
    await new Promise(setImmediate);
    while (waiting.length > 0) {
      const batch = waiting.slice(0, MAX_BATCH_ACTS);
      waiting = waiting.slice(MAX_BATCH_ACTS);
      inWork = batch.length;
      await commitAll(batch);
      inWork = 0;
    }
    working = undefined;
  }

  async function commitAll(batch: readonly Waiting[]): Promise<void> {
    try {
      const values = await commitTogether(batch);
      batch.forEach(({ resolve }, i) => void resolve(values[i]));
    } catch (error) {
      if (isOfOneAct(error) && batch.length > 1) {
        for (const one of batch) await commitAll([one]);
        return;
      }
      hasFailed = !isOfOneAct(error);
      for (const { reject } of batch) reject(error);
    }
  }

  async function commitTogether(batch: readonly Waiting[]): Promise<unknown[]> {
    const client = await connect();
    let isOver = false;
    try {
      await journal.begin(client);
      const values = await runAll(client, batch);
      isOver = await journal.commit(client);
      if (!isOver) throw new FleetgateError('registry_unavailable', 'the registry has not committed');
      hasFailed = false;
      commits += 1;
      acts += batch.length;
      return values;
    } catch (error) {
      isOver = await rollback(client, error);
      throw error;
    } finally {
      client.release(!isOver);
    }
  }

  async function connect(): Promise<pg.PoolClient> {
    try {
      return await pool.connect();
    } catch (error) {
      throw asRegistryError(error);
    }
  }

  async function runAll(client: pg.ClientBase, batch: readonly Waiting[]): Promise<unknown[]> {
    const values: unknown[] = [];
    for (let i = 0; i < batch.length; i = values.length) {
      const one = batch[i] as Waiting;
      if ('act' in one) {
        values.push(await runAct(client, one.act()));
        continue;
      }
      const inputs: unknown[] = [];
      for (const next of batch.slice(i)) {
        if (!('together' in next) || next.together !== one.together) break;
        inputs.push(next.input);
      }
      values.push(...(await one.together(client, inputs)));
    }
    return values;
  }

  function ask(asked: Asked): Promise<unknown> {
    if (isClosed) return unavailable('the registry is closed');
    if (waiting.length >= MAX_WAITING_ACTS) return unavailable('too many acts wait for the registry');
    return new Promise((resolve, reject) => {
      waiting.push({ ...asked, resolve, reject });
      working ??= work();
    });
  }

  return {
    run: <T>(act: () => Act<T>) => ask({ act }) as Promise<T>,
    runTogether: <Input, T>(together: Together<Input, T>, input: Input) =>
      ask({ together: together as Together<unknown, unknown>, input }) as Promise<T>,
    isFailing: () => hasFailed,
    load: () => ({ waitingActs: waiting.length + inWork, commits, acts }),
    async close() {
      isClosed = true;
      await working;
    },
  };
}

/** Whether the connection can be used again. One whose state is not known is not asked. */
async function rollback(client: pg.ClientBase, error: unknown): Promise<boolean> {
  if (!isOfOneAct(error)) return false;
  return client.query('ROLLBACK').then(
    () => true,
    () => false,
  );
}

function unavailable(message: string): Promise<never> {
  return Promise.reject(new FleetgateError('registry_unavailable', message));
}
