import type { Policy } from '@fleetgate/broker/policy';
import { type Finding, type Judged, someClients } from './finding.ts';

const FIX_BROAD = 'name the levels that are meant, as devices/{client_id}/#';

/** Rules of the policy that begin with a wildcard. */
export function broadRules(policy: Policy): Finding[] {
  const rules = Array.from(policy.scopes, ([scope, { publish, subscribe }]) =>
    [...publish, ...subscribe].map(({ rule }) => ({ scope, rule })),
  ).flat();
  return rules.flatMap(({ scope, rule }) =>
    broadness(rule.written).map((breadth) => ({
      ...breadth,
      where: rule.source ?? scope,
      words: `${scope} gives \`${rule.written}\`, which ${breadth.words}`,
      fix: FIX_BROAD,
      clients: [],
    })),
  );
}

/** Direct scopes that begin with a wildcard, name another client, or name their own where a place would do. */
export function registeredScopes(judged: readonly Judged[], named: ReadonlySet<string>): Finding[] {
  const found = new Map<string, Finding>();
  const note = (finding: Omit<Finding, 'clients'>, { principal }: Judged) => {
    const key = `${finding.code} ${finding.where}`;
    const clients = someClients([...(found.get(key)?.clients ?? []), ...principal.examples]);
    found.set(key, { ...finding, clients });
  };
  for (const one of judged) {
    const { grants } = one.judge;
    for (const { filter, rule } of [...grants.publish, ...grants.subscribe]) {
      if (rule.source !== undefined) continue;
      const { scope } = rule;
      for (const breadth of broadness(filter)) {
        note({ ...breadth, where: scope, words: `${scope} ${breadth.words}`, fix: FIX_BROAD }, one);
      }
      const other = filter.split('/').find((level) => level !== one.principal.clientId && named.has(level));
      if (other === undefined) continue;
      note(
        {
          code: 'other_device_subtree',
          severity: scope.startsWith('mqtt:publish:') ? 'error' : 'warning',
          where: scope,
          words: `${scope} reaches topics of ${other}, which is another client`,
          fix: 'put {client_id} in its place, or give it by a scope of the policy if it is meant',
        },
        one,
      );
    }
    for (const scope of ownNameScopes(one)) {
      note(
        {
          code: 'client_id_missing',
          severity: 'warning',
          where: scope,
          words: 'clients are registered for filters that hold their own id as a word',
          fix: `register ${scope}`,
        },
        one,
      );
    }
  }
  return Array.from(found.values());
}

/** Direct scopes with a place for the client id where the client is registered with the id itself. */
function ownNameScopes({ principal: { scope, registered } }: Judged): string[] {
  const written = new Set(registered.split(' '));
  return scope.split(' ').filter((token) => token.includes('{client_id}') && !written.has(token));
}

/** Scopes that clients hold and the policy does not define. Those of the issuer itself are not for a policy. */
export function unknownScopes(policy: Policy, judged: readonly Judged[]): Finding[] {
  const holders = new Map<string, readonly string[]>();
  for (const { principal } of judged) {
    for (const scope of principal.scopes) {
      if (/^(mqtt:|fleetgate\.)/.test(scope) || policy.scopes.has(scope)) continue;
      holders.set(scope, someClients([...(holders.get(scope) ?? []), ...principal.examples]));
    }
  }
  return Array.from(holders, ([scope, clients]) => ({
    code: 'scope_unknown',
    severity: 'warning',
    where: scope,
    words: `clients are registered for ${scope}, which the policy does not define: it grants nothing at this broker`,
    fix: 'define it in the policy, or take it from the clients; leave it if it is for another service',
    clients,
  }));
}

/** How far a filter reaches that begins with a wildcard, as it is written: a placeholder is no wildcard. */
function broadness(filter: string): Pick<Finding, 'code' | 'severity' | 'words'>[] {
  const levels = filter.split('/');
  if (levels[0] !== '+' && levels[0] !== '#') return [];
  if (levels.at(-1) === '#' && levels.slice(0, -1).every((level) => level === '+')) {
    const words =
      levels.length <= 2
        ? 'reaches every topic'
        : `reaches every topic of ${levels.length - 1} levels or more`;
    return [{ code: 'reaches_everything', severity: 'error', words }];
  }
  return [{ code: 'first_level_wildcard', severity: 'warning', words: 'begins with a wildcard' }];
}
