import { FleetgateError } from '@fleetgate/shared';
import { registryActs } from '../acts/registry-acts.ts';
import { sql } from '../acts/statement.ts';
import type { Store } from '../acts/store.ts';
import { usedAssertions } from '../acts/used-assertions.ts';
import type { Registry } from '../registry.ts';
import { actReader } from './act-reader.ts';
import { auditJournal } from './audit-journal.ts';
import { clientFinder } from './client-finder.ts';
import { openPool } from './connection.ts';
import { contextFinder } from './context-finder.ts';
import { groupCommit } from './group-commit.ts';
import { issuedTokens } from './issued-tokens.ts';
import { migrate } from './migrations.ts';
import { parsePostgresUrl } from './place.ts';
import { openRevocationAlarm } from './revocation-alarm.ts';
import { revokedTokens } from './revoked-tokens.ts';

/**
 * Connections of one issuer, beside the one that hears of revocations. Ours: tokens are issued by two that find clients
 * and one that writes, whoever else reads what; the next look for what requests name, and the last run acts.
 */
const ISSUING_CONNECTIONS = 3;
const FINDING_CONNECTIONS = 3;
const READING_CONNECTIONS = 4;

const probe = sql('SELECT registration FROM clients LIMIT 1');
// Of the same value: it is written, and nothing is changed.
const touch = sql('UPDATE act_clock SET latest_ms = latest_ms');

/**
 * The registry in a schema of a PostgreSQL database, which several issuers may share. Reads go through the
 * act reader, writes through the group commit. A schema that is not there is made, unless `mayMake` is false.
 * @throws FleetgateError `config_invalid`, `registry_unavailable`, `registry_schema_newer`
 */
export async function openPostgresRegistry(
  database: string,
  options: { readonly mayMake?: boolean } = {},
): Promise<Registry> {
  const place = parsePostgresUrl(database);
  const issuing = openPool(place, { connections: ISSUING_CONNECTIONS });
  const finding = openPool(place, { connections: FINDING_CONNECTIONS });
  const reading = openPool(place, { connections: READING_CONNECTIONS });
  const end = async () => {
    await Promise.all([issuing.end(), finding.end(), reading.end()]);
  };
  try {
    await migrate(issuing, place, options);
  } catch (error) {
    await end();
    throw error;
  }
  const journal = auditJournal();
  const commits = groupCommit(issuing, journal);
  const alarm = openRevocationAlarm(place);
  const recordTogether = issuedTokens(journal, usedAssertions());
  const findClient = clientFinder(issuing);
  const isRevoked = revokedTokens(finding);
  const findContext = contextFinder(finding);
  const read = actReader(reading, READING_CONNECTIONS);
  let isClosed = false;

  const store: Store = {
    read: async (act) => {
      if (isClosed) throw new FleetgateError('registry_unavailable', 'the registry is closed');
      return read(act);
    },
    write: commits.run,
    writeOverwriting: commits.run,
    record: journal.record,
    flushRecords: journal.flushRecords,
    lastActMs: journal.lastActMs,
  };

  return {
    ...registryActs(store),
    isShared: () => true,
    findClient,
    isRevoked,
    findContext,
    recordIssuedToken: (client, token, event) =>
      commits.runTogether(recordTogether, { client, token, event }),
    onOtherRevocations: alarm.subscribe,
    load: commits.load,
    async isAvailable() {
      try {
        await store.read(() => probe.get());
        if (commits.isFailing()) await commits.run(() => touch.run());
        return true;
      } catch {
        return false;
      }
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      await commits.close();
      await alarm.close();
      await end();
    },
  };
}
