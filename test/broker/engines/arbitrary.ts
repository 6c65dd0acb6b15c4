import { compileGrants, decide, parsePolicy } from '@fleetgate/broker';
import { directScopeToken } from '@fleetgate/shared';
import fc from 'fast-check';
import { allFilters, allTopics } from '../../shared/topic-model.ts';
import type { ModelPolicy, ModelToken } from '../authorization/model.ts';

// Filters that engines can be told, often; each kind that one of them cannot, sometimes.
const tellable = fc.constantFrom(
  'a',
  'a/b',
  'a/#',
  'b/#',
  'a/b/#',
  'b',
  '/#',
  'b/a/#',
  '{client_id}/#',
  'a/{group}',
);
const filter = fc.oneof(
  { weight: 8, arbitrary: tellable },
  { weight: 1, arbitrary: fc.constantFrom('a/{client_id}/b', '{claim:site}/#', 'b/{claim:site}') },
  { weight: 1, arbitrary: fc.constantFrom(...allFilters) },
);
const subscribeFilter = fc.oneof(
  { weight: 2, arbitrary: filter },
  fc.constantFrom('#', '+/#', '+', 'a/+', '+/b', 'a/+/#', '+/+/#', 'a/+/b', '{client_id}/+'),
);
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 6 });
const qos = fc.constantFrom<0 | 1 | 2>(0, 1, 2);

/** Policies of two scopes; with options of rules or without. */
export function policies(hasOptions: boolean): fc.Arbitrary<ModelPolicy> {
  const some = <T>(arbitrary: fc.Arbitrary<T>) =>
    hasOptions ? fc.option(arbitrary, { nil: undefined, freq: 2 }) : fc.constant(undefined);
  const publishRule = fc.record({
    topic: filter,
    max_qos: some(qos),
    retain: some(fc.boolean()),
    max_payload_bytes: some(fc.constantFrom(0, 10)),
    max_messages_per_second: some(fc.constantFrom(0.5, 3)),
  });
  const subscribeRule = fc.record({
    topic: subscribeFilter,
    max_qos: some(qos),
    broader: optional(fc.constantFrom<'refuse' | 'filter' | 'exact'>('refuse', 'filter', 'exact')),
  });
  const rules = fc.record({
    publish: fc.array(publishRule, { maxLength: 2 }),
    subscribe: fc.array(subscribeRule, { maxLength: 2 }),
  });
  const deny = fc.record({
    publish: fc.array(filter, { maxLength: 1 }),
    subscribe: fc.array(filter, { maxLength: 1 }),
    unless: fc.array(fc.constantFrom('s1', 's2'), { maxLength: 1 }),
  });
  return fc
    .record({
      version: fc.constant(1 as const),
      scopes: fc.record({ s1: rules, s2: rules }),
      deny: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, fc.array(deny, { maxLength: 2 })),
    })
    .map((policy) => JSON.parse(JSON.stringify(policy)) as ModelPolicy);
}

const direct = fc
  .tuple(
    fc.constantFrom<'publish' | 'subscribe'>('publish', 'subscribe'),
    fc.constantFrom('a/#', 'b', 'a/+', '#'),
  )
  .map(([action, of]) => directScopeToken(action, of));

/** Tokens with values that make usable filters, and some that do not, or none an engine can be told. */
export const tokens: fc.Arbitrary<ModelToken> = fc
  .record({
    clientId: fc.oneof({ weight: 8, arbitrary: fc.constantFrom('a', 'b') }, fc.constant('a.b')),
    group: fc.option(fc.constantFrom('a', 'b', '+'), { nil: undefined }),
    scopes: fc.uniqueArray(
      fc.oneof({ weight: 4, arbitrary: fc.constantFrom('s1', 's2') }, direct, fc.constant('unknown')),
      { minLength: 1, maxLength: 3 },
    ),
    claims: fc.oneof(
      fc.constant({}),
      fc.record({ site: fc.constantFrom<unknown>('a', 'b', '*', 'eq b', `b\${clientid}`, 1) }),
    ),
  })
  .map(({ group, ...token }) => ({ ...token, ...(group === undefined ? {} : { group }) }));

/** Topics and filters that engines meet, with characters that some of them take for others. */
export const topics = fc.oneof(
  fc.constantFrom(
    'a',
    'b',
    'a/b',
    'b/a',
    'a/a',
    '/a',
    'a/b/a',
    '$x',
    '$SYS/a',
    'a/',
    'a.b',
    'a/*',
    'a/b.a',
    'eq b',
  ),
  fc.constantFrom(...allTopics),
);
export const filters = fc.oneof(
  fc.constantFrom(
    '#',
    '+',
    '+/#',
    'a/#',
    'a/+',
    'a/+/#',
    'a/b/#',
    'a/b',
    '+/b',
    'a/+/b',
    'b/a/+',
    '/#',
    '+/+/#',
  ),
  fc.constantFrom('a/*', 'a.b', 'a.b/#', '$share/g/a', '$SYS/#', '*', '*/#', 'eq a'),
  fc.constantFrom(...allFilters),
);

export const attempts = fc.record({
  topic: topics,
  filter: filters,
  qos,
  retain: fc.boolean(),
  bytes: fc.constantFrom(0, 5, 11),
});

/** What our broker decides of one token, and what it is a token of. */
export function brokerOf(model: ModelPolicy, token: ModelToken) {
  const policy = parsePolicy(JSON.stringify(model), 'policy.yaml');
  const grants = compileGrants(policy, token);
  const principal = { clientId: token.clientId, issuer: '', tokenId: '', expiresAtMs: 1, grants };
  return {
    policy,
    allows: (attempt: Parameters<typeof decide>[1]) => decide(principal, attempt, 0).allowed,
  };
}
