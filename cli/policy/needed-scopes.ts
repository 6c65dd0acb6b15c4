import type { Attempt, Policy } from '@fleetgate/broker/policy';
import { ownTurn } from '@fleetgate/shared';
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

/** Scopes that are tried in one turn of the event loop: with as many denies as a policy may have, some milliseconds. */
const TRIED_PER_TURN = 32;

/** Each scope of the policy is tried as the broker decides, beside what the subject holds; `max`: 10 by default. */
export function scopesNeeded(
  policy: Policy,
  subject: Subject,
  attempt: Attempt,
  max: number = MAX_NAMED,
): NeededScopes {
  const would = wouldAllow(policy, subject, attempt);
  return named(Array.from(policy.scopes.keys()).filter(would), max);
}

/** The same, where others wait for the event loop. */
export async function scopesNeededInTurns(
  policy: Policy,
  subject: Subject,
  attempt: Attempt,
): Promise<NeededScopes> {
  const would = wouldAllow(policy, subject, attempt);
  const scopes = Array.from(policy.scopes.keys());
  const all: string[] = [];
  for (let from = 0; from < scopes.length; from += TRIED_PER_TURN) {
    if (from > 0) await ownTurn();
    all.push(...scopes.slice(from, from + TRIED_PER_TURN).filter(would));
  }
  return named(all, MAX_NAMED);
}

function wouldAllow(policy: Policy, subject: Subject, attempt: Attempt): (scope: string) => boolean {
  const held = new Set(subject.scopes);
  return (scope) =>
    !held.has(scope) &&
    judgeOf(policy, { ...subject, scopes: [...subject.scopes, scope] }).decide(attempt).allowed;
}

function named(all: readonly string[], max: number): NeededScopes {
  return { needed: all.slice(0, max), neededMore: Math.max(0, all.length - max) };
}

/** The same as a line for people. */
export function neededWords({ needed, neededMore }: NeededScopes): string {
  if (needed.length === 0) return 'no scope of the policy allows it';
  return `scopes that would allow it: ${needed.join(', ')}${neededMore === 0 ? '' : ` and ${neededMore} more`}`;
}
