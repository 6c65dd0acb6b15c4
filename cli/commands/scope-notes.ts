import type { Policy } from '@fleetgate/broker';
import { nearest, parseScope } from '@fleetgate/shared';
import { loadConfig } from '../config/load.ts';
import { dataDirectory } from '../data-directory.ts';
import { policyPath } from '../policy-file.ts';
import { loadPolicy } from './policy.ts';

/** The issuer's own scopes, which no policy defines. */
const OWN_SCOPE_PREFIX = 'fleetgate.';

/** What of a scope to be registered grants nothing under the policy, a line each. */
export function scopeNotes(scope: string, policy: Policy, policyFile: string): string[] {
  return parseScope(scope)
    .filter(({ kind, token }) => kind === 'named' && !token.startsWith(OWN_SCOPE_PREFIX))
    .map(({ token }) => (token.endsWith('.*') ? patternNote(token, policy) : nameNote(token, policy)))
    .filter((note) => note !== undefined)
    .map(({ token, why, mend }) => `scope '${token}' grants nothing: ${policyFile} ${why}; ${mend}`);
}

/** The same under the policy in force, where it is on this machine and the scope is for the broker. */
export function scopeNotesInForce(
  scope: string,
  audience: readonly string[] | undefined,
  flags: { readonly adminUrl?: string; readonly config?: string; readonly data?: string },
): string[] {
  if (flags.adminUrl !== undefined) return [];
  const { config, dataPath } = loadConfig(flags);
  // A scope for another service is that service's to define.
  if (!(audience ?? config.issuer.default_audience).includes(config.broker.audience)) return [];
  const file = policyPath(config, dataDirectory(dataPath));
  const policy = policyIfValid(file);
  return policy === undefined ? [] : scopeNotes(scope, policy, file);
}

// Where it is missing or wrong the broker says so; what is registered is registered all the same.
function policyIfValid(file: string): Policy | undefined {
  try {
    return loadPolicy(file);
  } catch {
    return undefined;
  }
}

interface Note {
  readonly token: string;
  readonly why: string;
  readonly mend: string;
}

function nameNote(token: string, policy: Policy): Note | undefined {
  if (policy.scopes.has(token)) return undefined;
  const near = nearest(token, policy.scopes.keys());
  const mend = near === undefined ? 'define it there' : `did you mean '${near}'?`;
  return { token, why: 'does not define it', mend };
}

function patternNote(pattern: string, policy: Policy): Note | undefined {
  const start = pattern.slice(0, -1);
  if (Array.from(policy.scopes.keys()).some((name) => name.startsWith(start))) return undefined;
  return { token: pattern, why: 'defines no scope below it', mend: 'define one there' };
}
