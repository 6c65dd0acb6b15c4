import type { Database } from './database.ts';

/** Runs it so that what it deletes is overwritten: no private half, encrypted as it is, stays in free space of the file. */
export function overwriting<T>(database: Database, act: () => T): T {
  database.pragma('secure_delete = ON');
  try {
    return act();
  } finally {
    database.pragma('secure_delete = OFF');
  }
}
