import { decide, parsePolicy } from '@fleetgate/broker';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { policyDifference, subjectsOf } from '../../../cli/policy/difference.ts';
import type { Subject } from '../../../cli/policy/subject.ts';
import { anyPolicy, grantsOf, universe } from './model.ts';

const policy = (text: string) => parsePolicy(text, 'policy.yaml');

const difference = (before: string, after: string) => {
  const [old, now] = [policy(before), policy(after)];
  return policyDifference(old, now, subjectsOf(old, now)).map(({ subject, action, change, filter, only }) =>
    [subject, change, action, filter, only].filter((part) => part !== '').join(' '),
  );
};

const scope = (rules: string, more = '') => `version: 1\nscopes:\n  s:\n${rules}${more}`;

test('the same policy changes nothing, however it is written', () => {
  expect(difference(scope('    publish: [ a/+ ]\n'), scope('    publish: [ a/+, a/b ]\n'))).toEqual([]);
});

test('a rule that is added, narrowed or denied is told by who gains and loses', () => {
  expect(difference(scope('    publish: [ a/b ]\n'), scope('    publish: [ a/+ ]\n'))).toEqual([
    's gains publish a/+',
  ]);
  expect(difference(scope('    subscribe: [ a/# ]\n'), scope('    subscribe: [ a/b ]\n'))).toContain(
    's loses receive a/#',
  );
  expect(
    difference(
      scope('    publish: [ a/# ]\n'),
      scope('    publish: [ a/# ]\n', 'deny: [ { publish: [ a/x/# ] } ]\n'),
    ),
  ).toEqual(['s loses publish a/#']);
});

test('a scope that lifts a deny is looked at with each scope', () => {
  const before =
    'version: 1\nscopes: { s: { publish: [ a/# ] }, admin: {} }\ndeny: [ { publish: [ a/x ] } ]\n';
  const after = before.replace('a/x ]', 'a/x ], unless: [ admin ]');
  expect(difference(before, after)).toEqual(['s admin gains publish a/#']);
});

test.each([
  ['max_qos: 0', 's loses publish a QoS 1'],
  ['retain: false', 's loses publish a retained'],
  ['max_payload_bytes: 10', 's loses publish a 11 bytes'],
  ['max_messages_per_second: 5', 's changes publish a no rate becomes 5/s, 5 at once'],
])('an option that is set, %s, is told', (option, told) => {
  const after = scope(`    publish: [ { topic: a, ${option} } ]\n`);
  expect(difference(scope('    publish: [ a ]\n'), after)).toEqual([told]);
});

test('of a subscribe the breadth counts', () => {
  const rule = (broader: string) => scope(`    subscribe: [ { topic: a/+, broader: ${broader} } ]\n`);
  expect(difference(rule('refuse'), rule('exact'))).toContain('s loses subscribe a/x');
});

test('what a policy gives and takes is what a model finds by trying every topic', () => {
  fc.assert(
    fc.property(
      anyPolicy,
      anyPolicy,
      fc.constantFrom('c1', 'c2'),
      fc.constantFrom(undefined, 'g'),
      (old, now, clientId, group) => {
        const scopes = ['s1', 's2'];
        const subject: Subject & { name: string } = { name: 'it', clientId, group, scopes, claims: {} };
        const changes = policyDifference(old, now, [subject]);
        const [before, after] = [old, now].map((one) => {
          const grants = grantsOf(one, {
            client_id: clientId,
            scope: scopes.join(' '),
            ...(group && { group }),
          } as never);
          return { clientId, issuer: '', tokenId: '', expiresAtMs: 1, grants };
        });
        for (const action of ['publish', 'receive'] as const) {
          const may = (principal: typeof before, topic: string) =>
            decide(
              principal,
              action === 'publish' ? { action, topic, qos: 0, retain: false, bytes: 0 } : { action, topic },
              0,
            ).allowed;
          const found = (change: string) =>
            changes.filter((one) => one.action === action && one.change === change);
          const gained = universe.filter((topic) => !may(before, topic) && may(after, topic));
          const lost = universe.filter((topic) => may(before, topic) && !may(after, topic));
          expect([action, found('gains').length > 0]).toEqual([action, gained.length > 0]);
          expect([action, found('loses').length > 0]).toEqual([action, lost.length > 0]);
          for (const { examples } of found('gains')) {
            for (const topic of examples)
              expect([topic, may(before, topic), may(after, topic)]).toEqual([topic, false, true]);
          }
          for (const { examples } of found('loses')) {
            for (const topic of examples)
              expect([topic, may(before, topic), may(after, topic)]).toEqual([topic, true, false]);
          }
        }
      },
    ),
    { numRuns: 500 },
  );
});
