import { type Policy, policyWarnings } from '@fleetgate/broker';
import { covers, overlaps } from '@fleetgate/shared';
import type { Principals, RegistryPrincipal } from './principals.ts';
import { type Judge, judgeOf, plainPublish } from './subject.ts';
import { witnesses } from './witnesses.ts';

export const findingCodes = [
  'no_effect',
  'scope_unknown',
  'over_broad',
  'rule_unused',
  'deny_never_applies',
  'shared_writable_topic',
  'client_id_missing',
  'not_looked_at',
] as const;
export type FindingCode = (typeof findingCodes)[number];

/** Something in a policy, or in how clients are registered, that is hardly meant. */
export interface Finding {
  readonly code: FindingCode;
  readonly severity: 'error' | 'warning';
  /** `file:line:column`, or the scope as it is registered. */
  readonly where: string;
  readonly words: string;
  readonly fix: string;
  /** Some of the clients it is about. */
  readonly clients: readonly string[];
}

interface Judged {
  readonly principal: RegistryPrincipal;
  readonly judge: Judge;
}

/** Looks at a policy together with the clients that are registered. */
export function lintPolicy(policy: Policy, { principals, leftOut }: Principals): Finding[] {
  const judged = principals.map((principal) => ({ principal, judge: judgeOf(policy, principal) }));
  return [
    ...policyWarnings(policy).map(
      ({ source = 'policy', words }): Finding => ({
        code: 'no_effect',
        severity: 'warning',
        where: source,
        words,
        fix: 'take it out, or mend what it meets',
        clients: [],
      }),
    ),
    ...unknownScopes(policy, judged),
    ...broadScopes(judged),
    ...broadRules(policy),
    ...unusedRules(policy, judged),
    ...idleDenies(policy, judged),
    ...missingClientIds(policy, judged),
    ...sharedTopics(judged),
    ...(leftOut === 0 ? [] : [notLookedAt(leftOut)]),
  ];
}

function unknownScopes(policy: Policy, judged: readonly Judged[]): Finding[] {
  const holders = new Map<string, string[]>();
  for (const { principal } of judged) {
    for (const scope of principal.scopes) {
      if (scope.startsWith('mqtt:') || policy.scopes.has(scope)) continue;
      holders.set(scope, [...(holders.get(scope) ?? []), ...principal.examples]);
    }
  }
  return Array.from(holders, ([scope, clients]) => ({
    code: 'scope_unknown',
    severity: 'warning',
    where: scope,
    words: `clients are registered for ${scope}, which the policy does not define: it grants nothing at this broker`,
    fix: 'define it in the policy, or take it from the clients; leave it if it is for another service',
    clients: some(clients),
  }));
}

/** Filters that reach over the whole of a broker. */
const isOverBroad = (filter: string) => ['#', '+/#', '/#'].some((wide) => covers(filter, wide));

function broadScopes(judged: readonly Judged[]): Finding[] {
  const found = new Map<string, string[]>();
  for (const { principal, judge } of judged) {
    const direct = [...judge.grants.publish, ...judge.grants.subscribe].filter(
      ({ rule, filter }) => rule.source === undefined && isOverBroad(filter),
    );
    for (const { rule } of direct)
      found.set(rule.scope, [...(found.get(rule.scope) ?? []), ...principal.examples]);
  }
  return Array.from(found, ([scope, clients]) => ({
    code: 'over_broad',
    severity: 'error',
    where: scope,
    words: `${scope} reaches every topic of the broker`,
    fix: 'name the levels that are meant, as devices/{client_id}/#',
    clients: some(clients),
  }));
}

function broadRules(policy: Policy): Finding[] {
  const rules = Array.from(policy.scopes, ([scope, { publish, subscribe }]) =>
    [...publish, ...subscribe].map((one) => ({ scope, one })),
  ).flat();
  return rules
    .filter(({ one }) => isOverBroad(one.template.widened()))
    .map(({ scope, one: { rule } }) => ({
      code: 'over_broad',
      severity: 'error',
      where: rule.source ?? scope,
      words: `${scope} gives \`${rule.written}\`, which reaches every topic of the broker`,
      fix: 'name the levels that are meant, as devices/{client_id}/#',
      clients: [],
    }));
}

type Side = 'publish' | 'subscribe';
const deniesOf = { publish: 'denyPublish', subscribe: 'denySubscribe' } as const;

function unusedRules(policy: Policy, judged: readonly Judged[]): Finding[] {
  return (['publish', 'subscribe'] as const).flatMap((side) => {
    const used = new Set<string>();
    for (const { judge } of judged) {
      for (const { filter, rule } of judge.grants[side]) {
        const key = rule.source;
        if (key === undefined || used.has(key)) continue;
        if (grantsSomething(filter, judge, side)) used.add(key);
      }
    }
    return Array.from(policy.scopes, ([scope, rules]) =>
      rules[side].flatMap(({ rule }): Finding[] => {
        if (rule.source === undefined || used.has(rule.source)) return [];
        const clients = judged.filter(({ principal }) => principal.scopes.includes(scope));
        const why =
          clients.length === 0
            ? `no client is registered for ${scope}`
            : 'for each client that has the scope a deny covers it, or a placeholder has no value';
        return [
          {
            code: 'rule_unused',
            severity: 'warning',
            where: rule.source,
            words: `nobody can ${side} by \`${rule.written}\` of ${scope}: ${why}`,
            fix: 'take the rule out, or register who is to use it',
            clients: some(clients.flatMap(({ principal }) => principal.examples)),
          },
        ];
      }),
    ).flat();
  });
}

/** Whether there is a topic that the filter matches and no deny does. */
function grantsSomething(filter: string, { grants }: Judge, side: Side): boolean {
  const denies = grants[deniesOf[side]].map((deny) => deny.filter).filter((deny) => overlaps(deny, filter));
  if (denies.length === 0) return true;
  return witnesses([filter, ...denies]).some(({ matched }) => matched.length === 1 && matched[0] === 0);
}

function idleDenies(policy: Policy, judged: readonly Judged[]): Finding[] {
  return (['publish', 'subscribe'] as const).flatMap((side) => {
    const applied = new Set<string>();
    for (const { judge } of judged) {
      for (const { filter, rule } of judge.grants[deniesOf[side]]) {
        if (rule.source === undefined || applied.has(rule.source)) continue;
        if (judge.grants[side].some((granted) => overlaps(granted.filter, filter))) applied.add(rule.source);
      }
    }
    return policy[deniesOf[side]].flatMap(({ rule }): Finding[] =>
      rule.source === undefined || applied.has(rule.source)
        ? []
        : [
            {
              code: 'deny_never_applies',
              severity: 'warning',
              where: rule.source,
              words: `deny \`${rule.written}\` refuses nobody anything: no client that it is for may ${side} there`,
              fix: 'take it out, or leave it for clients to come',
              clients: [],
            },
          ],
    );
  });
}

/** Rules without a placeholder in a scope that is one of devices: others of its rules have `{client_id}`. */
function missingClientIds(policy: Policy, judged: readonly Judged[]): Finding[] {
  return Array.from(policy.scopes, ([scope, { publish }]) => {
    const isOfDevices = publish.some(({ template }) => template.placeholders.includes('client_id'));
    const holders = judged.filter(({ principal }) => principal.scopes.includes(scope));
    const devices = holders.reduce((sum, { principal }) => sum + principal.count, 0);
    if (!isOfDevices || devices < 2) return [];
    return publish
      .filter(({ template }) => template.placeholders.length === 0)
      .map(
        ({ rule }): Finding => ({
          code: 'client_id_missing',
          severity: 'warning',
          where: rule.source ?? scope,
          words: `\`${rule.written}\` of ${scope} is the same topic for every device, and others of its rules are not`,
          fix: 'put {client_id} into it, or move it into a scope of its own',
          clients: some(holders.flatMap(({ principal }) => principal.examples)),
        }),
      );
  }).flat();
}

function sharedTopics(judged: readonly Judged[]): Finding[] {
  const found = new Map<string, Finding>();
  judged.forEach((a, i) => {
    for (const b of judged.slice(i + 1)) {
      const key = [a.principal.shape, b.principal.shape].sort().join('\n');
      if (found.has(key)) continue;
      const topic = sharedTopic(a.judge, b.judge);
      if (topic === undefined) continue;
      const isOne = a.principal.shape === b.principal.shape;
      found.set(key, {
        code: 'shared_writable_topic',
        severity: 'warning',
        where: isOne ? a.principal.scope : `${a.principal.scope} and ${b.principal.scope}`,
        words: isOne
          ? `devices that are registered alike may publish to one topic, as ${topic}`
          : `devices that are registered differently may publish to one topic, as ${topic}`,
        fix: 'put {client_id} into the filter if each is to have its own',
        clients: some([...a.principal.examples, ...b.principal.examples]),
      });
    }
  });
  return Array.from(found.values());
}

/** A topic that both may publish to. */
export function sharedTopic(a: Judge, b: Judge): string | undefined {
  const meeting = a.grants.publish.flatMap((one) =>
    b.grants.publish
      .filter((other) => overlaps(one.filter, other.filter))
      .flatMap((other) => [one.filter, other.filter]),
  );
  if (meeting.length === 0) return undefined;
  const denies = [...a.grants.denyPublish, ...b.grants.denyPublish].map(({ filter }) => filter);
  const filters = Array.from(new Set([...meeting, ...denies]));
  return witnesses(filters).find(({ topic }) => mayPublish(a, topic) && mayPublish(b, topic))?.topic;
}

const mayPublish = (judge: Judge, topic: string) => judge.decide(plainPublish(topic)).allowed;

function notLookedAt(leftOut: number): Finding {
  return {
    code: 'not_looked_at',
    severity: 'warning',
    where: 'registry',
    words: `${leftOut} clients are registered in more ways than are told apart, and were not looked at`,
    fix: 'register them by a template, with {client_id} and {group} in their scopes',
    clients: [],
  };
}

const some = (clients: readonly string[]) => Array.from(new Set(clients)).slice(0, 3);
