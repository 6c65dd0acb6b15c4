import type { Database } from './database.ts';

export type SequenceStatements = ReturnType<typeof sequenceStatements>;

/** The statements on sequence numbers; each runs at once, in whatever transaction is open. */
export function sequenceStatements(database: Database) {
  const next = database.prepare<[], number>('SELECT next FROM coap_sequence').pluck();
  const setNext = database.prepare<[number]>('UPDATE coap_sequence SET next = ?');

  return {
    /** The first of so many. */
    reserve(count: number, atLeast: number): number {
      const first = Math.max(atLeast, next.get() ?? 0);
      setNext.run(first + count);
      return first;
    },
  };
}
