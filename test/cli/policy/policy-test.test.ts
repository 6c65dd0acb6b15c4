import { parsePolicy } from '@fleetgate/broker';
import { expect, test } from 'vitest';
import type { Expectation } from '../../../cli/policy/expectations.ts';
import { testPolicy } from '../../../cli/policy/policy-test.ts';
import type { RegisteredClient } from '../../../cli/policy/registered-token.ts';
import { each } from './model.ts';

const policy = parsePolicy(
  `version: 1
scopes:
  own: { publish: [ 'd/{client_id}/#' ] }
  site: { publish: [ 's/{claim:site}' ] }
  group: { publish: [ 'g/{group}' ] }
  all: { publish: [ 'd/#', 's/#' ] }
deny: [ { publish: [ d/secret ] } ]
`,
  'policy.yaml',
);
const fleet = [
  { client_id: 'a', scope: 'own site', group: 'g', labels: { hw: 'old' }, metadata: { site: 'north' } },
  { client_id: 'b', scope: 'own group', group: 'g', labels: { hw: 'new' } },
  { client_id: 'c', scope: 'all', labels: { hw: 'new' } },
] as RegisteredClient[];

async function results(...expectations: Omit<Expectation, 'action'>[]) {
  const placed = expectations.map((one) => ({ ...one, action: 'publish' as const, where: 'tests.yaml:1:1' }));
  return testPolicy(policy, placed, () => each(fleet), ['site']);
}

const passed = async (one: Omit<Expectation, 'action'>) => (await results(one))[0]?.passed;

test.each<[string, Omit<Expectation, 'action'>, boolean]>([
  ['a client', { client: 'a', topic: 'd/a/x', expect: 'allow' }, true],
  ['its claims', { client: 'a', topic: 's/north', expect: 'allow' }, true],
  ['the claims of a token', { scopes: ['site'], claims: { site: 'x' }, topic: 's/x', expect: 'allow' }, true],
  ['the group of a token', { scopes: ['group'], group: 'h', topic: 'g/h', expect: 'allow' }, true],
  ['each of a group', { group: 'g', topic: 'd/{client_id}', expect: 'allow' }, true],
  ['one of a group', { group: 'g', topic: 'd/a', expect: 'allow' }, false],
  ['a label', { labels: { hw: 'new' }, topic: 's/x', expect: 'deny' }, false],
  ['the right label', { labels: { hw: 'old' }, topic: 's/north', expect: 'allow' }, true],
  ['a label and a group', { labels: { hw: 'new' }, group: 'g', topic: 's/x', expect: 'deny' }, true],
  ['a client that is not of the group', { client: 'c', group: 'g', topic: 'x', expect: 'deny' }, false],
  ['a topic that a client has none of', { client: 'c', topic: 'g/{group}', expect: 'deny' }, true],
  ['a reason', { client: 'c', topic: 'd/secret', expect: 'deny', reason: 'denied_by_rule' }, true],
  ['another reason', { client: 'c', topic: 'd/secret', expect: 'deny', reason: 'no_rule' }, false],
])('%s is looked for', async (_what, one, isMet) => {
  expect(await passed(one)).toBe(isMet);
});

test('a failure names the scopes that would allow it, and none for what a deny refuses', async () => {
  const [site, secret] = await results(
    { client: 'b', topic: 's/x', expect: 'allow' },
    { client: 'c', topic: 'd/secret', expect: 'allow' },
  );
  expect(site?.failures).toMatchObject([{ held: ['own', 'group'], needed: ['all'] }]);
  expect(secret?.failures).toMatchObject([{ outcome: 'denied_by_rule', needed: [] }]);
  expect(secret?.failures[0]?.trace.join(' ')).toContain('policy.yaml:7:');
});
