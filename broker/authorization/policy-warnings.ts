import { covers, nearest, overlaps } from '@fleetgate/shared';
import type { DenyRule, Granted, PublishRule, RuleOrigin, SubscribeRule } from './grants.ts';
import type { Policy, ScopeRules, TemplateRule } from './policy.ts';

/** Something a valid policy says and its writer hardly means. */
export interface PolicyWarning {
  /** `file:line:column`. */
  readonly source: string | undefined;
  readonly words: string;
}

/** Rules with symbols for values: what is true of them is true for every token. */
type Symbolic<Rule> = readonly Granted<Rule>[];

interface Denies {
  readonly publish: Symbolic<DenyRule>;
  readonly subscribe: Symbolic<DenyRule>;
  /** Every scope that lifts one. */
  readonly lifting: ReadonlySet<string>;
}

/**
 * What in a policy has no effect, whatever the token: rules that others of their scope or denies cover, scopes that
 * grant nothing, `unless` with a scope that nobody defines.
 */
export function policyWarnings(policy: Policy): PolicyWarning[] {
  const publish = symbolic(policy.denyPublish);
  const subscribe = symbolic(policy.denySubscribe);
  const lifting = new Set([...publish, ...subscribe].flatMap(({ rule }) => rule.unless));
  const denies = { publish, subscribe, lifting };
  return [
    ...Array.from(policy.scopes).flatMap(([scope, rules]) => scopeWarnings(scope, rules, denies)),
    ...unlessWarnings(policy, denies),
  ];
}

function symbolic<Rule>(rules: readonly TemplateRule<Rule>[]): Symbolic<Rule> {
  return rules.map(({ template, rule }) => ({ filter: template.symbolic(), rule }));
}

function scopeWarnings(scope: string, rules: ScopeRules, denies: Denies): PolicyWarning[] {
  const { source } = rules;
  const publish = symbolic(rules.publish);
  const subscribe = symbolic(rules.subscribe);
  const count = publish.length + subscribe.length;
  if (count === 0) {
    // It may be there to lift denies.
    const isUsed = denies.lifting.has(scope);
    return isUsed ? [] : [{ source, words: `scope ${scope} has no rules: it grants nothing` }];
  }
  const denied = [
    ...deniedRules(scope, publish, denies.publish),
    ...deniedRules(scope, subscribe, denies.subscribe),
  ];
  return [
    ...(denied.length === count ? [deniedScope(scope, source, denied)] : denied.map(deniedWarning)),
    ...coveredRules(publish, publishAllowsAll),
    ...coveredRules(subscribe, subscribeAllowsAll),
    ...unreachableRules(scope, subscribe, denies.subscribe),
  ];
}

interface DeniedRule {
  readonly rule: RuleOrigin;
  readonly deny: DenyRule;
}

/** The rules a deny covers whole. A deny that the scope itself lifts is none, and one that nothing lifts goes first. */
function deniedRules(scope: string, rules: Symbolic<RuleOrigin>, denies: Symbolic<DenyRule>): DeniedRule[] {
  return rules.flatMap(({ filter, rule }) => {
    const covering = denies.filter(
      (deny) => !deny.rule.unless.includes(scope) && covers(deny.filter, filter),
    );
    const deny = covering.find((one) => one.rule.unless.length === 0) ?? covering[0];
    return deny === undefined ? [] : [{ rule, deny: deny.rule }];
  });
}

function deniedScope(scope: string, source: string, denied: readonly DeniedRule[]): PolicyWarning {
  const canBeLifted = denied.some(({ deny }) => deny.unless.length > 0);
  const words = `scope ${scope} grants nothing: a deny covers each of its rules`;
  return {
    source,
    words: canBeLifted ? `${words}, unless the token also holds a scope that lifts it` : words,
  };
}

function deniedWarning({ rule, deny }: DeniedRule): PolicyWarning {
  const words = `${named(rule)} never grants: deny ${named(deny)}${place(deny)} covers it${unlessWords(deny)}`;
  return { source: rule.source, words };
}

/** Rules that another of the same scope and action makes idle: it allows all they allow. */
function coveredRules<Rule extends RuleOrigin>(
  rules: Symbolic<Rule>,
  allowsAll: (wide: Rule, narrow: Rule) => boolean,
): PolicyWarning[] {
  const isIdle = (narrow: Granted<Rule>, wide: Granted<Rule>) =>
    covers(wide.filter, narrow.filter) && allowsAll(wide.rule, narrow.rule);
  return rules.flatMap((one, at) => {
    const wide = rules.find(
      // Of two that say the same the second is idle.
      (other, index) => index !== at && isIdle(one, other) && (index < at || !isIdle(other, one)),
    )?.rule;
    if (wide === undefined) return [];
    const words = `${named(one.rule)} changes nothing: ${named(wide)}${place(wide)} allows all it allows`;
    return [{ source: one.rule.source, words }];
  });
}

function publishAllowsAll(wide: PublishRule, narrow: PublishRule): boolean {
  return (
    wide.maxQos >= narrow.maxQos &&
    (wide.retain || !narrow.retain) &&
    wide.maxPayloadBytes >= narrow.maxPayloadBytes &&
    // A second rate is a second bucket.
    wide.rated === undefined
  );
}

function subscribeAllowsAll(wide: SubscribeRule, narrow: SubscribeRule): boolean {
  if (wide.maxQos < narrow.maxQos) return false;
  if (wide.broader === 'filter') return true;
  if (wide.broader === 'refuse') return narrow.broader !== 'filter';
  return narrow.broader === 'exact' && wide.written === narrow.written;
}

/** Rules with `broader: exact` whose one filter a deny touches: no narrower one is accepted instead. */
function unreachableRules(
  scope: string,
  rules: Symbolic<SubscribeRule>,
  denies: Symbolic<DenyRule>,
): PolicyWarning[] {
  return rules.flatMap(({ filter, rule }) => {
    if (rule.broader !== 'exact') return [];
    const deny = denies.find(
      (one) =>
        !one.rule.unless.includes(scope) && overlaps(one.filter, filter) && !covers(one.filter, filter),
    )?.rule;
    if (deny === undefined) return [];
    const why = `deny ${named(deny)}${place(deny)} overlaps it, and broader: exact accepts no part of it`;
    return [
      { source: rule.source, words: `${named(rule)} accepts no subscription: ${why}${unlessWords(deny)}` },
    ];
  });
}

function unlessWarnings(policy: Policy, { publish, subscribe, lifting }: Denies): PolicyWarning[] {
  const unknown = Array.from(lifting).filter((scope) => !policy.scopes.has(scope));
  return unknown.map((scope) => {
    const deny = [...publish, ...subscribe].find(({ rule }) => rule.unless.includes(scope))?.rule;
    const near = nearest(scope, policy.scopes.keys());
    const hint = near === undefined ? '' : `; did you mean ${near}?`;
    const words = `unless names scope ${scope}, which the policy does not define${hint}`;
    return { source: deny?.source, words };
  });
}

function named({ written }: RuleOrigin): string {
  return `\`${written}\``;
}

function place({ source }: RuleOrigin): string {
  return source === undefined ? '' : ` at ${source}`;
}

function unlessWords({ unless }: DenyRule): string {
  return unless.length === 0 ? '' : `, unless the token also holds ${unless.join(' or ')}`;
}
