import { FleetgateError } from '@fleetgate/shared';
import type pg from 'pg';
import type { Act } from '../acts/statement.ts';
import { asRegistryError, isOfOneAct } from './connection.ts';
import { runAct } from './run-act.ts';

/** Acts that read on one connection at once. Ours: the queries of a flood, and what they answer, are a few megabytes. */
const MAX_SHARING = 2000;

interface Held {
  readonly client: Promise<pg.PoolClient>;
  acts: number;
  isReleased: boolean;
}

/**
 * Runs acts that only read, each on a connection of its own as long as there are so many, and else on the one that fewest
 * share: it sends their queries without waiting in between, so that who asks for much holds up nobody for long.
 * @throws FleetgateError `registry_unavailable`
 */
export function actReader(pool: pg.Pool, connections: number): <T>(act: () => Act<T>) => Promise<T> {
  const held = new Set<Held>();

  function take(): Held {
    let fewest: Held | undefined;
    for (const one of held) if (fewest === undefined || one.acts < fewest.acts) fewest = one;
    if (fewest !== undefined && held.size >= connections) {
      if (fewest.acts < MAX_SHARING) return fewest;
      throw new FleetgateError('registry_unavailable', 'too many reads wait for the registry');
    }
    const added = { client: pool.connect(), acts: 0, isReleased: false };
    held.add(added);
    return added;
  }

  /** Gives it back once; a broken one to nobody, since it may still wait for an answer. */
  function release(one: Held, client: pg.PoolClient, isBroken: boolean): void {
    held.delete(one);
    if (one.isReleased) return;
    one.isReleased = true;
    client.release(isBroken);
  }

  return async (act) => {
    const one = take();
    one.acts += 1;
    const client = await one.client.catch((error: unknown) => {
      held.delete(one);
      throw asRegistryError(error);
    });
    let isBroken = false;
    try {
      return await runAct(client, act());
    } catch (error) {
      isBroken = !isOfOneAct(error);
      throw error;
    } finally {
      one.acts -= 1;
      if (isBroken || one.acts === 0) release(one, client, isBroken);
    }
  };
}
