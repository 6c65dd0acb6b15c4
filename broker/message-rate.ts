import { type Decision, nextRate, type PublishAttempt, refused } from './authorization/decide.ts';
import type { Grants, MessageRate, RatedDecision } from './authorization/grants.ts';
import { MAX_POLICY_RULES } from './authorization/policy.ts';
import type { Session } from './session.ts';

/** What is left of each rate a session has published under: a token bucket for each. */
export type MessageBuckets = Map<MessageRate, Bucket>;

interface Bucket {
  /** In thousandths of a message: what one millisecond adds is then the rate itself. */
  level: number;
  /** When that was so, in milliseconds of a clock that is never set back. */
  atMs: number;
}

const MESSAGE = 1000;

/**
 * Holds a publish that is allowed at a rate to that rate. It passes when the bucket of any rule that allows it has
 * room, asked in the order of the grants, and is taken from that one alone.
 */
export function withinRate(
  session: Pick<Session, 'principal' | 'messageBuckets'> | undefined,
  attempt: PublishAttempt,
  decision: RatedDecision,
  nowMs: number,
): Decision {
  if (session === undefined) return refused.not_authenticated;
  const { principal } = session;
  session.messageBuckets ??= new Map();
  let rate: MessageRate | undefined = decision.rate;
  while (rate !== undefined) {
    if (takeMessage(session.messageBuckets, rate, principal.grants, nowMs)) return decision;
    rate = nextRate(principal, attempt, rate);
  }
  return refused.rate_exceeded;
}

function takeMessage(buckets: MessageBuckets, rate: MessageRate, grants: Grants, nowMs: number): boolean {
  const bucket = buckets.get(rate) ?? newBucket(buckets, rate, grants, nowMs);
  const elapsedMs = nowMs - bucket.atMs;
  if (elapsedMs > 0) {
    bucket.level = Math.min(rate.burst * MESSAGE, bucket.level + elapsedMs * rate.perSecond);
    bucket.atMs = nowMs;
  }
  if (bucket.level < MESSAGE) return false;
  bucket.level -= MESSAGE;
  return true;
}

/**
 * A full bucket. But a policy that was read again has new objects for the same rules: the bucket of a rule that is
 * gone and said the same goes on, or every reload would fill them.
 */
function newBucket(buckets: MessageBuckets, rate: MessageRate, grants: Grants, nowMs: number): Bucket {
  let bucket: Bucket = { level: rate.burst * MESSAGE, atMs: nowMs };
  for (const [known, left] of buckets) {
    if (!isSameRate(known, rate) || grants.publish.some(({ rule }) => rule.rated?.rate === known)) continue;
    bucket = left;
    buckets.delete(known);
    break;
  }
  // One policy has no more rules than that, so what goes is of a policy that is gone.
  if (buckets.size >= MAX_POLICY_RULES) buckets.delete(buckets.keys().next().value as MessageRate);
  buckets.set(rate, bucket);
  return bucket;
}

function isSameRate(a: MessageRate, b: MessageRate): boolean {
  return a.scope === b.scope && a.topic === b.topic && a.perSecond === b.perSecond && a.burst === b.burst;
}
