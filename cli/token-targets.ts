import {
  checkForEngine,
  type Engine,
  type EngineNote,
  engineClaim,
  formatEngineNote,
  type Policy,
} from '@fleetgate/broker/policy';
import type { TokenTarget } from '@fleetgate/issuer';
import { type AccessTokenClaims, FleetgateError } from '@fleetgate/shared';
import type { Config } from './config/schema.ts';
import { type ConfiguredTarget, engineOf } from './config/token-targets.ts';
import type { DataDirectory } from './data-directory.ts';
import { policyPath, readPolicy, readPolicyFile } from './policy-file.ts';

/** Token targets of an issuer, whose policies can be read again. */
export interface LoadedTargets {
  readonly targets: readonly TokenTarget[];
  /** The policy files in them, each once. */
  readonly files: readonly string[];
  /**
   * Reads all policies again; tokens made from then on are by them.
   * @throws FleetgateError `policy_invalid`, `policy_untranslatable`; then the old ones stay
   */
  reload(): Promise<void>;
}

/**
 * What `issuer.token_targets` says.
 * @throws FleetgateError `policy_invalid`, or `policy_untranslatable` with a line for each rule an engine cannot be told
 */
export function loadTokenTargets(config: Config, directory: DataDirectory): LoadedTargets {
  const configured = config.issuer.token_targets;
  const read = () => configured.map((target) => readFor(target, config, directory));
  let policies = read();
  return {
    targets: configured.map((target, index) => {
      const engine = engineOf(target);
      return {
        audience: target.audience,
        claim: engine.claim,
        valueFor: (claims) => valueFor(engine, policies[index], claims),
      };
    }),
    files: Array.from(
      new Set(configured.map(({ policy_file: file }) => file ?? policyPath(config, directory))),
    ),
    reload: async () => {
      policies = read();
    },
  };
}

function readFor(target: ConfiguredTarget, config: Config, directory: DataDirectory): Policy {
  const { policy_file: file, audience } = target;
  const { policy } = file === undefined ? readPolicy(config, directory) : readPolicyFile(file);
  const refused = checkForEngine(engineOf(target), policy).filter(({ kind }) => kind === 'refused');
  if (refused.length === 0) return policy;
  throw new FleetgateError(
    'policy_untranslatable',
    [
      `the policy cannot be said to the ${target.target} of audience ${audience}; mend it, or give that target a policy_file of its own`,
      ...refused.map(formatEngineNote),
    ].join('\n'),
  );
}

function valueFor(engine: Engine, policy: Policy | undefined, token: AccessTokenClaims) {
  const { client_id: clientId, scp: scopes, group } = token;
  const claims = { ...token };
  const made = engineClaim(engine, policy, {
    clientId,
    scopes,
    claims,
    ...(group === undefined ? {} : { group }),
  });
  return 'refused' in made ? { refused: reasonOf(made.refused) } : { value: made.value };
}

/** The first reason, for a client; `policy compile` tells all. */
function reasonOf(refused: readonly EngineNote[]): string {
  const [first, ...others] = refused;
  if (first === undefined) return '';
  const { kind: _kind, source: _source, ...note } = first;
  const words = formatEngineNote({ kind: 'refused', ...note });
  return others.length === 0 ? words : `${words}, and ${others.length} more`;
}
