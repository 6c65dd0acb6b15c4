import {
  type Attempt,
  compileGrants,
  type Decision,
  decide,
  type Explanation,
  explain,
  type Grants,
  nextRate,
  type Policy,
  type PublishAttempt,
} from '@fleetgate/broker/policy';

/** Whose attempts are looked at: what a token of theirs says. */
export interface Subject {
  readonly clientId: string;
  readonly group?: string | undefined;
  readonly scopes: readonly string[];
  readonly claims: Readonly<Record<string, unknown>>;
}

/** What a policy grants a subject, and decides of its attempts. */
export interface Judge {
  readonly grants: Grants;
  decide(attempt: Attempt): Decision;
  explain(attempt: Attempt): Explanation;
  /** By which rates a publish is allowed, in words; empty where no rate holds it back. */
  rates(attempt: PublishAttempt): string;
}

export function judgeOf(policy: Policy, { clientId, group, scopes, claims }: Subject): Judge {
  const grants = compileGrants(policy, { clientId, scopes, claims, ...(group !== undefined && { group }) });
  const principal = Object.freeze({
    clientId,
    issuer: '',
    tokenId: '',
    expiresAtMs: Number.POSITIVE_INFINITY,
    grants,
  });
  return {
    grants,
    decide: (attempt) => decide(principal, attempt, 0),
    explain: (attempt) => explain(principal, attempt, 0),
    rates(attempt) {
      const decision = decide(principal, attempt, 0);
      const words: string[] = [];
      let rate = decision.allowed ? decision.rate : undefined;
      for (; rate !== undefined; rate = nextRate(principal, attempt, rate)) {
        const { perSecond, burst } = rate;
        // The filter is a part of it: what a rule lets through comes from one bucket.
        const by = grants.publish.find(({ rule }) => rule.rated?.rate === rate);
        words.push(`${perSecond}/s, ${burst} at once by ${by?.filter}`);
      }
      return words.join(' or ');
    },
  };
}

/** A publish of no special kind. */
export const plainPublish = (topic: string): PublishAttempt => ({
  action: 'publish',
  topic,
  qos: 0,
  retain: false,
  bytes: 0,
});
