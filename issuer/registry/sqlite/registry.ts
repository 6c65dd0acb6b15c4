import { stat } from 'node:fs/promises';
import { FleetgateError } from '@fleetgate/shared';
import { registryActs } from '../acts/registry-acts.ts';
import { sql } from '../acts/statement.ts';
import type { Store } from '../acts/store.ts';
import type { Registry } from '../registry.ts';
import { auditWriter } from './audit-writer.ts';
import {
  asRegistryError,
  checkPages,
  dataVersion,
  forgetPages,
  isFault,
  openDatabase,
  touch,
} from './database.ts';
import { groupCommit } from './group-commit.ts';
import { refuseMoved } from './moved.ts';
import { overwriting } from './overwriting.ts';
import { actRunner } from './run-act.ts';
import { sharedReads } from './shared-reads.ts';

const probe = sql('SELECT registration FROM clients LIMIT 1');

/**
 * The registry in one SQLite file, made 0600. Reads run at once; writes go through the group commit.
 * @throws FleetgateError `registry_unavailable`, `registry_schema_newer`, `registry_moved`
 */
export async function openSqliteRegistry(file: string): Promise<Registry> {
  const database = await openDatabase(file);
  try {
    refuseMoved(database, file);
  } catch (error) {
    database.close();
    throw error;
  }
  const { ino: inode } = await stat(file);
  const run = actRunner(database);
  const audit = auditWriter();
  const reads = sharedReads(database);
  const commits = groupCommit(database, { onBegin: reads.end, onOtherState: audit.forgetEnd });

  const openedAtVersion = dataVersion(database);
  let isShared = false;
  let hasReadFault = false;

  const store: Store = {
    async read(act) {
      if (!database.open) throw new FleetgateError('registry_unavailable', 'the registry is closed');
      try {
        reads.begin();
        return run(act());
      } catch (error) {
        if (isFault(error)) {
          hasReadFault = true;
          reads.end();
          forgetPages(database);
        }
        throw asRegistryError(error);
      }
    },
    write: (act) => commits.run(() => run(act())),
    writeOverwriting: (act) => commits.run(() => overwriting(database, () => run(act()))),
    ...audit,
  };

  return {
    ...registryActs(store),
    isShared() {
      // Another process that serves has written: it begins with numbers for its own messages.
      isShared ||= !database.open || dataVersion(database) !== openedAtVersion;
      return isShared;
    },
    onOtherRevocations: () => () => {},
    load: commits.load,
    async isAvailable() {
      try {
        reads.end();
        const isDoubtful = hasReadFault || commits.isFailing();
        if (isDoubtful) forgetPages(database);
        run(probe.get());
        // A file that was deleted or replaced still answers through our descriptor, but is gone after a restart.
        if ((await stat(file)).ino !== inode) return false;
        if (isDoubtful) {
          await commits.run(() => touch(database));
          checkPages(database, file);
          hasReadFault = false;
        }
        return true;
      } catch {
        return false;
      }
    },
    async close() {
      reads.end();
      commits.close();
      if (database.open) database.close();
    },
  };
}
