import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { readDocument, schemaProblems } from '@fleetgate/broker/policy';
import { FleetgateError } from '@fleetgate/shared';
import { parse } from 'yaml';
import { dataPathOf } from '../data-directory.ts';
import { UsageError } from '../exit.ts';
import { type Config, configSchema } from './schema.ts';

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
  /** Where it was read; absent where no file was named. */
  readonly file?: string;
}

type Tree = Record<string, unknown> | unknown[];

/**
 * The configuration: defaults, then the file, then each `--set`. Paths in the file are relative to the file, those
 * on the command line to the working directory.
 * @throws FleetgateError `config_invalid`; every line names the file or option, the key and the mend
 */
export function readConfig(
  options: ConfigOptions,
  environment: NodeJS.ProcessEnv = process.env,
): LoadedConfig {
  const path = options.config ?? environment['FLEETGATE_CONFIG'];
  const value = path === undefined ? defaults() : readFile(resolve(path));
  for (const assignment of options.set ?? []) assign(value, assignment);
  return {
    config: Object.freeze(value as unknown as Config),
    dataPath: dataPathOf(options, environment),
    ...(path !== undefined && { file: path }),
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
