import { stat } from 'node:fs/promises';
import { FleetgateError } from '@fleetgate/shared';
import type { Registry } from '../registry.ts';
import { auditStatements } from './audit-events.ts';
import { clientStatements } from './clients.ts';
import { asRegistryError, openDatabase } from './database.ts';
import { groupCommit } from './group-commit.ts';
import { signingKeyStatements } from './signing-keys.ts';

/**
 * The registry in one SQLite file, made 0600. Reads run at once; writes go through the group commit.
 * @throws FleetgateError `registry_unavailable`, `registry_schema_newer`
 */
export async function openSqliteRegistry(file: string): Promise<Registry> {
  const database = await openDatabase(file);
  const { ino: inode } = await stat(file);
  const clients = clientStatements(database);
  const audit = auditStatements(database);
  const keys = signingKeyStatements(database);
  const commits = groupCommit(database);
  const probe = database.prepare('SELECT registration FROM clients LIMIT 1');

  async function read<T>(query: () => T): Promise<T> {
    if (!database.open) throw new FleetgateError('registry_unavailable', 'the registry is closed');
    try {
      return query();
    } catch (error) {
      throw asRegistryError(error);
    }
  }

  return {
    findClient: (clientId) => read(() => clients.find(clientId)),
    listClients: ({ after = '', limit }) => read(() => clients.list(after, limit)),
    createClient: (client, event) =>
      commits.run(() => {
        if (!clients.insert(client)) return false;
        audit.insert(event);
        return true;
      }),
    deleteClient: (clientId, event) =>
      commits.run(() => {
        if (!clients.remove(clientId)) return false;
        audit.insert(event);
        return true;
      }),
    recordIssuedToken: ({ registration }, event) =>
      commits.run(() => {
        if (!clients.exists(registration)) return false;
        audit.insert(event);
        return true;
      }),
    recordEvent: (event) => commits.run(() => audit.insert(event)),
    listEvents: ({ after = 0, limit }) => read(() => audit.list(after, limit)),
    signingKeys: () => read(() => keys.list()),
    activateSigningKey: (key, event) =>
      commits.run(() => {
        if (!keys.activate(key, event.atMs)) return false;
        audit.insert(event);
        return true;
      }),
    async isReadable() {
      try {
        probe.get();
        // A file that was deleted or replaced still answers through our descriptor, but is gone after a restart.
        return (await stat(file)).ino === inode;
      } catch {
        return false;
      }
    },
    async close() {
      commits.close();
      if (database.open) database.close();
    },
  };
}
