import { readFileSync } from 'node:fs';
import { type ClusterOptions, databaseProblem } from '@fleetgate/broker';
import { FleetgateError, secretVariable } from '@fleetgate/shared';
import type { Config } from './schema.ts';
import { readSecretFile } from './secret-file.ts';

type ClusterConfig = NonNullable<Config['broker']['cluster']>;

/** What only several keys of the cluster together show to be wrong: a line each, with its mend. */
export function clusterProblems(cluster: ClusterConfig | undefined): string[] {
  if (cluster === undefined) return [];
  const { redis, tls_ca_file, sentinel, frozen_after_seconds, dead_after_seconds } = cluster;
  const problems: string[] = [];
  const url = URL.parse(redis);
  if (url === null) problems.push('broker.cluster.redis is no URL; write redis://HOST:PORT');
  else if (url.password !== '') {
    problems.push(
      'broker.cluster.redis holds a password, which everybody who reads the file sees; use password_file',
    );
  }
  const problem = url === null ? undefined : databaseProblem(url);
  if (problem !== undefined) problems.push(`broker.cluster.redis ${problem}`);
  if (tls_ca_file !== undefined && !redis.startsWith('rediss:')) {
    problems.push('broker.cluster.tls_ca_file is of no use with redis://; use rediss://, or leave it out');
  }
  for (const [at, node] of (sentinel?.nodes ?? []).entries()) {
    const parsed = URL.parse(`redis://${node}`);
    if (parsed !== null && databaseProblem(parsed) === undefined) continue;
    problems.push(`broker.cluster.sentinel.nodes.${at} is no HOST:PORT: ${node}`);
  }
  if (dead_after_seconds <= frozen_after_seconds) {
    problems.push('broker.cluster.dead_after_seconds must be more than frozen_after_seconds');
  }
  return problems;
}

/**
 * The cluster of the configuration as the broker takes it.
 * @throws FleetgateError `config_invalid`, `key_file_invalid`
 */
export function clusterOptions(
  cluster: ClusterConfig,
  environment: NodeJS.ProcessEnv = process.env,
): ClusterOptions {
  const { redis, username, password_file, tls_ca_file, sentinel, prefix } = cluster;
  const password =
    password_file === undefined
      ? secretVariable('FLEETGATE_REDIS_PASSWORD', environment, (file) => readFileSync(file, 'utf8'))
      : readSecretFile(password_file, 'broker.cluster.password_file');
  return {
    redis,
    prefix,
    frozenAfterSeconds: cluster.frozen_after_seconds,
    deadAfterSeconds: cluster.dead_after_seconds,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls_ca_file === undefined ? {} : { ca: readAuthorities(tls_ca_file) }),
    ...(sentinel === undefined ? {} : { sentinel: sentinelOf(sentinel) }),
  };
}

function sentinelOf(
  sentinel: NonNullable<ClusterConfig['sentinel']>,
): NonNullable<ClusterOptions['sentinel']> {
  const { primary, nodes, password_file: file } = sentinel;
  return {
    primary,
    nodes: nodes.map((node) => {
      const { hostname, port } = new URL(`redis://${node}`);
      return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port === '' ? 26_379 : port) };
    }),
    ...(file === undefined
      ? {}
      : { password: readSecretFile(file, 'broker.cluster.sentinel.password_file') }),
  };
}

function readAuthorities(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new FleetgateError(
      'config_invalid',
      `broker.cluster.tls_ca_file: ${file} cannot be read (${code})`,
    );
  }
}
