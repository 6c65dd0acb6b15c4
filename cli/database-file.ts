import { isAbsolute, join } from 'node:path';
import type { Config } from './config/schema.ts';
import type { DataDirectory } from './data-directory.ts';

/** The SQLite file of `issuer.database`; a relative one is in the data directory. */
export function databaseFile({ issuer }: Config, { path }: DataDirectory): string {
  const file = issuer.database.slice('sqlite:'.length);
  return isAbsolute(file) ? file : join(path, file);
}
