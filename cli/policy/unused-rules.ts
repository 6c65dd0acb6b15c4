import type { Policy } from '@fleetgate/broker/policy';
import { overlaps } from '@fleetgate/shared';
import { type Finding, type Judged, someClients } from './finding.ts';
import { type Judge, judgeOf } from './subject.ts';
import { witnesses } from './witnesses.ts';

type Side = 'publish' | 'subscribe';
const sides: readonly Side[] = ['publish', 'subscribe'];
const deniesOf = { publish: 'denyPublish', subscribe: 'denySubscribe' } as const;

/** Rules by which no registered client can do anything. */
export function unusedRules(policy: Policy, judged: readonly Judged[]): Finding[] {
  return sides.flatMap((side) => {
    const used = new Set<string>();
    for (const { judge } of judged) {
      for (const { filter, rule } of judge.grants[side]) {
        const { source } = rule;
        if (source === undefined || used.has(source)) continue;
        const isExact = 'broader' in rule && rule.broader === 'exact';
        if (grantsSomething(filter, isExact, judge, side)) used.add(source);
      }
    }
    return Array.from(policy.scopes, ([scope, rules]) =>
      rules[side].flatMap(({ rule: { source, written } }): Finding[] => {
        if (source === undefined || used.has(source)) return [];
        const holders = judged.filter(({ principal }) => principal.scopes.includes(scope));
        const why =
          holders.length === 0
            ? `no client is registered for ${scope}`
            : 'for each client that has the scope a deny covers it, or a placeholder has no value';
        return [
          {
            code: 'rule_unused',
            // Whoever was given the scope expects something of it.
            severity: holders.length === 0 ? 'warning' : 'error',
            where: source,
            words: `nobody can ${side} by \`${written}\` of ${scope}: ${why}`,
            fix: 'take the rule out, or register who is to use it',
            clients: someClients(holders.flatMap(({ principal }) => principal.examples)),
          },
        ];
      }),
    ).flat();
  });
}

/** Whether there is a topic that the filter matches and no deny does; of an exact one no deny may touch it. */
function grantsSomething(filter: string, isExact: boolean, { grants }: Judge, side: Side): boolean {
  const denies = grants[deniesOf[side]].map((deny) => deny.filter).filter((deny) => overlaps(deny, filter));
  if (denies.length === 0 || isExact) return denies.length === 0;
  return witnesses([filter, ...denies]).some(({ matched }) => matched.length === 1 && matched[0] === 0);
}

/** Denies that refuse no client anything, whichever of its scopes it asks for. */
export function idleDenies(policy: Policy, judged: readonly Judged[]): Finding[] {
  return sides.flatMap((side) =>
    policy[deniesOf[side]].flatMap(({ template, rule: { source, written, unless } }): Finding[] => {
      const widest = template.widened();
      const applies = judged.some(({ principal, judge }) => {
        // A token with fewer scopes than the client may have is not free of the deny.
        const bound = judge.grants[side].filter(
          ({ filter, rule }) => !unless.includes(rule.scope) && overlaps(filter, widest),
        );
        if (bound.length === 0) return false;
        const scopes = principal.scopes.filter((scope) => !unless.includes(scope));
        return judgeOf(policy, { ...principal, scopes }).grants[deniesOf[side]].some(
          (deny) => deny.rule.source === source && bound.some(({ filter }) => overlaps(filter, deny.filter)),
        );
      });
      if (applies || source === undefined) return [];
      return [
        {
          code: 'deny_never_applies',
          severity: 'warning',
          where: source,
          words: `deny \`${written}\` refuses nobody anything: no client that it is for may ${side} there`,
          fix: 'take it out, or leave it for clients to come',
          clients: [],
        },
      ];
    }),
  );
}

/** Rules without a placeholder in a scope that is one of devices: others of its rules have `{client_id}`. */
export function missingClientIds(policy: Policy, judged: readonly Judged[]): Finding[] {
  return Array.from(policy.scopes, ([scope, { publish }]) => {
    const isOfDevices = publish.some(({ template }) => template.placeholders.includes('client_id'));
    if (!isOfDevices) return [];
    const holders = judged.filter(({ principal }) => principal.scopes.includes(scope));
    const clients = someClients(holders.flatMap(({ principal }) => principal.examples));
    if (clients.length < 2) return [];
    return publish
      .filter(({ template }) => template.placeholders.length === 0)
      .map(
        ({ rule }): Finding => ({
          code: 'client_id_missing',
          severity: 'warning',
          where: rule.source ?? scope,
          words: `\`${rule.written}\` of ${scope} is the same topic for every device, and others of its rules are not`,
          fix: 'put {client_id} into it, or move it into a scope of its own',
          clients,
        }),
      );
  }).flat();
}
