import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { FleetgateError } from '@fleetgate/shared';
import type { Config } from './config/schema.ts';

/** Files of a data directory; the directory is 0700, each file 0600. */
export interface DataDirectory {
  readonly path: string;
  readonly adminKeyFile: string;
  readonly keyEncryptionKeyFile: string;
  /** A directory for each app beside the default one. */
  readonly appsDirectory: string;
  readonly policyFile: string;
  /** Where the running `fleetgate up` listens, as its ready line; absent when none runs. */
  readonly runtimeFile: string;
}

/** Directory used when neither `--data` nor FLEETGATE_DATA_DIR names one. */
export const DEFAULT_DATA_DIRECTORY = 'fleetgate-data';

/** The path of the data directory that `--data` names, else FLEETGATE_DATA_DIR, else the default. */
export function dataPathOf(options: { readonly data?: string }, environment = process.env): string {
  return resolve(options.data ?? environment['FLEETGATE_DATA_DIR'] ?? DEFAULT_DATA_DIRECTORY);
}

/** The files of the data directory at `path`, existing or not. */
export function dataDirectory(path: string): DataDirectory {
  const root = resolve(path);
  return Object.freeze({
    path: root,
    adminKeyFile: join(root, 'admin.key'),
    keyEncryptionKeyFile: join(root, 'key-encryption.key'),
    appsDirectory: join(root, 'apps'),
    policyFile: join(root, 'policy.yaml'),
    runtimeFile: join(root, 'runtime.json'),
  });
}

/** The registry that `issuer.database` names: a `postgres://` URL, or a file of SQLite. */
export function configuredDatabase({ issuer }: Config, directory: DataDirectory): string {
  if (!issuer.database.startsWith('sqlite:')) return issuer.database;
  const file = issuer.database.slice('sqlite:'.length);
  return isAbsolute(file) ? file : join(directory.path, file);
}

/**
 * Makes the directory at the first start (0700).
 * @throws FleetgateError `config_invalid` when the path is no directory or others may enter it
 */
export function prepareDataDirectory({ path }: DataDirectory): void {
  try {
    if (!existsSync(path)) {
      makeDirectory(path);
      // A umask may have taken bits away, and a parent's default ACL may have added some.
      chmodSync(path, 0o700);
    }
  } catch (error) {
    throw new FleetgateError(
      'config_invalid',
      `cannot make the data directory ${path}: ${(error as Error).message}`,
    );
  }
  const stat = statSync(path);
  if (!stat.isDirectory())
    throw new FleetgateError('config_invalid', `${path} is not a directory; name another with --data`);
  if ((stat.mode & 0o022) !== 0) {
    throw new FleetgateError('config_invalid', `others may write to ${path}; run: chmod 700 ${path}`);
  }
}

// Level by level: mkdirSync's own `recursive` never ends in a place like /proc, which exists and takes no directory.
function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  makeDirectory(dirname(path));
  mkdirSync(path, { mode: 0o700 });
}

/** Time for a process of this machine to accept a connection. Ours: the kernel does it, in microseconds. */
const PROBE_TIMEOUT_MS = 1000;

/**
 * Refuses to start beside a process that runs on the same directory. One process, whatever its roles: runtime.json
 * tells commands one admin API, so a broker beside an issuer takes a directory of its own.
 * @throws FleetgateError `data_directory_in_use`
 */
export async function refuseSecondProcess(directory: DataDirectory): Promise<void> {
  const running = readRuntime(directory);
  const pid = running?.['pid'];
  if (typeof pid !== 'number' || pid === process.pid || !isAlive(pid)) return;
  // After a kill -9 or a power loss the pid may be another program's by now; then nobody is where it listened.
  if (!(await accepts(running?.['admin']))) return;
  throw new FleetgateError(
    'data_directory_in_use',
    `data directory ${directory.path} is in use by pid ${pid}; stop it, or name another directory with --data`,
  );
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function accepts(address: unknown): Promise<boolean> {
  const url = typeof address === 'string' ? URL.parse(address) : null;
  if (url === null) return Promise.resolve(false);
  return new Promise((done) => {
    const socket = connect(Number(url.port || 80), url.hostname.replace(/^\[|\]$/g, ''));
    const end = (isAccepted: boolean) => {
      socket.destroy();
      done(isAccepted);
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => end(false));
    socket.once('connect', () => end(true)).once('error', () => end(false));
  });
}

/** Writes a file of the directory if it is not there yet. */
export function writeOnce(file: string, text: string): void {
  try {
    writeFileSync(file, text, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** Says where this process listens, for commands on the same machine. */
export function writeRuntime({ runtimeFile }: DataDirectory, ready: Readonly<Record<string, string>>): void {
  const temporary = `${runtimeFile}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify({ ...ready, pid: process.pid })}\n`, { mode: 0o600 });
  renameSync(temporary, runtimeFile);
}

/** Takes back {@link writeRuntime}, unless another process has written since. */
export function removeRuntime(directory: DataDirectory): void {
  if (readRuntime(directory)?.['pid'] === process.pid) rmSync(directory.runtimeFile, { force: true });
}

/** What the running process said, or `undefined`. It may have died since: an address here is a hint. */
export function readRuntime({ runtimeFile }: DataDirectory): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(runtimeFile, 'utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
