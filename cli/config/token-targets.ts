import { type Engine, emqx, rabbitmq } from '@fleetgate/broker/policy';
import type { Config } from './schema.ts';

export type ConfiguredTarget = Config['issuer']['token_targets'][number];

/** Keys that say something of RabbitMQ alone. */
const ofRabbitmq = ['vhost', 'exchange', 'scope_prefix'] as const;

/** What only several keys of token targets together, or several targets, show to be wrong: a line each. */
export function tokenTargetProblems({ token_targets, token_claims }: Config['issuer']): string[] {
  const problems: string[] = [];
  const seen = new Set<string>();
  for (const [index, target] of token_targets.entries()) {
    const key = `issuer.token_targets.${index}`;
    const useless =
      target.target === 'rabbitmq' ? [] : ofRabbitmq.filter((name) => target[name] !== undefined);
    for (const name of useless) problems.push(`${key}.${name} is for target rabbitmq; leave it out`);
    if (seen.has(target.audience)) {
      problems.push(`${key}.audience ${target.audience} is that of another target; leave one of them out`);
    }
    seen.add(target.audience);
    const { claim, ownClaims } = engineOf(target);
    for (const name of token_claims.filter((one) => ownClaims.has(one))) {
      problems.push(
        `issuer.token_claims copies ${name}, by which ${target.target} grants more than a policy; leave it out`,
      );
    }
    if (token_claims.includes(claim)) {
      problems.push(`${key} has the claim ${claim}, which issuer.token_claims copies; leave it out there`);
    }
  }
  return problems;
}

/** The engine that a target names, with its options. */
export function engineOf(configured: Omit<ConfiguredTarget, 'policy_file'>): Engine {
  const { target, audience, claim, vhost, exchange, scope_prefix: scopePrefix } = configured;
  const shared = {
    acceptNotEnforced: configured.accept_not_enforced,
    ...(claim === undefined ? {} : { claim }),
  };
  if (target === 'emqx') return emqx(shared);
  return rabbitmq({
    ...shared,
    resourceServerId: audience,
    ...(vhost === undefined ? {} : { vhost }),
    ...(exchange === undefined ? {} : { exchange }),
    ...(scopePrefix === undefined ? {} : { scopePrefix }),
  });
}
