import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { FleetgateError, privateFileProblem } from '@fleetgate/shared';
import type { Command } from 'commander';
import { type AdminClient, adminClient } from '../admin-client.ts';
import { DEFAULT_ADMIN } from '../config/default-admin.ts';
import { type DataDirectory, dataDirectory, dataPathOf, readRuntime } from '../data-directory.ts';
import { UsageError } from '../exit.ts';

/** Options by which a command finds the admin API. */
export interface ConnectionOptions {
  adminUrl?: string;
  adminKeyFile?: string;
  app?: string;
  config?: string;
  data?: string;
}

/** An issuer as a command reaches it, with what is known of the processes beside it. */
export interface Connection {
  readonly admin: AdminClient;
  /** Of the admin API. */
  readonly url: string;
  /** Of the broker that runs on the same data directory, `mqtt://…` if it has such a listener. */
  readonly brokerUrl?: string;
}

/** Adds the options of {@link ConnectionOptions} to a command. */
export function withConnection(command: Command, withoutUrl?: string): Command {
  return withServer(command, withoutUrl).option(
    '--app <id>',
    'an app of the issuer (default: the one without a prefix)',
  );
}

/** The same for a command that is of no one app. `withoutUrl` says what it asks where no address is given. */
export function withServer(command: Command, withoutUrl = 'the running one of the data directory'): Command {
  return command
    .option('--admin-url <url>', `admin API (default: ${withoutUrl})`)
    .option('--admin-key-file <file>', 'file of the admin API key (default: admin.key in the data directory)')
    .option('--config <file>', 'configuration file (FLEETGATE_CONFIG)')
    .option('--data <dir>', 'data directory (FLEETGATE_DATA_DIR)');
}

/**
 * The admin API named by the options, else by the data directory's running process, else by the configuration.
 * @throws UsageError; FleetgateError `key_file_invalid`
 */
export async function connect(options: ConnectionOptions): Promise<Connection> {
  const listener = await configuredAdmin(options);
  const directory = dataDirectory(dataPathOf(options));
  const running = readRuntime(directory);
  const runningUrl = (key: string) =>
    typeof running?.[key] === 'string' ? (running[key] as string) : undefined;
  if (options.adminUrl !== undefined && !/^https?:$/.test(URL.parse(options.adminUrl)?.protocol ?? '')) {
    throw new UsageError(
      `--admin-url takes an http:// or https:// address, as http://127.0.0.1:8081, not '${options.adminUrl}'`,
    );
  }
  const { app } = options;
  // A broker trusts an app only where its configuration says so.
  const brokerUrl =
    options.adminUrl === undefined && app === undefined
      ? fromElsewhere(
          ['mqtt', 'mqtts', 'ws', 'wss'].map(runningUrl).find((url) => url !== undefined),
          runningUrl('issuer'),
        )
      : undefined;
  if (app !== undefined) checkAppId(app);
  const keyFile =
    app === undefined ? directory.adminKeyFile : join(directory.appsDirectory, app, 'admin.key');
  const adminKey =
    options.adminKeyFile === undefined ? readAdminKey(keyFile, app) : readAdminKey(options.adminKeyFile);
  const url = options.adminUrl ?? runningUrl('admin') ?? listenerUrl(listener, options, directory);
  const admin = adminClient(
    app === undefined ? url : `${url.replace(/\/+$/, '')}/appid-${app}`,
    adminKey,
    keyHint(options, directory, running !== undefined),
  );
  return { admin, url, ...(brokerUrl === undefined ? {} : { brokerUrl }) };
}

/** Most commands are told nothing by a configuration: what reads one is loaded for the others alone. */
async function configuredAdmin(options: ConnectionOptions): Promise<typeof DEFAULT_ADMIN | undefined> {
  if (options.config === undefined && process.env['FLEETGATE_CONFIG'] === undefined) return undefined;
  const { readConfig } = await import('../config/read.ts');
  return readConfig(options).config.admin;
}

/** Where nothing runs on the data directory. Its key goes to no address that nobody named: another issuer may be there. */
function listenerUrl(
  configured: typeof DEFAULT_ADMIN | undefined,
  { adminKeyFile }: ConnectionOptions,
  { path }: DataDirectory,
): string {
  if (configured === undefined && adminKeyFile === undefined) {
    throw new FleetgateError(
      'registry_unavailable',
      `no issuer runs on ${path}; start 'fleetgate up' on it, name another directory with --data, ` +
        'or an issuer elsewhere with --admin-url',
    );
  }
  const { host, port } = configured ?? DEFAULT_ADMIN;
  return `http://${host}:${port}`;
}

/** A listener on every address of the machine has none to tell a device: it is the machine that the issuer is on. */
function fromElsewhere(brokerUrl: string | undefined, issuerUrl: string | undefined): string | undefined {
  const { hostname, port, protocol } = URL.parse(brokerUrl ?? '') ?? {};
  if (hostname !== '0.0.0.0' && hostname !== '[::]') return brokerUrl;
  const issuer = URL.parse(issuerUrl ?? '');
  return issuer === null ? undefined : `${protocol}//${issuer.hostname}:${port}`;
}

// Where nothing runs on the directory, the address is that of the configuration, and whoever answers there is another.
function keyHint(
  options: ConnectionOptions,
  { path }: DataDirectory,
  isRunning: boolean,
): string | undefined {
  if (isRunning || options.adminUrl !== undefined || options.adminKeyFile !== undefined) return undefined;
  return `nothing runs on ${path}, whose key it is; start 'fleetgate up' on it, or name another directory with --data`;
}

/** Refuses what is no app id: it becomes a part of a path on the disk and of a URL. */
export function checkAppId(app: string): void {
  if (!/^[a-z0-9-]{1,64}$/.test(app)) throw new UsageError(`--app takes [a-z0-9-]{1,64}, not '${app}'`);
}

/** `app`: whose key it would be, where that is not known to exist. */
function readAdminKey(file: string, app?: string): string {
  try {
    const problem = privateFileProblem(file, statSync(file));
    if (problem !== undefined) throw new FleetgateError('key_file_invalid', problem);
    const key = readFileSync(file, 'utf8').trim();
    if (!/^[\x21-\x7e]+$/.test(key)) {
      throw new FleetgateError(
        'key_file_invalid',
        `${file} holds no API key; that of the issuer is admin.key in the data directory`,
      );
    }
    return key;
  } catch (error) {
    if (error instanceof FleetgateError) throw error;
    const apps = app === undefined ? '' : `'fleetgate app list' shows whether there is an app '${app}'; `;
    throw new FleetgateError(
      'key_file_invalid',
      `cannot read the admin key ${file} (${(error as NodeJS.ErrnoException).code}); ${apps}` +
        "name it with --admin-key-file, or the directory of 'fleetgate up' with --data",
    );
  }
}
