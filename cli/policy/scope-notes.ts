import type { Policy } from '@fleetgate/broker/policy';
import { nearest, parseScope } from '@fleetgate/shared';

/** The issuer's own scopes, which no policy defines. */
const OWN_SCOPE_PREFIX = 'fleetgate.';

/** Tokens that are told one by one. Ours: more is a policy that is another's, and each is compared with all names. */
const MAX_TOLD = 20;

/**
 * What of a scope to be registered grants nothing under the policy, a line each.
 * @throws FleetgateError `scope_malformed`
 */
export function scopeNotes(scope: string, policy: Policy, policyFile: string): string[] {
  const names = Array.from(policy.scopes.keys());
  const missing = parseScope(scope)
    .filter(({ kind, token }) => kind === 'named' && !token.startsWith(OWN_SCOPE_PREFIX))
    .map(({ token }) => token)
    .filter((token) => !isDefined(token, policy, names));
  const notes = missing
    .slice(0, MAX_TOLD)
    .map((token) => `scope '${token}' grants nothing: ${policyFile} ${whyNot(token, names)}`);
  const more = missing.length - notes.length;
  return more === 0 ? notes : [...notes, `and ${more} more scopes grant nothing under ${policyFile}`];
}

const isPattern = (token: string) => token.endsWith('.*');

function isDefined(token: string, policy: Policy, names: readonly string[]): boolean {
  if (!isPattern(token)) return policy.scopes.has(token);
  const start = token.slice(0, -1);
  return names.some((name) => name.startsWith(start));
}

function whyNot(token: string, names: readonly string[]): string {
  if (isPattern(token)) return 'defines no scope below it; define one there';
  const near = nearest(token, names);
  return `does not define it; ${near === undefined ? 'define it there' : `did you mean '${near}'?`}`;
}
