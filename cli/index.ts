export type {
  AdminClient,
  ClientPage,
  ClientView,
  NewClient,
  NewRevocation,
  RevocationPage,
  RevocationView,
} from './admin-client.ts';
export { adminClient } from './admin-client.ts';
export { loadConfig } from './config/load.ts';
export type { ConfigOptions, LoadedConfig } from './config/read.ts';
export { readConfig } from './config/read.ts';
export type { Config } from './config/schema.ts';
export { configSchema } from './config/schema.ts';
export type { DataDirectory } from './data-directory.ts';
export { dataDirectory } from './data-directory.ts';
export type { Ready, Role, Running } from './up.ts';
export { up } from './up.ts';
