import type { Policy } from '@fleetgate/broker';
import { nearest, parseScope } from '@fleetgate/shared';

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
