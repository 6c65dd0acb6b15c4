import { engineClaim, formatEngineNote, type Policy } from '@fleetgate/broker/policy';
import { parseScope } from '@fleetgate/shared';
import { readConfig } from '../config/read.ts';
import { type ConfiguredTarget, engineOf } from '../config/token-targets.ts';
import { dataDirectory } from '../data-directory.ts';
import { scopeNotes } from '../policy/scope-notes.ts';
import { policyPath } from '../policy-file.ts';
import { loadPolicy } from './policy.ts';

/** A client to be registered. */
export interface NotedClient {
  /** Absent where the issuer makes one up. */
  readonly id?: string | undefined;
  readonly scope: string;
  /** Default: that of the configuration. */
  readonly audience?: readonly string[] | undefined;
  readonly group?: string | undefined;
}

/**
 * The same under the policies in force for its audiences, where they are on this machine, and why no token of it can be
 * said to a broker of another make.
 */
export function scopeNotesInForce(
  client: NotedClient,
  flags: { readonly adminUrl?: string; readonly config?: string; readonly data?: string },
): string[] {
  if (flags.adminUrl !== undefined) return [];
  const { config, dataPath } = readConfig(flags);
  const audience = client.audience ?? config.issuer.default_audience;
  const inForce = policyPath(config, dataDirectory(dataPath));
  const targets = config.issuer.token_targets.filter((target) => audience.includes(target.audience));
  // A scope for another service is that service's to define.
  const files = new Set(audience.includes(config.broker.audience) ? [inForce] : []);
  for (const { policy_file: file = inForce } of targets) files.add(file);
  const policies = new Map(Array.from(files, (file) => [file, policyIfValid(file)]));
  return [
    ...Array.from(policies).flatMap(([file, policy]) =>
      policy === undefined ? [] : scopeNotes(client.scope, policy, file),
    ),
    ...targets.flatMap((target) => targetNotes(client, target, policies.get(target.policy_file ?? inForce))),
  ];
}

function targetNotes(
  { id, scope, group }: NotedClient,
  target: ConfiguredTarget,
  policy: Policy | undefined,
): string[] {
  if (id === undefined || policy === undefined) return [];
  // As the issuer fills direct scopes in; a pattern, and what has no value, is in no token.
  const scopes = parseScope(scope)
    .map(({ token }) => token.replaceAll('{client_id}', id).replaceAll('{group}', group ?? '{group}'))
    .filter((token) => !token.endsWith('.*') && !token.includes('{group}'));
  const claims = { clientId: id, claims: {}, scopes, ...(group === undefined ? {} : { group }) };
  const claim = engineClaim(engineOf(target), policy, claims);
  if (!('refused' in claim)) return [];
  return claim.refused.map(
    (note) => `it gets no token for audience '${target.audience}': ${formatEngineNote(note)}`,
  );
}

// Where it is missing or wrong the broker says so; what is registered is registered all the same.
function policyIfValid(file: string): Policy | undefined {
  try {
    return loadPolicy(file);
  } catch {
    return undefined;
  }
}
