import {
  type Attempt,
  compileGrants,
  type Decision,
  decide,
  type Grants,
  type Policy,
} from '@fleetgate/broker';

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
  return { grants, decide: (attempt) => decide(principal, attempt, 0) };
}

/** A publish of no special kind. */
export const plainPublish = (topic: string): Attempt => ({
  action: 'publish',
  topic,
  qos: 0,
  retain: false,
  bytes: 0,
});

/** The names of claims that stand in placeholders of a policy. */
export function claimNames(policy: Policy): string[] {
  const rules = [
    ...Array.from(policy.scopes.values()).flatMap(({ publish, subscribe }) => [...publish, ...subscribe]),
    ...policy.denyPublish,
    ...policy.denySubscribe,
  ];
  const placeholders = rules.flatMap(({ template }) => template.placeholders);
  const names = placeholders
    .filter((one) => one.startsWith('claim:'))
    .map((one) => one.slice('claim:'.length));
  return Array.from(new Set(names));
}
