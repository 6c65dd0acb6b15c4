import { compileGrants, decide, emqx, engineClaim, parsePolicy, rabbitmq } from '@fleetgate/broker';
import { expect, test } from 'vitest';
import { type EmqxAcl, emqxDecides } from '../../support/emqx-model.ts';
import { rabbitmqPublishes, rabbitmqSubscribes } from '../../support/rabbitmq-model.ts';
import { grantTable, tablePolicy } from './grant-table.ts';

// RabbitMQ itself is held to the same table in test/e2e/rabbitmq.test.ts.

const policy = parsePolicy(`version: 1\nscopes:\n${tablePolicy}`, 'policy.yaml');

function claimOf<Value>(engine: Parameters<typeof engineClaim>[0], scopes: string[]): readonly Value[] {
  const claim = engineClaim(engine, policy, { clientId: 'a', claims: {}, scopes });
  if ('refused' in claim) throw new Error(claim.refused.map(({ words }) => words).join());
  return claim.value as readonly Value[];
}

test.each(grantTable)('$scope', ({ scope, attempts }) => {
  const scopes = scope.split(' ');
  const acl = claimOf<EmqxAcl>(emqx(), scopes);
  const client = { clientid: 'a', username: 'a' };
  const rabbit = {
    ...{ prefix: 'r.', vhost: '/', exchange: 'amq.topic', clientId: 'a' },
    scopes: claimOf<string>(rabbitmq({ resourceServerId: 'r' }), scopes),
  };
  const grants = compileGrants(policy, { clientId: 'a', claims: {}, scopes });
  const principal = { clientId: 'a', issuer: '', tokenId: '', expiresAtMs: 1, grants };
  for (const [action, of, exception] of attempts) {
    const attempt =
      action === 'publish'
        ? ({ action, topic: of, qos: 1, retain: false, bytes: 1 } as const)
        : ({ action, filter: of, qos: 1 } as const);
    const isAllowed = decide(principal, attempt, 0).allowed;
    const byRabbit = action === 'publish' ? rabbitmqPublishes(rabbit, of) : rabbitmqSubscribes(rabbit, of, 1);
    const isMore = exception === 'text' || exception === 'malformed';
    if (!isMore) expect([byRabbit, isAllowed], `${action} ${of}`).not.toEqual([true, false]);
    // EMQX refuses what is malformed before it asks for a decision, and looks into a shared subscription.
    if (exception === 'malformed' || (of.includes('+', 1) && action === 'publish')) continue;
    const asked = action === 'publish' ? attempt : { ...attempt, filter: of.replace('$share/g/', '') };
    const isAllowedSo = decide(principal, asked, 0).allowed;
    expect([emqxDecides(acl, client, attempt), isAllowedSo], `${action} ${of}`).not.toEqual(['allow', false]);
  }
});
