import type { Attempt, Policy } from '@fleetgate/broker';
import { judgeOf, type Subject } from './subject.ts';

/** Scopes that are named; of more there is the number. */
const MAX_NAMED = 10;

/** Scopes any of which, beside those it has, would allow a subject what it is refused. */
export interface NeededScopes {
  /** In the order of the policy, `max` at most. Empty: no scope of the policy allows it. */
  readonly needed: readonly string[];
  /** How many there are beyond these. */
  readonly neededMore: number;
}

/** Each scope of the policy is tried as the broker decides, beside what the subject holds; `max`: 10 by default. */
export function scopesNeeded(
  policy: Policy,
  subject: Subject,
  attempt: Attempt,
  max: number = MAX_NAMED,
): NeededScopes {
  const held = new Set(subject.scopes);
  const all = Array.from(policy.scopes.keys()).filter(
    (scope) =>
      !held.has(scope) &&
      judgeOf(policy, { ...subject, scopes: [...subject.scopes, scope] }).decide(attempt).allowed,
  );
  return { needed: all.slice(0, max), neededMore: Math.max(0, all.length - max) };
}

/** The same as a line for people. */
export function neededWords({ needed, neededMore }: NeededScopes): string {
  if (needed.length === 0) return 'no scope of the policy allows it';
  return `scopes that would allow it: ${needed.join(', ')}${neededMore === 0 ? '' : ` and ${neededMore} more`}`;
}
