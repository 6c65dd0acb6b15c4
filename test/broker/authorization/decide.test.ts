import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileGrants } from '../../../broker/authorization/compile.ts';
import { type Attempt, decide, type Principal } from '../../../broker/authorization/decide.ts';
import { explain } from '../../../broker/authorization/explain.ts';
import { parsePolicy } from '../../../broker/authorization/policy.ts';
import { allFilters, topicsOf } from '../../shared/topic-model.ts';

const policy = parsePolicy(
  `version: 1
scopes:
  telemetry.write:
    publish:
      - devices/{client_id}/telemetry/#
      - { topic: devices/{client_id}/state, max_qos: 1, retain: false, max_payload_bytes: 10 }
  claimed: { publish: [ 'sites/{claim:site}/#' ] }
  read: { subscribe: [ 'r/+/#' ] }
  observe: { subscribe: [ { topic: 'r/+/t', broader: filter } ] }
  exact: { subscribe: [ { topic: 'e/#', broader: exact, max_qos: 1 } ] }
  all: { publish: [ '#' ], subscribe: [ '#' ] }
deny:
  - publish: [ 'fw/#' ]
    subscribe: [ 'r/secret/#' ]
    unless: [ lift ]
  - publish: [ 'closed/{claim:site}/x' ]
`,
  'policy.yaml',
);

function principal(scopes: string[], claims: Record<string, unknown> = { site: 's' }): Principal {
  const grants = compileGrants(policy, { clientId: 'a', scopes, claims });
  return { clientId: 'a', issuer: 'http://issuer', tokenId: 'id', expiresAtMs: 1000, grants };
}
const publish = (topic: string, more: Partial<Attempt & { action: 'publish' }> = {}): Attempt => ({
  action: 'publish',
  topic,
  qos: 0,
  retain: false,
  bytes: 1,
  ...more,
});
const subscribe = (filter: string, qos: 0 | 1 | 2 = 0): Attempt => ({ action: 'subscribe', filter, qos });
const receive = (topic: string): Attempt => ({ action: 'receive', topic });
function outcome(who: Principal | undefined, attempt: Attempt, nowMs = 0): string {
  const decision = decide(who, attempt, nowMs);
  return decision.allowed ? 'allowed' : decision.reason;
}

describe('a decision', () => {
  test.each<[string, string[], Attempt, string]>([
    ['publish needs a rule that matches', ['telemetry.write'], publish('devices/a/telemetry/x'), 'allowed'],
    ['publish as another device', ['telemetry.write'], publish('devices/b/telemetry/x'), 'no_rule'],
    ['an unknown scope grants nothing', ['nothing'], publish('devices/a/telemetry/x'), 'no_rule'],
    ['no scope grants nothing', [], receive('r/a'), 'no_rule'],
    ['max_qos', ['telemetry.write'], publish('devices/a/state', { qos: 2 }), 'qos_too_high'],
    ['retain', ['telemetry.write'], publish('devices/a/state', { retain: true }), 'retain_not_allowed'],
    [
      'max_payload_bytes',
      ['telemetry.write'],
      publish('devices/a/state', { bytes: 11 }),
      'payload_too_large',
    ],
    ['just max_payload_bytes', ['telemetry.write'], publish('devices/a/state', { bytes: 10 }), 'allowed'],
    ['a deny wins over a rule', ['all'], publish('fw/x'), 'denied_by_rule'],
    ['unless lifts a deny', ['all', 'lift'], publish('fw/x'), 'allowed'],
    ['subscribe needs a rule that covers', ['read'], subscribe('r/a/#'), 'allowed'],
    ['refuse: broader than the rule', ['read', 'lift'], subscribe('r/#'), 'filter_broader_than_rule'],
    ['a deny that overlaps', ['read'], subscribe('r/+/b'), 'denied_by_rule'],
    ['a lifted deny does not overlap', ['read', 'lift'], subscribe('r/+/b'), 'allowed'],
    ['filter: broader is accepted', ['observe'], subscribe('r/#'), 'allowed'],
    ['filter: delivery is by the rule', ['observe'], receive('r/a/other'), 'no_rule'],
    ['filter: delivery is by the deny', ['observe'], receive('r/secret/t'), 'denied_by_rule'],
    ['exact: the rule itself', ['exact'], subscribe('e/#'), 'allowed'],
    ['exact: a part of the rule', ['exact'], subscribe('e/a'), 'filter_not_exact'],
    ['max_qos of a subscription', ['exact'], subscribe('e/#', 2), 'qos_too_high'],
    ['$-topics never by a wildcard', ['all'], publish('$other/x'), 'no_rule'],
    ['$-filters never by a wildcard', ['all', 'lift'], subscribe('$other/#'), 'no_rule'],
    ['a wildcard is no topic', ['all'], publish('a/+'), 'topic_malformed'],
    ['a malformed filter', ['all'], subscribe('a#'), 'filter_malformed'],
    ['a direct publish scope', ['mqtt:publish:d/#'], publish('d/x'), 'allowed'],
    ['a direct publish scope gives no subscribe', ['mqtt:publish:d/#'], subscribe('d/x'), 'no_rule'],
    ['a direct scope is under the denies', ['mqtt:publish:fw/#'], publish('fw/x'), 'denied_by_rule'],
    ['{client_id} in a token is a literal', ['mqtt:publish:d/{client_id}'], publish('d/a'), 'no_rule'],
  ])('%s', (_rule, scopes, attempt, expected) => {
    const who = principal(scopes);
    expect(outcome(who, attempt)).toBe(expected);
    expect(explain(who, attempt, 0).decision).toEqual(decide(who, attempt, 0));
  });

  test.each(['$SYS', '$share', '$fleetgate'])('%s is refused, whoever asks', (level) => {
    const who = principal(['all', `mqtt:publish:${level}/#`, `mqtt:subscribe:${level}/#`]);
    for (const attempt of [publish(`${level}/x`), subscribe(`${level}/#`), receive(`${level}/x`)]) {
      expect(outcome(who, attempt)).toBe('topic_reserved');
    }
  });

  test('no principal is refused', () => {
    expect(outcome(undefined, receive('r/a'))).toBe('not_authenticated');
  });

  test.each([1000, 1001, Number.NaN])('a token that expires at 1000 is refused at %d', (nowMs) => {
    expect(outcome(principal(['all']), publish('x'), nowMs)).toBe('session_expired');
  });

  test('without a policy direct scopes grant, and named ones do not', () => {
    const scopes = ['all', 'mqtt:subscribe:d/#'];
    const who = { ...principal([]), grants: compileGrants(undefined, { clientId: 'a', scopes, claims: {} }) };
    expect([outcome(who, subscribe('d/x')), outcome(who, subscribe('e'))]).toEqual(['allowed', 'no_rule']);
  });
});

describe('a claim that cannot fill a placeholder', () => {
  const hostile = ['', '+', '#', 'a/b', 'a/#', 'a\0', 7, ['s'], {}, null, '$SYS', undefined];
  test.each(hostile)('%j grants nothing and widens the deny', (site) => {
    const who = principal(['claimed', 'mqtt:publish:closed/#'], { site });
    expect(who.grants.publish.map(({ filter }) => filter)).toEqual(['closed/#']);
    expect(outcome(who, publish('sites/s/x'))).toBe('no_rule');
    expect(outcome(who, publish('closed/any/x'))).toBe('denied_by_rule');
  });

  test('an inherited property is no claim', () => {
    const who = principal(['claimed'], Object.create({ site: 's' }));
    expect(outcome(who, publish('sites/s/x'))).toBe('no_rule');
  });
});

test('under refuse and exact, every topic of an allowed subscription may be received', () => {
  const filter = fc.constantFrom(...allFilters.filter((one) => !one.startsWith('$')));
  fc.assert(
    fc.property(filter, filter, filter, fc.constantFrom('refuse', 'exact'), (rule, deny, asked, broader) => {
      const file = {
        version: 1,
        scopes: { s: { subscribe: [{ topic: rule, broader }] } },
        deny: [{ subscribe: [deny] }],
      };
      const grants = compileGrants(parsePolicy(JSON.stringify(file), 'p'), {
        clientId: 'a',
        scopes: ['s'],
        claims: {},
      });
      const who = { ...principal([]), grants };
      if (!decide(who, subscribe(asked), 0).allowed) return;
      for (const topic of topicsOf(asked)) expect(outcome(who, receive(topic))).toBe('allowed');
    }),
    { numRuns: 1000 },
  );
});
