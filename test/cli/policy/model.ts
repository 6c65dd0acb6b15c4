import { compileGrants, type Policy, parsePolicy } from '@fleetgate/broker';
import fc from 'fast-check';
import type { RegisteredClient } from '../../../cli/policy/registered-token.ts';

/**
 * Topics of up to three levels over a few words: with the fresh one, and a level more than filters have, all that policies
 * of these words can tell apart.
 */
const words = ['a', 'b', 'c1', 'c2', 'g', 'h', 'x1', 'x2', 'fresh'];
export const universe: readonly string[] = [
  ...words,
  ...words.flatMap((one) => words.map((two) => `${one}/${two}`)),
  ...words.flatMap((one) => words.flatMap((two) => words.map((three) => `${one}/${two}/${three}`))),
];

const level = fc.constantFrom('a', 'b', '+', '{client_id}', '{group}', 'c1', 'g');
export const anyFilter = fc
  .tuple(fc.array(level, { minLength: 1, maxLength: 2 }), fc.boolean())
  .map(([levels, isOpen]) => {
    const filter = levels.join('/');
    return isOpen ? `${filter}/#` : filter;
  });

const filters = fc.uniqueArray(anyFilter, { maxLength: 3 });
const scopeNames = ['s1', 's2', 's3'];

const options = fc.record(
  {
    max_qos: fc.constantFrom(0, 1),
    retain: fc.constant(false),
    max_payload_bytes: fc.constantFrom(0, 10),
    max_messages_per_second: fc.constantFrom(1, 5),
  },
  { requiredKeys: [] },
);
const breadth = fc.record(
  { max_qos: fc.constantFrom(0, 1), broader: fc.constantFrom('filter', 'exact') },
  { requiredKeys: [] },
);
const withOptions = (some: fc.Arbitrary<object>) =>
  filters.chain((topics) =>
    fc.tuple(
      ...topics.map((topic) =>
        fc.oneof(
          fc.constant({ topic }),
          some.map((more) => ({ topic, ...more })),
        ),
      ),
    ),
  );

const anyRules = fc.record({ publish: withOptions(options), subscribe: withOptions(breadth) });
const plainRules = fc.record({
  publish: filters,
  subscribe: withOptions(fc.record({ broader: fc.constantFrom('filter', 'exact') })),
});
const anyDeny = fc.record({
  publish: filters,
  subscribe: filters,
  unless: fc.uniqueArray(fc.constantFrom(...scopeNames), { maxLength: 1 }),
});

const policyOf = (rules: fc.Arbitrary<object>): fc.Arbitrary<Policy> =>
  fc
    .record({
      scopes: fc.dictionary(fc.constantFrom(...scopeNames), rules, { minKeys: 1, maxKeys: 3 }),
      deny: fc.array(anyDeny, { maxLength: 2 }),
    })
    .map((file) => parsePolicy(JSON.stringify({ version: 1, ...file }), 'policy.yaml'));

/** A policy as its file has it. */
export const anyPolicy = policyOf(anyRules);

/** One whose rules are the same for every QoS, size and retained message. */
export const plainPolicy = policyOf(plainRules);

const directScopes = [
  'mqtt:publish:a/{client_id}',
  'mqtt:publish:c2/#',
  'mqtt:publish:x1/a',
  'mqtt:subscribe:{group}/+',
];

/** Some that filters name, also one that is called as a group is, and some that nothing names. */
export const anyClients: fc.Arbitrary<RegisteredClient[]> = fc.uniqueArray(
  fc.record({
    client_id: fc.constantFrom('c1', 'c2', 'g', 'x1', 'x2'),
    group: fc.option(fc.constantFrom('g', 'h')),
    scope: fc
      .uniqueArray(fc.constantFrom(...scopeNames, ...scopeNames, ...directScopes), { maxLength: 3 })
      .map((scopes) => scopes.join(' ')),
  }),
  { selector: ({ client_id }) => client_id, maxLength: 5 },
) as fc.Arbitrary<RegisteredClient[]>;

export async function* each<Item>(items: readonly Item[]): AsyncGenerator<Item> {
  yield* items;
}

/** What the words of a policy give a client, by the book: no code of the tools. */
export function grantsOf(policy: Policy, { client_id, group, scope }: RegisteredClient) {
  const filled = scope.replaceAll('{client_id}', client_id).split(' ');
  const scopes = filled.filter((one) => group != null || !one.includes('{group}'));
  return compileGrants(policy, {
    clientId: client_id,
    scopes: scope === '' ? [] : scopes.map((one) => one.replaceAll('{group}', group ?? '')),
    claims: {},
    ...(group != null && { group }),
  });
}

/** MQTT 3.1.1 §4.7, level by level. */
export function naiveMatches(filter: string, topic: string): boolean {
  const [f, t] = [filter.split('/'), topic.split('/')];
  const at = f.indexOf('#');
  const head = at === -1 ? f : f.slice(0, at);
  if (at === -1 ? t.length !== f.length : t.length < head.length) return false;
  return head.every((one, i) => one === '+' || one === t[i]);
}
