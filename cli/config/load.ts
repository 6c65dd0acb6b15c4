import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { readDocument, schemaProblems } from '@fleetgate/broker';
import { FleetgateError } from '@fleetgate/shared';
import { parse } from 'yaml';
import { dataPathOf } from '../data-directory.ts';
import { UsageError } from '../exit.ts';
import type { Role } from '../up.ts';
import { clusterProblems } from './cluster.ts';
import { consoleProblems } from './console.ts';
import { issuerHttpProblems } from './issuer-http.ts';
import { listenerProblems } from './listeners.ts';
import { type Config, configSchema } from './schema.ts';
import { tokenTargetProblems } from './token-targets.ts';
import { trustedIssuerProblems } from './trusted-issuers.ts';
import { unreadableFiles } from './unreadable-files.ts';

export interface ConfigOptions {
  /** `--config`; default: FLEETGATE_CONFIG, else no file. */
  config?: string;
  /** `--data`; default: FLEETGATE_DATA_DIR, else `./fleetgate-data`. */
  data?: string;
  /** `--set key=value`, in order. */
  set?: readonly string[];
}

export interface LoadedConfig {
  readonly config: Config;
  readonly dataPath: string;
}

type Tree = Record<string, unknown> | unknown[];

/**
 * The configuration: defaults, then the file, then each `--set`. Paths in the file are relative to the file, those
 * on the command line to the working directory.
 * @param roles what will run; undefined for commands that only look addresses up
 * @throws FleetgateError `config_invalid`; every line names the file or option, the key and the mend
 */
export function loadConfig(
  options: ConfigOptions,
  roles?: readonly Role[],
  environment: NodeJS.ProcessEnv = process.env,
): LoadedConfig {
  const path = options.config ?? environment['FLEETGATE_CONFIG'];
  const value = path === undefined ? defaults() : readFile(resolve(path));
  for (const assignment of options.set ?? []) assign(value, assignment);
  const config = Object.freeze(value as unknown as Config);
  const problems = roles === undefined ? [] : crossProblems(config, roles);
  if (problems.length > 0) {
    throw new FleetgateError(
      'config_invalid',
      problems.map((words) => `${path ?? 'configuration'}: ${words}`).join('\n'),
    );
  }
  return {
    config,
    dataPath: dataPathOf(options, environment),
  };
}

function defaults(): Record<string, unknown> {
  const value = {};
  schemaProblems(value, configSchema);
  return value;
}

function readFile(path: string): Record<string, unknown> {
  if (!existsSync(path)) throw new UsageError(`no configuration file ${path}; name one with --config`);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`cannot read ${path} (${(error as NodeJS.ErrnoException).code})`);
  }
  // An empty file is one that sets nothing.
  const value = /^\s*(#.*\s*)*$/.test(text)
    ? defaults()
    : readDocument<Record<string, unknown>>(text, path, configSchema);
  resolvePaths(value, dirname(path));
  return value;
}

function assign(config: Record<string, unknown>, assignment: string): void {
  const equals = assignment.indexOf('=');
  if (equals < 1)
    throw new UsageError(`--set takes key=value, as in --set issuer.http.port=0, not '${assignment}'`);
  const key = assignment.slice(0, equals);
  const path = key.split('.');
  const last = path.pop() as string;
  let tree: Tree = config;
  for (const segment of path) tree = descend(tree, segment);
  const value = scalar(assignment.slice(equals + 1));
  set(tree, last, last.endsWith('_file') && typeof value === 'string' ? resolve(value) : value);
  const problems = schemaProblems(config, configSchema);
  if (problems.length > 0) {
    throw new FleetgateError(
      'config_invalid',
      problems.map(({ words }) => `--set ${key}: ${words}`).join('\n'),
    );
  }
}

function descend(tree: Tree, segment: string): Tree {
  const child: unknown = Object.hasOwn(tree, segment) ? tree[segment as keyof Tree] : undefined;
  if (typeof child === 'object' && child !== null) return child as Tree;
  const made = {};
  set(tree, segment, made);
  return made;
}

// defineProperty, so that `--set __proto__.x=1` is an unknown key and not a new prototype.
function set(tree: Tree, key: string, value: unknown): void {
  if (Array.isArray(tree) && !(/^\d{1,3}$/.test(key) && Number(key) <= tree.length)) {
    throw new UsageError(`--set: list items are named by index, 0 to ${tree.length}, not '${key}'`);
  }
  Object.defineProperty(tree, key, { value, writable: true, enumerable: true, configurable: true });
}

/** A value of `--set` as YAML reads it: `0` is a number, `true` a boolean, `[a, b]` a list, all else a string. */
function scalar(text: string): unknown {
  try {
    return parse(text, { version: '1.2', schema: 'core' }) ?? '';
  } catch {
    return text;
  }
}

function resolvePaths(value: unknown, directory: string): void {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, child] of Object.entries(value)) {
    if (key.endsWith('_file') && typeof child === 'string') {
      (value as Record<string, unknown>)[key] = resolve(directory, child);
    } else resolvePaths(child, directory);
  }
}

/** What only several keys together show to be wrong. */
function crossProblems({ issuer, broker, console }: Config, roles: readonly Role[]): string[] {
  const problems: string[] = [];
  if (roles.includes('issuer')) {
    problems.push(...issuerHttpProblems(issuer.http), ...tokenTargetProblems(issuer));
    problems.push(...consoleProblems(console));
  }
  if (roles.includes('broker') && !roles.includes('issuer') && broker.trusted_issuers.length === 0) {
    problems.push(
      'broker.trusted_issuers is empty: a broker alone would accept nobody; name an issuer there',
    );
  }
  if (roles.includes('broker')) {
    problems.push(...listenerProblems(broker.listeners), ...unreadableFiles(broker));
    problems.push(...clusterProblems(broker.cluster));
    const embedded = roles.includes('issuer') ? issuer.url?.replace(/\/+$/, '') : undefined;
    problems.push(...trustedIssuerProblems(broker.trusted_issuers, embedded));
  }
  return problems;
}
