import type pg from 'pg';
import type { Act } from '../acts/statement.ts';
import { asRegistryError } from './connection.ts';
import { runAct } from './run-act.ts';

/**
 * Runs an act that only reads, on a connection of the pool.
 * @throws FleetgateError `registry_unavailable`
 */
export async function readAct<T>(pool: pg.Pool, act: () => Act<T>): Promise<T> {
  const client = await pool.connect().catch((error: unknown) => {
    throw asRegistryError(error);
  });
  try {
    const value = await runAct(client, act());
    client.release();
    return value;
  } catch (error) {
    // It may still wait for an answer: nobody else gets it.
    client.release(true);
    throw error;
  }
}
