import { type DirectScope, FleetgateError, isTopicFilter, parseScopeTokens } from '@fleetgate/shared';
import { parseAifScope } from './aif.ts';
import { isAclClaim } from './foreign-syntax.ts';
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

interface Compiling {
  readonly publish: Granted<PublishRule>[];
  readonly subscribe: Granted<SubscribeRule>[];
  readonly unapplied: Unapplied[];
}

/**
 * What the claims of one token grant under a policy; without a policy only direct and AIF scopes grant. A rule whose
 * placeholder has no usable value does not apply; a deny whose placeholder has none applies to every value it
 * could have had, since leaving it out would widen.
 */
export function compileGrants(policy: Policy | undefined, claims: GrantClaims): Grants {
  const into: Compiling = { publish: [], subscribe: [], unapplied: [] };
  // An AIF scope has no names, so it lifts no deny.
  const held = new Set(claims.scopeFormat === 'aif' ? [] : claims.scopes);
  if (claims.scopeFormat === 'aif') grantAif(claims.scopes, into);
  for (const scope of held) grantScope(policy, scope, claims, into);
  const acl = placeholderValue('claim:acl', claims);
  if (isAclClaim(acl)) into.unapplied.push({ kind: 'acl_claim', acl });

  const { publish, subscribe, unapplied } = into;
  if (publish.length > MAX_GRANTS_PER_PRINCIPAL || subscribe.length > MAX_GRANTS_PER_PRINCIPAL) {
    unapplied.push({ kind: 'too_many_grants', limit: MAX_GRANTS_PER_PRINCIPAL });
  }
  return Object.freeze({
    publish: kept(publish.slice(0, MAX_GRANTS_PER_PRINCIPAL)),
    subscribe: kept(subscribe.slice(0, MAX_GRANTS_PER_PRINCIPAL)),
    denyPublish: fillDenies(policy?.denyPublish ?? nothing, held, claims, unapplied),
    denySubscribe: fillDenies(policy?.denySubscribe ?? nothing, held, claims, unapplied),
    unapplied: kept(unapplied),
    policy,
  });
}

const nothing: readonly never[] = Object.freeze([]);

// Of each session: an empty list is the same one for all.
function kept<Item>(list: Item[]): readonly Item[] {
  return list.length === 0 ? nothing : Object.freeze(list);
}

function grantScope(policy: Policy | undefined, scope: string, claims: GrantClaims, into: Compiling): void {
  const { publish, subscribe, unapplied } = into;
  if (scope.startsWith('mqtt:')) {
    const direct = readDirect(scope, unapplied);
    if (direct?.action === 'publish') publish.push(concretePublish(scope, direct.filter));
    if (direct?.action === 'subscribe') subscribe.push(concreteSubscribe(scope, direct.filter));
    return;
  }
  const rules = policy?.scopes.get(scope);
  if (rules === undefined) {
    unapplied.push({ kind: 'scope_unknown', scope });
    return;
  }
  for (const rule of rules.publish) fillRule(rule, scope, claims, publish, unapplied);
  for (const rule of rules.subscribe) fillRule(rule, scope, claims, subscribe, unapplied);
}

/** How rules of an AIF scope name it: the scope itself is no name. */
const AIF_SCOPE = 'aif';

function grantAif(scopes: readonly string[], { publish, subscribe, unapplied }: Compiling): void {
  const [scope, ...others] = scopes;
  if (scope === undefined) return;
  const entries = others.length > 0 ? 'it is not one scope token' : parseAifScope(scope);
  if (typeof entries === 'string') {
    unapplied.push({ kind: 'aif_malformed', problem: entries });
    return;
  }
  for (const entry of entries) {
    const { filter } = entry;
    if (isReservedTopic(filter)) {
      unapplied.push({ kind: 'scope_reserved', scope: AIF_SCOPE, filter });
      continue;
    }
    if (entry.publish) publish.push(concretePublish(AIF_SCOPE, filter));
    if (entry.subscribe) subscribe.push(concreteSubscribe(AIF_SCOPE, filter));
  }
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

function concretePublish(scope: string, filter: string): Granted<PublishRule> {
  const origin = { scope, written: filter, source: undefined };
  const maxPayloadBytes = Number.POSITIVE_INFINITY;
  return { filter, rule: { ...origin, maxQos: 2, retain: true, maxPayloadBytes, rated: undefined } };
}

function concreteSubscribe(scope: string, filter: string): Granted<SubscribeRule> {
  const origin = { scope, written: filter, source: undefined };
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
  return kept(filled);
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

/** What the claims give for a placeholder, of any type. */
export function placeholderValue(placeholder: string, { clientId, group, claims }: GrantClaims): unknown {
  if (placeholder === 'client_id') return clientId;
  if (placeholder === 'group') return group;
  const name = placeholder.slice('claim:'.length);
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}
