import { join } from 'node:path';
import { loadConfig } from '../config/load.ts';
import { type DataDirectory, databaseFile, dataDirectory } from '../data-directory.ts';
import { type ConnectionOptions, checkAppId } from './connection.ts';

/** A database of the issuer, for commands that use the file itself. */
export interface DatabaseFile {
  readonly file: string;
  readonly directory: DataDirectory;
}

/**
 * The database of the data directory that the options name, or of an app of it; existing or not.
 * @throws UsageError; FleetgateError `config_invalid`
 */
export function databaseOf(options: Pick<ConnectionOptions, 'config' | 'data' | 'app'>): DatabaseFile {
  const { config, dataPath } = loadConfig(options);
  const directory = dataDirectory(dataPath);
  const { app } = options;
  if (app === undefined) return { file: databaseFile(config, directory), directory };
  checkAppId(app);
  return { file: join(directory.appsDirectory, app, 'fleetgate.db'), directory };
}
