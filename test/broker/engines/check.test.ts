import {
  checkForEngine,
  emqx,
  engineClaim,
  formatEngineNote,
  parsePolicy,
  rabbitmq,
  ruleOptions,
} from '@fleetgate/broker';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { policies, tokens } from './arbitrary.ts';

const engines = [
  rabbitmq({ resourceServerId: 'rabbit', acceptNotEnforced: ruleOptions }),
  emqx({ acceptNotEnforced: ruleOptions }),
];

function refusals(rule: string, deny: object, action = 'publish') {
  const text = JSON.stringify({ version: 1, scopes: { s: { [action]: [rule] } }, deny: [deny] });
  return checkForEngine(rabbitmq({ resourceServerId: 'rabbit' }), parsePolicy(text, 'p.yaml')).filter(
    ({ kind }) => kind === 'refused',
  );
}

describe('whether a deny may take in a part of a rule, of all clients', () => {
  test.each([
    ['d/{client_id}/#', 'd/admin/#', 'never: it is all of the rule or nothing'],
    ['d/{client_id}/x', 'd/{group}/x', 'never'],
    ['d/a-{client_id}/x', 'd/a-{claim:of}/x', 'never'],
    ['d/{client_id}', 'd/+', 'never: it is always all'],
    ['d/{client_id}/#', 'd/+/firmware/#', 'some'],
    ['d/{client_id}/#', 'd/{client_id}/x', 'some'],
    ['d/#', 'd/{client_id}', 'some'],
  ])('%s, denied %s: %s', (rule, deny, outcome) => {
    expect(refusals(rule, { publish: [deny] })).toHaveLength(outcome === 'some' ? 1 : 0);
  });

  test('a deny that each token with the scope is free of does not count', () => {
    expect(refusals('d/#', { publish: ['d/x'], unless: ['s'] })).toEqual([]);
    expect(refusals('d/#', { publish: ['d/x'], unless: ['other'] })).toHaveLength(1);
  });
});

test('a rule that no token ever has because of a deny needs no words', () => {
  expect(refusals('d/+/x', { publish: ['d/#'] })).toEqual([]);
  expect(refusals('d/+/x', { publish: ['d/#'], unless: ['other'] })).toHaveLength(1);
});

test('a note is one line, with the place where the rule stands', () => {
  expect(refusals('d/+', { publish: ['e'] }).map(formatEngineNote)).toEqual([
    "p.yaml:1:40: refused publish d/+ of scope s: '+' cannot be said to RabbitMQ in a publish: its * stands for any levels",
  ]);
});

test('a scope that the policy names as RabbitMQ names its own is refused', () => {
  const policy = parsePolicy('version: 1\nscopes:\n  rabbit.write:*/*: {}\n', 'p.yaml');
  expect(checkForEngine(rabbitmq({ resourceServerId: 'rabbit' }), policy)).toMatchObject([
    { kind: 'refused', scope: 'rabbit.write:*/*', source: expect.stringMatching(/^p.yaml:3:/) },
  ]);
});

test('a policy without refusals refuses no token whose values are plain', () => {
  let passed = 0;
  fc.assert(
    fc.property(policies(true), tokens, fc.constantFrom(...engines), (model, token, engine) => {
      const policy = parsePolicy(JSON.stringify(model), 'p.yaml');
      if (checkForEngine(engine, policy).some(({ kind }) => kind === 'refused')) return;
      const scopes = token.scopes.filter((scope) => !scope.startsWith('mqtt:'));
      const claims = token.claims['site'] === 'a' ? token.claims : {};
      const clientId = token.clientId.replace('.', '');
      expect(engineClaim(engine, policy, { ...token, clientId, scopes, claims })).toHaveProperty('value');
      passed += 1;
    }),
    { numRuns: 2000 },
  );
  expect(passed).toBeGreaterThan(400);
});
