import { join } from 'node:path';
import { FleetgateError } from '@fleetgate/shared';
import { readConfig } from '../config/read.ts';
import { configuredDatabase, type DataDirectory, dataDirectory } from '../data-directory.ts';
import { type ConnectionOptions, checkAppId } from './connection.ts';

/** A database of the issuer, for commands that use it without the issuer. */
export interface OwnDatabase {
  /** A file, or a `postgres://` URL. */
  readonly database: string;
  readonly isFile: boolean;
  readonly directory: DataDirectory;
}

type Place = Pick<ConnectionOptions, 'config' | 'data' | 'app'>;

/**
 * The database of the data directory that the options name, or of an app of it; existing or not.
 * @throws UsageError; FleetgateError `config_invalid`
 */
export function databaseOf(options: Place): OwnDatabase {
  const { config, dataPath } = readConfig(options);
  const directory = dataDirectory(dataPath);
  const { app } = options;
  if (app === undefined) {
    const database = configuredDatabase(config, directory);
    return { database, isFile: config.issuer.database.startsWith('sqlite:'), directory };
  }
  checkAppId(app);
  return { database: join(directory.appsDirectory, app, 'fleetgate.db'), isFile: true, directory };
}

/**
 * The same for commands on files.
 * @throws UsageError; FleetgateError `config_invalid`, `not_supported` where it is none
 */
export function databaseFileOf(options: Place): { readonly file: string; readonly directory: DataDirectory } {
  const { database, isFile, directory } = databaseOf(options);
  if (isFile) return { file: database, directory };
  throw new FleetgateError(
    'not_supported',
    'issuer.database is PostgreSQL: use its own tools (docs/scaling.md, "Backup")',
  );
}
