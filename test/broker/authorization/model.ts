/**
 * What the policy means, sentence by sentence, as naively as it can be said: it fills placeholders in by splitting
 * levels and answers "covers" and "overlaps" by trying every topic of a small alphabet. Shares no code with the real one.
 */
import { modelCovers, modelMatches, modelOverlaps } from '../../shared/topic-model.ts';

export interface ModelRule {
  topic: string;
  max_qos?: number;
  retain?: boolean;
  max_payload_bytes?: number;
  max_messages_per_second?: number;
  burst?: number;
  broader?: 'refuse' | 'filter' | 'exact';
}
export interface ModelPolicy {
  version: 1;
  scopes: Record<string, { publish?: ModelRule[]; subscribe?: ModelRule[] }>;
  deny: { publish?: string[]; subscribe?: string[]; unless?: string[] }[];
}
export interface ModelToken {
  clientId: string;
  group?: string;
  scopes: string[];
  /** In place of scopes: what an AIF scope (RFC 9431 §3) permits. */
  aif?: [string, ('pub' | 'sub')[]][];
  claims: Record<string, unknown>;
}
export type ModelAttempt =
  | { action: 'publish'; topic: string; qos: 0 | 1 | 2; retain: boolean; bytes: number }
  | { action: 'subscribe'; filter: string; qos: 0 | 1 | 2 }
  | { action: 'receive'; topic: string };

/** `allowed`, `rated` for a publish that only rules with a rate allow, or the reason. */
export function modelDecide(policy: ModelPolicy, token: ModelToken, attempt: ModelAttempt): string {
  switch (attempt.action) {
    case 'publish':
      return modelPublish(policy, token, attempt);
    case 'subscribe':
      return modelSubscribe(policy, token, attempt);
    case 'receive':
      return modelReceive(policy, token, attempt.topic);
  }
}

type ModelPublish = ModelAttempt & { action: 'publish' };

// "Publish is allowed when a rule matches the topic" and its options allow it, and no deny matches.
function modelPublish(policy: ModelPolicy, token: ModelToken, attempt: ModelPublish): string {
  const { topic } = attempt;
  if (denies(policy, token, 'publish').some((deny) => modelMatches(deny, topic))) return 'denied_by_rule';
  const reasons = rules(policy, token, 'publish')
    .filter((rule) => modelMatches(rule.topic, topic))
    .map((rule) => publishReason(rule, attempt));
  return furthest(reasons, ['retain_not_allowed', 'qos_too_high', 'payload_too_large', 'rated', 'allowed']);
}

function publishReason(rule: ModelRule, { qos, retain, bytes }: ModelPublish): string {
  if (retain && rule.retain === false) return 'retain_not_allowed';
  if (qos > (rule.max_qos ?? 2)) return 'qos_too_high';
  if (rule.max_payload_bytes !== undefined && bytes > rule.max_payload_bytes) return 'payload_too_large';
  return rule.max_messages_per_second === undefined ? 'allowed' : 'rated';
}

/** Rate and burst of every rule that allows a publish of the outcome `rated`, in order; a burst is at least 1. */
export function modelRates(
  policy: ModelPolicy,
  token: ModelToken,
  attempt: ModelPublish,
): [number, number][] {
  return rules(policy, token, 'publish')
    .filter((rule) => modelMatches(rule.topic, attempt.topic) && publishReason(rule, attempt) === 'rated')
    .map(({ max_messages_per_second: rate = 0, burst }) => [rate, burst ?? Math.max(1, rate)]);
}

// "Subscribe when a rule covers the requested filter and no deny overlaps it"; `broader` changes what a rule accepts.
function modelSubscribe(
  policy: ModelPolicy,
  token: ModelToken,
  attempt: ModelAttempt & { action: 'subscribe' },
): string {
  const { filter, qos } = attempt;
  const denied = denies(policy, token, 'subscribe');
  if (denied.some((deny) => modelCovers(deny, filter))) return 'denied_by_rule';
  const isDeniedInPart = denied.some((deny) => modelOverlaps(deny, filter));
  const reasons = rules(policy, token, 'subscribe')
    .filter((rule) => modelOverlaps(rule.topic, filter))
    .map((rule) => {
      const broader = rule.broader ?? 'refuse';
      if (broader === 'exact' && rule.topic !== filter) return 'filter_not_exact';
      if (broader === 'refuse' && !modelCovers(rule.topic, filter)) return 'filter_broader_than_rule';
      if (qos > (rule.max_qos ?? 2)) return 'qos_too_high';
      if (broader !== 'filter' && isDeniedInPart) return 'denied_by_rule';
      return 'allowed';
    });
  return furthest(reasons, [
    'filter_broader_than_rule',
    'filter_not_exact',
    'qos_too_high',
    'denied_by_rule',
    'allowed',
  ]);
}

// "Delivery when a subscribe rule matches the topic", and no deny does.
function modelReceive(policy: ModelPolicy, token: ModelToken, topic: string): string {
  if (denies(policy, token, 'subscribe').some((deny) => modelMatches(deny, topic))) return 'denied_by_rule';
  return rules(policy, token, 'subscribe').some((rule) => modelMatches(rule.topic, topic))
    ? 'allowed'
    : 'no_rule';
}

function furthest(reasons: string[], order: string[]): string {
  return order.findLast((reason) => reasons.includes(reason)) ?? 'no_rule';
}

// "No rule, no grant, an unknown scope: deny." A rule with a placeholder that has no value does not apply.
function rules(policy: ModelPolicy, token: ModelToken, action: 'publish' | 'subscribe'): ModelRule[] {
  if (token.aif !== undefined) {
    const permission = action === 'publish' ? 'pub' : 'sub';
    return token.aif
      .filter(([, permissions]) => permissions.includes(permission))
      .map(([topic]) => ({ topic }));
  }
  return token.scopes.flatMap((scope) => {
    const prefix = `mqtt:${action}:`;
    if (scope.startsWith(prefix)) return [{ topic: decodeURIComponent(scope.slice(prefix.length)) }];
    const named = Object.hasOwn(policy.scopes, scope) ? (policy.scopes[scope]?.[action] ?? []) : [];
    return named.flatMap((rule) => {
      const levels = rule.topic.split('/').map((level) => fill(level, token));
      return levels.includes(undefined) ? [] : [{ ...rule, topic: levels.join('/') }];
    });
  });
}

// A deny holds unless the token has one of the scopes that lift it. A placeholder without a value denies every value.
function denies(policy: ModelPolicy, token: ModelToken, action: 'publish' | 'subscribe'): string[] {
  return policy.deny
    .filter((deny) => !(deny.unless ?? []).some((scope) => !token.aif && token.scopes.includes(scope)))
    .flatMap((deny) => deny[action] ?? [])
    .map((written) => {
      const hasAllValues = written.split('/').every((level) => fill(level, token) !== undefined);
      const filled = written.split('/').map((level) => {
        if (!level.includes('{')) return level;
        return hasAllValues ? fill(level, token) : '+';
      });
      return filled.join('/');
    });
}

// In the model a placeholder is a whole level, and only these values mean anything.
function fill(level: string, { clientId, group, claims }: ModelToken): string | undefined {
  if (!level.startsWith('{')) return level;
  const value = level === '{client_id}' ? clientId : level === '{group}' ? group : ownSite(claims);
  return value === 'a' || value === 'b' ? value : undefined;
}

function ownSite(claims: Record<string, unknown>): unknown {
  return Object.hasOwn(claims, 'site') ? claims['site'] : undefined;
}
