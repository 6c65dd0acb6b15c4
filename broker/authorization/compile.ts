import { type DirectScope, FleetgateError, isTopicFilter, parseScopeTokens } from '@fleetgate/shared';
import {
  type DenyRule,
  type GrantClaims,
  type Granted,
  type Grants,
  MAX_GRANTS_PER_PRINCIPAL,
  type PublishRule,
  type RuleOrigin,
  type SubscribeRule,
  type Unapplied,
} from './grants.ts';
import type { Policy, TemplateRule } from './policy.ts';
import { isReservedTopic } from './reserved-topics.ts';
import { placeholderProblem } from './template.ts';

/**
 * What the claims of one token grant under a policy; without a policy only direct scopes grant. A rule whose
 * placeholder has no usable value does not apply; a deny whose placeholder has none applies to every value it
 * could have had, since leaving it out would widen.
 */
export function compileGrants(policy: Policy | undefined, claims: GrantClaims): Grants {
  const unapplied: Unapplied[] = [];
  const publish: Granted<PublishRule>[] = [];
  const subscribe: Granted<SubscribeRule>[] = [];
  const held = new Set(claims.scopes);

  for (const scope of held) {
    if (scope.startsWith('mqtt:')) {
      const direct = readDirect(scope, unapplied);
      if (direct?.action === 'publish') publish.push(directPublish(direct));
      if (direct?.action === 'subscribe') subscribe.push(directSubscribe(direct));
      continue;
    }
    const rules = policy?.scopes.get(scope);
    if (rules === undefined) {
      unapplied.push({ kind: 'scope_unknown', scope });
      continue;
    }
    for (const rule of rules.publish) fillRule(rule, scope, claims, publish, unapplied);
    for (const rule of rules.subscribe) fillRule(rule, scope, claims, subscribe, unapplied);
  }
  if (publish.length > MAX_GRANTS_PER_PRINCIPAL || subscribe.length > MAX_GRANTS_PER_PRINCIPAL) {
    unapplied.push({ kind: 'too_many_grants', limit: MAX_GRANTS_PER_PRINCIPAL });
  }
  return Object.freeze({
    publish: Object.freeze(publish.slice(0, MAX_GRANTS_PER_PRINCIPAL)),
    subscribe: Object.freeze(subscribe.slice(0, MAX_GRANTS_PER_PRINCIPAL)),
    denyPublish: fillDenies(policy?.denyPublish ?? [], held, claims, unapplied),
    denySubscribe: fillDenies(policy?.denySubscribe ?? [], held, claims, unapplied),
    unapplied: Object.freeze(unapplied),
    policy,
  });
}

function readDirect(scope: string, unapplied: Unapplied[]): DirectScope | undefined {
  try {
    const [token] = parseScopeTokens([scope]);
    if (token?.kind !== 'direct') return undefined;
    if (!isReservedTopic(token.filter)) return token;
    unapplied.push({ kind: 'scope_reserved', scope, filter: token.filter });
  } catch (error) {
    if (!(error instanceof FleetgateError)) throw error;
    unapplied.push({ kind: 'scope_malformed', scope, problem: error.message });
  }
  return undefined;
}

function directPublish({ token, filter }: DirectScope): Granted<PublishRule> {
  const origin = { scope: token, written: filter, source: undefined };
  const maxPayloadBytes = Number.POSITIVE_INFINITY;
  return { filter, rule: { ...origin, maxQos: 2, retain: true, maxPayloadBytes, rated: undefined } };
}

function directSubscribe({ token, filter }: DirectScope): Granted<SubscribeRule> {
  const origin = { scope: token, written: filter, source: undefined };
  return { filter, rule: { ...origin, maxQos: 2, broader: 'refuse' } };
}

function fillRule<Rule extends RuleOrigin>(
  { template, rule, granted }: TemplateRule<Rule>,
  scope: string,
  claims: GrantClaims,
  into: Granted<Rule>[],
  unapplied: Unapplied[],
): void {
  if (granted !== undefined) {
    into.push(granted);
    return;
  }
  const unusable = firstUnusable(template.placeholders, claims);
  if (unusable !== undefined) {
    unapplied.push({ kind: 'placeholder_unusable', rule, scope, ...unusable });
    return;
  }
  const filter = template.fill((placeholder) => placeholderValue(placeholder, claims) as string);
  // A value may also hold what no topic may, or make the filter too long.
  if (isTopicFilter(filter)) into.push({ filter, rule });
  else {
    const [placeholder = ''] = template.placeholders;
    const problem = 'the value makes no valid topic filter';
    unapplied.push({ kind: 'placeholder_unusable', rule, scope, placeholder, problem });
  }
}

function fillDenies(
  denies: readonly TemplateRule<DenyRule>[],
  held: ReadonlySet<string>,
  claims: GrantClaims,
  unapplied: Unapplied[],
): readonly Granted<DenyRule>[] {
  const filled: Granted<DenyRule>[] = [];
  for (const { template, rule, granted } of denies) {
    if (rule.unless.some((scope) => held.has(scope))) continue;
    if (granted !== undefined) {
      filled.push(granted);
      continue;
    }
    const unusable = firstUnusable(template.placeholders, claims);
    const exact = template.fill((name) => {
      const value = placeholderValue(name, claims);
      return typeof value === 'string' ? value : '';
    });
    if (unusable === undefined && isTopicFilter(exact)) {
      filled.push({ filter: exact, rule });
      continue;
    }
    const filter = template.widened();
    filled.push({ filter, rule });
    // `+` in the first level does not reach topics that begin with `$` [MQTT-4.7.2-1]; what the value names still is denied.
    if (filter.startsWith('+') && exact.startsWith('$') && isTopicFilter(exact))
      filled.push({ filter: exact, rule });
    const [placeholder = ''] = template.placeholders;
    const why = unusable ?? { placeholder, problem: 'the value makes no valid topic filter' };
    unapplied.push({ kind: 'deny_widened', rule, filter, ...why });
  }
  return Object.freeze(filled);
}

function firstUnusable(
  placeholders: readonly string[],
  claims: GrantClaims,
): { placeholder: string; problem: string } | undefined {
  for (const placeholder of placeholders) {
    const problem = placeholderProblem(placeholderValue(placeholder, claims));
    if (problem !== undefined) return { placeholder, problem };
  }
  return undefined;
}

function placeholderValue(placeholder: string, { clientId, group, claims }: GrantClaims): unknown {
  if (placeholder === 'client_id') return clientId;
  if (placeholder === 'group') return group;
  const name = placeholder.slice('claim:'.length);
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}
