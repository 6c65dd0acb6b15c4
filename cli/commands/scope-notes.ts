import type { Policy } from '@fleetgate/broker';
import { nearest, parseScope } from '@fleetgate/shared';

/** The issuer's own scopes, which no policy defines. */
const OWN_SCOPE_PREFIX = 'fleetgate.';

/** What of a scope to be registered grants nothing under the policy, a line each. */
export function scopeNotes(scope: string, policy: Policy, policyFile: string): string[] {
  return parseScope(scope)
    .filter(
      ({ kind, token }) =>
        kind === 'named' && !policy.scopes.has(token) && !token.startsWith(OWN_SCOPE_PREFIX),
    )
    .map(({ token }) => {
      const near = nearest(token, policy.scopes.keys());
      const mend = near === undefined ? 'define it there' : `did you mean '${near}'?`;
      return `scope '${token}' grants nothing: ${policyFile} does not define it; ${mend}`;
    });
}
