import { existsSync } from 'node:fs';
import { FleetgateError } from '@fleetgate/shared';
import { isPostgresUrl } from './postgres/place.ts';
import type { Registry } from './registry.ts';
import { openSqliteRegistry } from './sqlite/registry.ts';

/**
 * Opens the registry that `database` names: a `postgres://` URL, or else a file of SQLite.
 * @throws FleetgateError `config_invalid`, `registry_unavailable`, `registry_schema_newer`
 */
export async function openRegistry(database: string): Promise<Registry> {
  if (!isPostgresUrl(database)) return openSqliteRegistry(database);
  // Loaded here: who keeps the registry in a file does not need the driver.
  const { openPostgresRegistry } = await import('./postgres/registry.ts');
  return openPostgresRegistry(database);
}

/**
 * The same of a registry that is there already: what is misspelled makes none.
 * @throws FleetgateError as {@link openRegistry}
 */
export async function openExistingRegistry(database: string): Promise<Registry> {
  if (!isPostgresUrl(database)) {
    if (existsSync(database)) return openSqliteRegistry(database);
    throw new FleetgateError('registry_unavailable', `there is no database ${database}`);
  }
  const { openPostgresRegistry } = await import('./postgres/registry.ts');
  return openPostgresRegistry(database, { mayMake: false });
}
