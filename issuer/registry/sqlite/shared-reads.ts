import type { Database } from './database.ts';

export interface SharedReads {
  /** To be called before a read. */
  begin(): void;
  /** To be called before a write, and when the file has failed. */
  end(): void;
}

/**
 * Puts all reads of one turn of the event loop into one transaction: the locks of one of its own cost a read twice what
 * finding a client does. What another process commits is seen from the next turn on.
 */
export function sharedReads(database: Database): SharedReads {
  const begin = database.prepare('BEGIN DEFERRED');
  const commit = database.prepare('COMMIT');
  const rollback = database.prepare('ROLLBACK');
  let isOpen = false;

  function end(): void {
    if (!isOpen) return;
    isOpen = false;
    if (!database.open || !database.inTransaction) return;
    try {
      commit.run();
    } catch {
      // Of a file that is damaged; the read that met it has said so. Nothing was written that could be lost.
      if (database.inTransaction) rollback.run();
    }
  }

  return {
    begin() {
      if (isOpen) return;
      begin.run();
      isOpen = true;
      setImmediate(end);
    },
    end,
  };
}
