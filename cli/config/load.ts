import { FleetgateError } from '@fleetgate/shared';
import type { Role } from '../up.ts';
import { clusterProblems } from './cluster.ts';
import { consoleProblems } from './console.ts';
import { issuerHttpProblems } from './issuer-http.ts';
import { listenerProblems } from './listeners.ts';
import { type ConfigOptions, type LoadedConfig, readConfig } from './read.ts';
import type { Config } from './schema.ts';
import { tokenTargetProblems } from './token-targets.ts';
import { trustedIssuerProblems } from './trusted-issuers.ts';
import { unreadableFiles } from './unreadable-files.ts';

/**
 * The same as {@link readConfig} for a process that will run.
 * @throws FleetgateError `config_invalid`, also of keys that only together are wrong
 */
export function loadConfig(
  options: ConfigOptions,
  roles: readonly Role[],
  environment?: NodeJS.ProcessEnv,
): LoadedConfig {
  const loaded = readConfig(options, environment);
  const problems = crossProblems(loaded.config, roles);
  if (problems.length === 0) return loaded;
  const where = loaded.file ?? 'configuration';
  throw new FleetgateError('config_invalid', problems.map((words) => `${where}: ${words}`).join('\n'));
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
