import { compileGrants, decide, parsePolicy, policyWarnings } from '@fleetgate/broker';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_POLICY_DENIES, MAX_POLICY_RULES } from '../../../broker/authorization/policy.ts';
import { allFilters, allTopics } from '../../shared/topic-model.ts';

interface Rule {
  topic: string;
  max_qos?: number;
  retain?: boolean;
  broader?: 'refuse' | 'filter' | 'exact';
  max_messages_per_second?: number;
}
interface File {
  version: 1;
  scopes: Record<string, { publish?: (string | Rule)[]; subscribe?: (string | Rule)[] }>;
  deny?: { publish?: string[]; subscribe?: string[]; unless?: string[] }[];
}

const warningsOf = (file: Omit<File, 'version'>) =>
  policyWarnings(parsePolicy(JSON.stringify({ version: 1, ...file }), 'p')).map(({ words }) => words);

describe('a warning says that', () => {
  test.each<[string, Omit<File, 'version'>, string]>([
    ['a rule is covered by another', { scopes: { s: { publish: ['a/#', 'a/b'] } } }, '`a/b` changes nothing'],
    [
      'of two equal rules the second is idle',
      { scopes: { s: { publish: ['a', 'a'] } } },
      '`a` changes nothing',
    ],
    [
      'the limits of a rule do not hold, since a wider one has none',
      { scopes: { s: { publish: [{ topic: 'a/b', max_qos: 0, retain: false }, 'a/+'] } } },
      '`a/b` changes nothing',
    ],
    [
      'nor does a rate beside a rule without one',
      { scopes: { s: { publish: [{ topic: 'a', max_messages_per_second: 1 }, 'a'] } } },
      '`a` changes nothing',
    ],
    [
      'a rule with a placeholder is covered, whatever its value',
      { scopes: { s: { publish: ['d/+/x', 'd/{client_id}/x'] } } },
      '`d/{client_id}/x` changes nothing',
    ],
    [
      'an exact filter is covered by a rule that accepts parts',
      { scopes: { s: { subscribe: [{ topic: 'a/b', broader: 'exact' }, 'a/#'] } } },
      '`a/b` changes nothing',
    ],
    [
      'a deny covers a rule',
      { scopes: { s: { publish: ['a/b', 'c'] } }, deny: [{ publish: ['a/#'] }] },
      '`a/b` never grants: deny `a/#` at p:1:',
    ],
    [
      'with the scope that would lift it',
      { scopes: { s: { publish: ['a/b', 'c'] }, lift: {} }, deny: [{ publish: ['a/#'], unless: ['lift'] }] },
      'unless the token also holds lift',
    ],
    [
      'a deny covers a rule with the same placeholder',
      { scopes: { s: { publish: ['a/{group}', 'c'] } }, deny: [{ publish: ['a/{group}'] }] },
      '`a/{group}` never grants',
    ],
    [
      'denies cover all of a scope',
      {
        scopes: { s: { publish: ['a/b', 'a/c'], subscribe: ['x'] } },
        deny: [{ publish: ['a/#'], subscribe: ['+'] }],
      },
      'scope s grants nothing: a deny covers each',
    ],
    ['a scope has no rules', { scopes: { s: {}, t: { publish: ['a'] } } }, 'scope s has no rules'],
    [
      'an exact filter that a deny touches accepts no subscription',
      { scopes: { s: { subscribe: [{ topic: 'a/#', broader: 'exact' }] } }, deny: [{ subscribe: ['a/b'] }] },
      '`a/#` accepts no subscription',
    ],
    [
      'nobody defines the scope of an unless, and which is near',
      { scopes: { firmware: { publish: ['a'] } }, deny: [{ publish: ['b'], unless: ['firmwre'] }] },
      'did you mean firmware?',
    ],
  ])('%s', (_rule, file, words) => {
    const warnings = warningsOf(file);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(words);
  });
});

describe('there is no warning of', () => {
  test.each<[string, Omit<File, 'version'>]>([
    [
      'a rule that allows more than a wider one',
      { scopes: { s: { publish: [{ topic: 'a/#', max_qos: 0 }, 'a/b'] } } },
    ],
    [
      'a rule without a rate beside one that has one',
      {
        scopes: { s: { publish: [{ topic: 'a/#', max_messages_per_second: 1 }, 'a/b'] } },
      },
    ],
    [
      'two rates on one topic',
      {
        scopes: {
          s: {
            publish: [
              { topic: 'a', max_messages_per_second: 1 },
              { topic: 'a', max_messages_per_second: 1 },
            ],
          },
        },
      },
    ],
    [
      'a rule that accepts broader filters inside one that does not',
      {
        scopes: { s: { subscribe: ['a/#', { topic: 'a/b', broader: 'filter' }] } },
      },
    ],
    ['rules of two scopes', { scopes: { s: { publish: ['a/#'] }, t: { publish: ['a/b'] } } }],
    ['rules of two actions', { scopes: { s: { publish: ['a/#'], subscribe: ['a/b'] } } }],
    [
      'a value that a token may have and a deny names',
      {
        scopes: { s: { publish: ['a/{group}'] } },
        deny: [{ publish: ['a/b', 'a/{client_id}'] }],
      },
    ],
    [
      'a deny that the scope lifts',
      {
        scopes: { s: { publish: ['a'] } },
        deny: [{ publish: ['a'], unless: ['s'] }],
      },
    ],
    [
      'a scope without rules that lifts a deny',
      {
        scopes: { s: { publish: ['a', 'b'] }, lift: {} },
        deny: [{ publish: ['a/c'], unless: ['lift'] }],
      },
    ],
    [
      'placeholders whose names hold slashes',
      {
        scopes: { s: { publish: ['a/{claim:x/y}', 'a/{claim:x}'] } },
      },
    ],
  ])('%s', (_rule, file) => {
    expect(warningsOf(file)).toEqual([]);
  });
});

test('the example policy has none', async () => {
  const { examplePolicy } = await import('@fleetgate/broker');
  expect(policyWarnings(parsePolicy(examplePolicy, 'p'))).toEqual([]);
});

test('a warning names the place of what it is about', () => {
  const text = 'version: 1\nscopes:\n  s:\n    publish:\n      - a/#\n      - a/b\n  none: {}\n';
  expect(policyWarnings(parsePolicy(text, 'p.yaml')).map(({ source }) => source)).toEqual([
    'p.yaml:6:9',
    'p.yaml:7:9',
  ]);
});

test('without a rule of which a warning says that it is idle, everything is decided as with it', () => {
  const filter = fc.oneof(
    fc.constantFrom('#', 'a/#', '+/#', 'a/+', '+', 'a', 'a/b', 'a/{group}', '{group}/#', '{client_id}/b'),
    fc.constantFrom(...allFilters),
  );
  const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
  const publish = fc.record({
    topic: filter,
    max_qos: optional(fc.constantFrom(0, 1, 2)),
    retain: optional(fc.boolean()),
    max_messages_per_second: optional(fc.constant(1)),
  });
  const subscribe = fc.record({
    topic: filter,
    max_qos: optional(fc.constantFrom(0, 1, 2)),
    broader: optional(fc.constantFrom<'refuse' | 'filter' | 'exact'>('refuse', 'filter', 'exact')),
  });
  const files = fc
    .record({
      version: fc.constant(1 as const),
      scopes: fc.record({
        s: fc.record({
          publish: fc.array(publish, { maxLength: 4 }),
          subscribe: fc.array(subscribe, { maxLength: 4 }),
        }),
      }),
      deny: fc.array(fc.record({ publish: fc.array(filter), subscribe: fc.array(filter) }), { maxLength: 1 }),
    })
    .map((file) => JSON.parse(JSON.stringify(file)) as File);
  const tries = fc.array(
    fc.oneof(
      fc.record({
        action: fc.constant('publish' as const),
        topic: fc.constantFrom(...allTopics),
        qos: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
        retain: fc.boolean(),
        bytes: fc.constant(0),
      }),
      fc.record({
        action: fc.constant('subscribe' as const),
        filter: fc.constantFrom(...allFilters),
        qos: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
      }),
      fc.record({ action: fc.constant('receive' as const), topic: fc.constantFrom(...allTopics) }),
    ),
    { minLength: 40, maxLength: 40 },
  );
  const decisionsOf = (file: File, attempts: readonly Parameters<typeof decide>[1][]) => {
    const claims = { clientId: 'a', group: 'b', scopes: ['s'], claims: {} };
    const grants = compileGrants(parsePolicy(JSON.stringify(file), 'p'), claims);
    const who = { clientId: 'a', issuer: 'i', tokenId: 't', expiresAtMs: 1, grants };
    return attempts.map((attempt) => {
      const decision = decide(who, attempt, 0);
      return decision.allowed && (decision.rate === undefined ? 'allowed' : 'rated');
    });
  };
  let removed = 0;
  fc.assert(
    fc.property(files, tries, (file, attempts) => {
      const policy = parsePolicy(JSON.stringify(file), 'p');
      for (const { source, words } of policyWarnings(policy)) {
        if (!/changes nothing|never grants/.test(words)) continue;
        for (const action of ['publish', 'subscribe'] as const) {
          const at = policy.scopes.get('s')?.[action].findIndex(({ rule }) => rule.source === source) ?? -1;
          if (at === -1) continue;
          const without = structuredClone(file);
          const [taken] = without.scopes['s']?.[action]?.splice(at, 1) ?? [];
          // A rule that accepts broader filters accepts them also when a deny leaves nothing to deliver.
          const isAccepting =
            words.includes('never grants') && typeof taken === 'object' && taken.broader === 'filter';
          const compared = attempts.filter((one) => !isAccepting || one.action !== 'subscribe');
          expect(decisionsOf(without, compared)).toEqual(decisionsOf(file, compared));
          removed += 1;
        }
      }
    }),
    { numRuns: 400 },
  );
  expect(removed).toBeGreaterThan(100);
});

test('the largest policy is looked through in the time of a test', () => {
  const publish = Array.from({ length: MAX_POLICY_RULES }, (_, n) => `a/{client_id}/${n}`);
  const deny = [{ publish: Array.from({ length: MAX_POLICY_DENIES }, (_, n) => `b/{group}/${n}`) }];
  expect(warningsOf({ scopes: { s: { publish } }, deny })).toEqual([]);
});
