import type { ReasonCode } from '@fleetgate/shared';
import {
  covers,
  matches,
  overlaps,
  reasonCodes,
  topicFilterProblem,
  topicNameProblem,
} from '@fleetgate/shared';
import type {
  DenyRule,
  Granted,
  Grants,
  MessageRate,
  PublishRule,
  QualityOfService,
  RatedDecision,
  SubscribeRule,
} from './grants.ts';
import { isReservedTopic } from './reserved-topics.ts';

/** One thing a client tries, or that is about to be done to it (`receive`). A will is a publish. */
export type Attempt =
  | {
      readonly action: 'publish';
      readonly topic: string;
      readonly qos: QualityOfService;
      readonly retain: boolean;
      /** Of the payload. */
      readonly bytes: number;
    }
  | { readonly action: 'subscribe'; readonly filter: string; readonly qos: QualityOfService }
  | { readonly action: 'receive'; readonly topic: string };

export type PublishAttempt = Attempt & { readonly action: 'publish' };

export type Decision =
  | { readonly allowed: true; readonly rate?: undefined }
  | RatedDecision
  | { readonly allowed: false; readonly reason: ReasonCode };

/** Who a connection is, as its token says. Frozen; a renewal makes a new one. */
export interface Principal {
  readonly clientId: string;
  readonly issuer: string;
  /** `jti` of the token. */
  readonly tokenId: string;
  /** Milliseconds since 1970, with the clock skew already added. */
  readonly expiresAtMs: number;
  readonly grants: Grants;
  /** Thumbprint of the certificate the token is bound to (RFC 8705 §3.1). */
  readonly boundTo?: string;
}

/** The only allowing decision there is, but for those of rules with a rate. */
export const allowed: Decision = Object.freeze({ allowed: true });

/** The refusals, one for each reason, so that deciding allocates nothing. */
export const refused = Object.freeze(
  Object.fromEntries(reasonCodes.map((reason) => [reason, Object.freeze({ allowed: false, reason })])),
) as Readonly<Record<ReasonCode, Decision>>;

/** What led to a decision; filled in for `explain`. */
export interface Witness {
  /** The rule that allowed, or the one whose options or breadth refused. */
  rule?: Granted<PublishRule | SubscribeRule>;
  deny?: Granted<DenyRule>;
}

/**
 * Whether `principal` may do what it attempts: the only place that authorizes. Allocates nothing and walks a topic
 * once for each rule. Refuses when in doubt.
 *
 * - Publish: a rule *matches* the topic and no publish deny does, and the rule's options allow QoS, retain and size.
 *   When only rules with a rate allow it, the decision names the rate of the first of them. Whether there is room is
 *   for the caller to see, who keeps count (`message-rate.ts`): nothing here remembers anything.
 * - Subscribe: a rule *covers* the filter and no subscribe deny *overlaps* it. With `broader: exact` the filter must
 *   equal the rule; with `broader: filter` it need only overlap the rule, and only a deny that covers the whole
 *   filter refuses it, since delivery applies every deny again.
 * - Receive: a subscribe rule matches the topic and no subscribe deny does.
 *
 * When several reasons apply it is the first of: not authenticated, expired, malformed, reserved, a deny that takes
 * in the whole topic or filter, and then that of the rule that came nearest to allowing.
 *
 * A filter is checked for form here. The text of a topic is checked by the guard in front, once per packet; here
 * only what could turn into more than one topic is: a wildcard in a topic name is never allowed [MQTT-3.3.2-2].
 */
export function decide(principal: Principal | undefined, attempt: Attempt, nowMs: number): Decision {
  return decideNoting(principal, attempt, nowMs, undefined);
}

/** The same, noting in `witness` what decided. One code path for both, so that an explanation cannot lie. */
export function decideNoting(
  principal: Principal | undefined,
  attempt: Attempt,
  nowMs: number,
  witness: Witness | undefined,
): Decision {
  if (principal === undefined) return refused.not_authenticated;
  // Written so that NaN on either side counts as expired.
  if (!(nowMs < principal.expiresAtMs)) return refused.session_expired;
  switch (attempt.action) {
    case 'publish':
      return heldToForm(attempt.topic, decidePublish(principal.grants, attempt, witness));
    case 'receive':
      return heldToForm(attempt.topic, decideReceive(principal.grants, attempt.topic, witness));
    case 'subscribe':
      return decideSubscribe(principal.grants, attempt.filter, attempt.qos, witness);
    default:
      return refused.internal_error;
  }
}

// A refusal is off the hot path and may look at the whole topic for the better reason.
function heldToForm(topic: string, decision: Decision): Decision {
  if (decision.allowed)
    return topic.includes('+') || topic.includes('#') ? refused.topic_malformed : decision;
  return topicNameProblem(topic) === undefined ? decision : refused.topic_malformed;
}

function decidePublish(grants: Grants, attempt: PublishAttempt, witness: Witness | undefined): Decision {
  const { topic } = attempt;
  if (isReservedTopic(topic)) return refused.topic_reserved;
  const deny = firstMatching(grants.denyPublish, topic);
  if (deny !== undefined) {
    if (witness !== undefined) witness.deny = deny;
    return refused.denied_by_rule;
  }
  let best: Decision = refused.no_rule;
  let bestStep = 0;
  for (const granted of grants.publish) {
    if (!matches(granted.filter, topic)) continue;
    const step = publishStep(granted.rule, attempt);
    if (step <= bestStep) continue;
    best = (step === RATED ? granted.rule.rated : publishOutcomes[step]) as Decision;
    bestStep = step;
    if (witness !== undefined) witness.rule = granted;
    if (step === ALLOWED) return best;
  }
  return best;
}

/**
 * Of a publish that `decide` allowed at the rate `last`: the rate by which the next rule allows it, in the order of the
 * grants; `undefined` when there is none. For when the bucket of `last` is empty.
 */
export function nextRate(
  { grants }: Principal,
  attempt: PublishAttempt,
  last: MessageRate,
): MessageRate | undefined {
  let isBehind = false;
  for (const { filter, rule } of grants.publish) {
    const rate = rule.rated?.rate;
    if (rate === undefined) continue;
    if (rate === last) isBehind = true;
    else if (isBehind && matches(filter, attempt.topic) && publishStep(rule, attempt) === RATED) return rate;
  }
  return undefined;
}

// How far a publish gets with a rule that matches its topic: the rule that lets it get furthest gives the reason.
const publishOutcomes: readonly Decision[] = [
  refused.no_rule,
  refused.retain_not_allowed,
  refused.qos_too_high,
  refused.payload_too_large,
  // Stands for the rule's own: each names its rate.
  allowed,
  allowed,
];
const RATED = 4;
const ALLOWED = 5;

// The comparisons are written so that a value that is no number is refused.
function publishStep(rule: PublishRule, attempt: PublishAttempt): number {
  if (attempt.retain && !rule.retain) return 1;
  if (!(attempt.qos <= rule.maxQos)) return 2;
  if (!(attempt.bytes <= rule.maxPayloadBytes)) return 3;
  return rule.rated === undefined ? ALLOWED : RATED;
}

function decideReceive(grants: Grants, topic: string, witness: Witness | undefined): Decision {
  if (isReservedTopic(topic)) return refused.topic_reserved;
  const deny = firstMatching(grants.denySubscribe, topic);
  if (deny !== undefined) {
    if (witness !== undefined) witness.deny = deny;
    return refused.denied_by_rule;
  }
  const granted = firstMatching(grants.subscribe, topic);
  if (granted === undefined) return refused.no_rule;
  if (witness !== undefined) witness.rule = granted;
  return allowed;
}

function decideSubscribe(
  grants: Grants,
  filter: string,
  qos: QualityOfService,
  witness: Witness | undefined,
): Decision {
  if (topicFilterProblem(filter) !== undefined) return refused.filter_malformed;
  if (isReservedTopic(filter)) return refused.topic_reserved;
  let touching: Granted<DenyRule> | undefined;
  for (const deny of grants.denySubscribe) {
    if (!overlaps(deny.filter, filter)) continue;
    touching ??= deny;
    if (!covers(deny.filter, filter)) continue;
    if (witness !== undefined) witness.deny = deny;
    return refused.denied_by_rule;
  }
  let best: Decision = refused.no_rule;
  let bestStep = 0;
  for (const granted of grants.subscribe) {
    const step = subscribeStep(granted, filter, qos, touching !== undefined);
    if (step <= bestStep) continue;
    best = subscribeOutcomes[step] as Decision;
    bestStep = step;
    if (witness !== undefined) witness.rule = granted;
    if (best.allowed) return best;
  }
  if (witness !== undefined && best === refused.denied_by_rule && touching !== undefined)
    witness.deny = touching;
  return best;
}

const subscribeOutcomes: readonly Decision[] = [
  refused.no_rule,
  refused.filter_broader_than_rule,
  refused.filter_not_exact,
  refused.qos_too_high,
  refused.denied_by_rule,
  allowed,
];

function subscribeStep(
  granted: Granted<SubscribeRule>,
  filter: string,
  qos: QualityOfService,
  isDeniedInPart: boolean,
): number {
  const { broader, maxQos } = granted.rule;
  if (!overlaps(granted.filter, filter)) return 0;
  if (broader === 'exact' && granted.filter !== filter) return 2;
  if (broader === 'refuse' && !covers(granted.filter, filter)) return 1;
  if (!(qos <= maxQos)) return 3;
  return isDeniedInPart && broader !== 'filter' ? 4 : 5;
}

function firstMatching<Rule>(list: readonly Granted<Rule>[], topic: string): Granted<Rule> | undefined {
  for (const granted of list) if (matches(granted.filter, topic)) return granted;
  return undefined;
}
