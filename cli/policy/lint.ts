import { type Policy, policyWarnings } from '@fleetgate/broker/policy';
import type { Finding } from './finding.ts';
import type { Principals } from './principals.ts';
import { broadRules, registeredScopes, unknownScopes } from './scope-findings.ts';
import { sharedTopics } from './shared-topics.ts';
import { judgeOf } from './subject.ts';
import { idleDenies, missingClientIds, unusedRules } from './unused-rules.ts';

/** Looks at a policy together with the clients that are registered. */
export function lintPolicy(policy: Policy, { principals, named, leftOut }: Principals): Finding[] {
  const judged = principals.map((principal) => ({ principal, judge: judgeOf(policy, principal) }));
  const findings = [
    ...(leftOut === 0 ? [] : [notLookedAt(leftOut)]),
    ...broadRules(policy),
    ...registeredScopes(judged, named),
    ...unknownScopes(policy, judged),
    ...unusedRules(policy, judged),
    ...idleDenies(policy, judged),
    ...missingClientIds(policy, judged),
    ...sharedTopics(judged),
  ];
  const places = new Set(findings.map(({ where }) => where));
  return [...findings, ...noEffects(policy).filter(({ where }) => !places.has(where))];
}

/** What `policy check` warns of. */
function noEffects(policy: Policy): Finding[] {
  return policyWarnings(policy).map(({ source = 'policy', words }) => ({
    code: 'no_effect',
    severity: 'warning',
    where: source,
    words,
    fix: 'take it out, or mend what it meets',
    clients: [],
  }));
}

/** An error: what was not looked at must not pass for what is as it should be. */
function notLookedAt(leftOut: number): Finding {
  return {
    code: 'not_looked_at',
    severity: 'error',
    where: 'registry',
    words: `${leftOut} clients are registered in more ways than are told apart, and were not looked at`,
    fix: 'register them by a template, with {client_id} and {group} in their scopes, or look at fewer with --selector',
    clients: [],
  };
}
