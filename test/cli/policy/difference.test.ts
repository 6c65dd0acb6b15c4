import { decide, type Policy, parsePolicy } from '@fleetgate/broker';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { policyDifference } from '../../../cli/policy/difference.ts';
import { differenceOfClients, differenceOfTokens } from '../../../cli/policy/difference-report.ts';
import { principalsOf } from '../../../cli/policy/principals.ts';
import type { RegisteredClient } from '../../../cli/policy/registered-token.ts';
import type { Subject } from '../../../cli/policy/subject.ts';
import { anyFilter, anyPolicy, each, grantsOf, naiveMatches, plainPolicy, universe } from './model.ts';

const policy = (text: string) => parsePolicy(text, 'policy.yaml');

const difference = (before: string, after: string) =>
  differenceOfTokens(policy(before), policy(after)).changes.map(
    ({ subject, action, change, filter, except, only }) =>
      [subject, change, action, filter, ...(except.length ? [`but ${except}`] : []), only]
        .filter((part) => part !== '')
        .join(' '),
  );

const scope = (rules: string, more = '') => `version: 1\nscopes:\n  s:\n${rules}${more}`;

test('the same policy changes nothing, however it is written', () => {
  expect(difference(scope('    publish: [ a/+ ]\n'), scope('    publish: [ a/+, a/b ]\n'))).toEqual([]);
});

test('a rule that is added, narrowed or denied is told by who gains and loses', () => {
  expect(difference(scope('    publish: [ a/b ]\n'), scope('    publish: [ a/+ ]\n'))).toEqual([
    's gains publish a/+ but a/b',
  ]);
  expect(difference(scope('    subscribe: [ a/# ]\n'), scope('    subscribe: [ a/b ]\n'))).toEqual([
    's loses receive a/# but a/b',
    's loses subscribe a/#',
  ]);
  expect(
    difference(
      scope('    publish: [ a/# ]\n'),
      scope('    publish: [ a/# ]\n', 'deny: [ { publish: [ a/x/# ] } ]\n'),
    ),
  ).toEqual(['s loses publish a/x/#', 'mqtt:publish:a/x/# loses publish a/x/#']);
});

test('what one filter says is told once, however many others meet it', () => {
  const before = scope('    publish: [ a/#, a/b, a/+/c ]\n');
  expect(difference(before, scope('    publish: [ z ]\n'))).toEqual([
    's loses publish a/#',
    's gains publish z',
  ]);
  expect(difference(before, scope('    publish: [ a/b/# ]\n'))).toEqual(['s loses publish a/# but a/b/#']);
});

describe('a change is found that concerns only', () => {
  const rules = "scopes: { s: { publish: [ 'd/{client_id}/#' ] }, l: {}, m: {} }\n";
  const start = `version: 1\n${rules}`;

  test('tokens with a scope that lifts a deny', () => {
    const before = `${start}deny: [ { publish: [ d/+/x ] } ]\n`;
    const after = before.replace('x ]', 'x ], unless: [ l ]');
    expect(difference(before, after)).toEqual([
      's l gains publish d/a-client/x',
      'mqtt:publish:d/+/x l gains publish d/+/x',
    ]);
  });

  test('tokens with two such scopes', () => {
    const before = `${start}deny: [ { publish: [ d/+/x ], unless: [ l ] }, { publish: [ d/+/x ], unless: [ m ] } ]\n`;
    const after = `${start}deny: [ { publish: [ d/+/x ] } ]\n`;
    expect(difference(before, after)).toContain('s l m loses publish d/a-client/x');
  });

  test('one client', () => {
    const after = `${start}deny: [ { publish: [ d/gate-1/# ] } ]\n`;
    expect(difference(start, after)).toContain('s, client gate-1 loses publish d/gate-1/#');
    expect(difference(start, after)).not.toContain('s loses publish d/gate-1/#');
  });

  test('a part of an id', () => {
    const before = start.replace('{client_id}', 'dev-{client_id}');
    expect(difference(before, `${before}deny: [ { publish: [ d/dev-7/# ] } ]\n`)).toContain(
      's, client 7 loses publish d/dev-7/#',
    );
  });

  test('tokens without a value, or with two that are the same', () => {
    const denied =
      "version: 1\nscopes: { s: { publish: [ 'd/{client_id}' ] } }\ndeny: [ { publish: [ 'd/{group}' ] } ]\n";
    const free = denied.replace(/deny.*\n/, '');
    expect(difference(free, denied).filter((change) => change.startsWith('s'))).toEqual([
      's, no group loses publish d/a-client',
      's, group a-client loses publish d/a-client',
    ]);
    const claimed = denied.replace('{group}', '{claim:site}').replace('{client_id}', '{group}');
    expect(difference(claimed.replace(/deny.*\n/, ''), claimed)).toContain(
      's, claim:site a-group loses publish d/a-group',
    );
  });

  test('direct scopes', () => {
    const none = 'version: 1\nscopes: {}\n';
    expect(difference(none, `${none}deny: [ { subscribe: [ $app/x ] } ]\n`)).toEqual([
      'mqtt:subscribe:$app/x loses receive $app/x',
      'mqtt:subscribe:$app/x loses subscribe $app/x',
    ]);
  });
});

test.each([
  ['max_qos: 0', 's loses publish a QoS 1, 2'],
  ['retain: false', 's loses publish a retained'],
  ['max_payload_bytes: 10', 's loses publish a 11 or more bytes'],
  ['max_messages_per_second: 5', 's rate publish a no rate becomes 5/s, 5 at once by a'],
])('an option that is set, %s, is told', (option, told) => {
  const after = scope(`    publish: [ { topic: a, ${option} } ]\n`);
  expect(difference(scope('    publish: [ a ]\n'), after)).toEqual([told]);
});

test('what is gained one way and lost another is told both ways', () => {
  const rule = (options: string) => scope(`    publish: [ { topic: a, ${options} } ]\n`);
  expect(difference(rule('max_qos: 0'), rule('retain: false'))).toEqual([
    's loses publish a QoS 0, retained',
    's gains publish a QoS 1, 2, not retained',
  ]);
  expect(difference(rule('max_qos: 1'), rule('retain: false, max_payload_bytes: 5'))).toEqual([
    's loses publish a QoS 0, 1, not retained, 6 or more bytes; QoS 0, 1, retained',
    's gains publish a QoS 2, not retained, up to 5 bytes',
  ]);
});

test('a second rate of a topic counts', () => {
  const rate = (perSecond: number) => `{ topic: a, max_messages_per_second: ${perSecond} }`;
  const both = scope(`    publish: [ ${rate(1)}, ${rate(9)} ]\n`);
  expect(difference(both, scope(`    publish: [ ${rate(1)} ]\n`))).toEqual([
    's rate publish a 1/s, 1 at once by a or 9/s, 9 at once by a becomes 1/s, 1 at once by a',
  ]);
});

test('of a subscribe the breadth counts', () => {
  const rule = (broader: string) => scope(`    subscribe: [ { topic: a/+, broader: ${broader} } ]\n`);
  expect(difference(rule('refuse'), rule('exact'))).toEqual(['s loses subscribe a/x']);
  expect(difference(rule('refuse'), rule('filter'))).toContain('s gains subscribe #');
});

test('of clients each kind is looked at, and those that a filter names', async () => {
  const of = (client_id: string, group: string) => ({ client_id, group, scope: 's' }) as RegisteredClient;
  const fleet = [...Array.from({ length: 50 }, (_, i) => of(`box-${i}`, `g-${i % 2}`)), of('gate-1', 'g-0')];
  const before = policy("version: 1\nscopes: { s: { publish: [ 'd/{client_id}/#' ] } }\n");
  const after = policy(
    "version: 1\nscopes: { s: { publish: [ 'd/{client_id}/#' ] } }\ndeny: [ { publish: [ d/+/x ] }, { publish: [ d/gate-1 ] } ]\n",
  );
  const told = async (by: 'client' | 'group') => {
    const principals = await principalsOf([before, after], () => each(fleet), {
      tellsGroups: by === 'group',
    });
    return differenceOfClients(before, after, principals, by).changes.map(({ subject, clients, filter }) =>
      [subject, clients, filter].join(' '),
    );
  };
  expect(await told('client')).toEqual(
    ['box-0 50 d/box-0/x', 'gate-1 1 d/gate-1', 'gate-1 1 d/gate-1/x'].sort(),
  );
  expect(await told('group')).toEqual([
    'group g-0, s 25 d/{client_id}/x',
    'group g-1, s 25 d/{client_id}/x',
    'group g-0, s 1 d/gate-1',
    'group g-0, s 1 d/gate-1/x',
  ]);
});

test('a client that is a word of another one is told once', async () => {
  const fleet = [
    { client_id: 'a', group: 'g', scope: 's' },
    { client_id: 'b', group: 'g', scope: 's mqtt:subscribe:x/a' },
  ] as RegisteredClient[];
  const [before, after] = [
    policy('version: 1\n'),
    policy("version: 1\nscopes: { s: { publish: [ 'd/{client_id}' ] } }\n"),
  ];
  const principals = await principalsOf([before, after], () => each(fleet), { tellsGroups: true });
  const told = differenceOfClients(before, after, principals, 'group').changes;
  expect(told.map(({ subject, clients, filter }) => [subject, clients, filter].join(' '))).toEqual([
    'group g, s 1 d/a',
    'group g, mqtt:subscribe:x/a s 1 d/{client_id}',
  ]);
});

const anySubject: fc.Arbitrary<Subject> = fc.record({
  clientId: fc.constantFrom('c1', 'c2', 'g', 'x1'),
  group: fc.option(fc.constantFrom('g', 'h', 'c1'), { nil: undefined }),
  scopes: fc.subarray(['s1', 's2', 's3', 'mqtt:publish:a/#', 'mqtt:subscribe:c1/+']),
  claims: fc.constant({}),
});

function principalOf(of: Policy, { clientId, group, scopes }: Subject) {
  const grants = grantsOf(of, { client_id: clientId, group: group ?? null, scope: scopes.join(' ') });
  return { clientId, issuer: '', tokenId: '', expiresAtMs: 1, grants };
}

type Principal = ReturnType<typeof principalOf>;
const mayPublish = (who: Principal, topic: string) =>
  decide(who, { action: 'publish', topic, qos: 0, retain: false, bytes: 0 }, 0).allowed;
const mayReceive = (who: Principal, topic: string) => decide(who, { action: 'receive', topic }, 0).allowed;
const actions = [
  ['publish', mayPublish],
  ['receive', mayReceive],
] as const;

test('what a policy gives and takes is what a model finds by trying every topic', () => {
  fc.assert(
    fc.property(plainPolicy, plainPolicy, anySubject, (old, now, subject) => {
      const changes = policyDifference(old, now, subject);
      const [before, after] = [principalOf(old, subject), principalOf(now, subject)];
      for (const [action, may] of actions) {
        for (const change of ['gains', 'loses'] as const) {
          const told = changes.filter((one) => one.action === action && one.change === change);
          const is = (topic: string) =>
            told.some(
              ({ filter, except }) =>
                naiveMatches(filter, topic) && !except.some((one) => naiveMatches(one, topic)),
            );
          const [without, having] = change === 'gains' ? [before, after] : [after, before];
          const expected = universe.filter((topic) => !may(without, topic) && may(having, topic));
          expect([action, change, universe.filter(is)]).toEqual([action, change, expected]);
          for (const { examples } of told) {
            expect(examples.every((topic) => !may(without, topic) && may(having, topic))).toBe(true);
          }
        }
      }
    }),
    { numRuns: 600 },
  );
});

test('each subscription that is accepted by one policy alone is told, or one that covers it', () => {
  const requests = fc.sample(anyFilter, { numRuns: 300, seed: 1 }).filter((filter) => !filter.includes('{'));
  fc.assert(
    fc.property(plainPolicy, plainPolicy, anySubject, (old, now, subject) => {
      const changes = policyDifference(old, now, subject).filter(({ action }) => action === 'subscribe');
      const [before, after] = [principalOf(old, subject), principalOf(now, subject)];
      const may = (who: Principal, filter: string) =>
        decide(who, { action: 'subscribe', filter, qos: 0 }, 0).allowed;
      for (const { change, examples } of changes) {
        for (const filter of examples)
          expect([may(before, filter), may(after, filter)]).toEqual([change !== 'gains', change === 'gains']);
      }
      for (const filter of new Set(requests)) {
        const [was, is] = [may(before, filter), may(after, filter)];
        if (was !== is) expect(changes.map(({ change }) => change)).toContain(is ? 'gains' : 'loses');
      }
    }),
    { numRuns: 600 },
  );
});

test('where no token is said to gain or lose none does, whatever it holds', () => {
  let equal = 0;
  fc.assert(
    fc.property(
      plainPolicy,
      plainPolicy,
      fc.constantFrom('same', 'denies', 'other'),
      fc.array(anySubject, { minLength: 12, maxLength: 12 }),
      (old, other, how, subjects) => {
        // Two random policies are seldom equal: some differ in their denies alone, and some in that each stands twice.
        const twice = [...old.denyPublish, ...old.denyPublish];
        const now =
          how === 'other' ? other : { ...old, denyPublish: how === 'same' ? twice : other.denyPublish };
        const { changes, incomplete } = differenceOfTokens(old, now);
        expect(incomplete).toEqual([]);
        if (changes.length === 0) equal += 1;
        for (const subject of subjects) {
          const [before, after] = [principalOf(old, subject), principalOf(now, subject)];
          for (const [action, may] of actions) {
            for (const change of ['gains', 'loses'] as const) {
              const [without, having] = change === 'gains' ? [before, after] : [after, before];
              if (!universe.some((topic) => !may(without, topic) && may(having, topic))) continue;
              expect(changes.some((one) => one.action === action && one.change === change)).toBe(true);
            }
          }
        }
      },
    ),
    { numRuns: 50 },
  );
  expect(equal).toBeGreaterThan(2);
});

test('each QoS, size, retained message and rate that changes is told where it does', () => {
  const attempts = ([0, 1, 2] as const).flatMap((qos) =>
    [false, true].flatMap((retain) =>
      [0, 10, 11].map((bytes) => ({ action: 'publish' as const, qos, retain, bytes })),
    ),
  );
  // The model's topics differ in more than these rules can tell.
  const topics = universe.filter((topic) => topic.split('/').length < 3);
  fc.assert(
    fc.property(anyPolicy, anyPolicy, anySubject, (old, now, subject) => {
      const changes = policyDifference(old, now, subject).filter(({ action }) => action === 'publish');
      const [before, after] = [principalOf(old, subject), principalOf(now, subject)];
      for (const topic of topics) {
        const is = new Set<string>();
        for (const attempt of attempts) {
          const [was, may] = [before, after].map((who) => decide(who, { ...attempt, topic }, 0));
          if (was?.allowed !== may?.allowed) is.add(may?.allowed ? 'gains' : 'loses');
          else if (was?.allowed && may?.allowed && was.rate?.perSecond !== may.rate?.perSecond)
            is.add('rate');
        }
        const told = changes
          .filter(
            ({ filter, except }) =>
              naiveMatches(filter, topic) && !except.some((one) => naiveMatches(one, topic)),
          )
          .map(({ change }) => change);
        expect([topic, [...is].filter((change) => !told.includes(change as never))]).toEqual([topic, []]);
        // A rate may also change by a second rule, which the first decision does not show.
        const more = new Set(told.filter((change) => change !== 'rate' && !is.has(change)));
        expect([topic, more.size]).toEqual([topic, 0]);
      }
    }),
    { numRuns: 200 },
  );
});
