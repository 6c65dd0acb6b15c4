import { compileGrants, decide, explain, parsePolicy } from '@fleetgate/broker';
import { directScopeToken } from '@fleetgate/shared';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Decision, nextRate, type Principal } from '../../../broker/authorization/decide.ts';
import { allFilters, allTopics } from '../../shared/topic-model.ts';
import { type ModelAttempt, type ModelPolicy, type ModelToken, modelDecide, modelRates } from './model.ts';

// Two levels and a wildcard are enough for rules, denies and requests to meet in every way; short ones meet often.
const plainFilter = fc.oneof(
  fc.constantFrom('#', 'a/#', '+/#', 'a/+', '+', 'a/b'),
  fc.constantFrom(...allFilters),
);
const written = fc.oneof(
  plainFilter,
  fc
    .array(fc.constantFrom('a', 'b', '+', '', '{client_id}', '{group}', '{claim:site}'), {
      minLength: 1,
      maxLength: 2,
    })
    .chain((levels) => fc.constantFrom(levels, [...levels, '#']))
    .map((levels) => levels.join('/'))
    .filter((filter) => filter !== ''),
);
const qos = fc.constantFrom<0 | 1 | 2>(0, 1, 2);
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const publishRule = fc
  .record({
    topic: written,
    max_qos: optional(qos),
    retain: optional(fc.boolean()),
    max_payload_bytes: optional(fc.constantFrom(0, 1, 10)),
    rate: optional(
      fc.record({
        max_messages_per_second: fc.constantFrom(0.5, 1, 3),
        burst: optional(fc.integer({ min: 1, max: 9 })),
      }),
    ),
  })
  .map(({ rate = {}, ...rule }) => ({ ...rule, ...rate }));
const subscribeRule = fc.record({
  topic: written,
  max_qos: optional(qos),
  broader: optional(fc.constantFrom<'refuse' | 'filter' | 'exact'>('refuse', 'filter', 'exact')),
});
const scopeName = fc.constantFrom('s1', 's2', 'lift');
const policies: fc.Arbitrary<ModelPolicy> = fc
  .record({
    version: fc.constant(1 as const),
    scopes: fc.dictionary(
      scopeName,
      fc.record({
        publish: fc.array(publishRule, { maxLength: 3 }),
        subscribe: fc.array(subscribeRule, { maxLength: 3 }),
      }),
      { noNullPrototype: true },
    ),
    deny: fc.array(
      fc.record({
        publish: fc.array(written, { maxLength: 2 }),
        subscribe: fc.array(written, { maxLength: 2 }),
        unless: fc.array(scopeName, { maxLength: 1 }),
      }),
      { maxLength: 2 },
    ),
  })
  // As a file holds it: what is undefined is not there.
  .map((policy) => JSON.parse(JSON.stringify(policy)) as ModelPolicy);
const directScope = fc
  .tuple(fc.constantFrom<'publish' | 'subscribe'>('publish', 'subscribe'), plainFilter)
  .map(([action, filter]) => directScopeToken(action, filter));
const tokens: fc.Arbitrary<ModelToken> = fc
  .record({
    clientId: fc.constantFrom('a', 'b'),
    group: optional(fc.constantFrom('a', 'b', '', '+', '#', 'a/b')),
    scopes: fc.uniqueArray(
      fc.oneof({ weight: 3, arbitrary: scopeName }, directScope, fc.constant('unknown')),
      { maxLength: 4 },
    ),
    aif: fc.option(
      fc.array(fc.tuple(plainFilter, fc.subarray(['pub' as const, 'sub' as const], { minLength: 1 })), {
        maxLength: 3,
      }),
      { nil: undefined, freq: 2 },
    ),
    claims: fc.oneof(
      fc.record({
        site: fc.constantFrom<unknown>('a', 'b', '', '+', 'a/#', 'a\0', 1, null, ['a'], { a: 'a' }),
      }),
      fc.constant({}),
      fc.constant(Object.create({ site: 'a' }) as Record<string, unknown>),
    ),
  })
  .map(({ group, aif, ...token }) => ({
    ...token,
    ...(group === undefined ? {} : { group }),
    ...(aif === undefined ? {} : { aif }),
  }));
const topic = fc.oneof(fc.constantFrom('a', 'b', 'a/b', 'a/a', 'a/b/a', '$x'), fc.constantFrom(...allTopics));
const attempts: fc.Arbitrary<ModelAttempt> = fc.oneof(
  fc.record({
    action: fc.constant('publish' as const),
    topic,
    qos,
    retain: fc.boolean(),
    bytes: fc.constantFrom(0, 1, 2, 11),
  }),
  fc.record({ action: fc.constant('subscribe' as const), filter: plainFilter, qos }),
  fc.record({ action: fc.constant('receive' as const), topic }),
);

function principal(policy: ModelPolicy, { aif, ...token }: ModelToken) {
  const scope = Buffer.from(JSON.stringify(aif ?? [])).toString('base64url');
  const claims = aif === undefined ? token : { ...token, scopes: [scope], scopeFormat: 'aif' as const };
  const grants = compileGrants(parsePolicy(JSON.stringify(policy), 'policy.yaml'), claims);
  return { clientId: token.clientId, issuer: 'http://issuer', tokenId: 'id', expiresAtMs: 1, grants };
}

function outcomeOf(decision: Decision): string {
  if (!decision.allowed) return decision.reason;
  return decision.rate === undefined ? 'allowed' : 'rated';
}

/** The rates that are asked in turn, as [messages a second, burst]. */
function ratesOf(who: Principal, attempt: ModelAttempt & { action: 'publish' }): [number, number][] {
  const decision = decide(who, attempt, 0);
  const rates: [number, number][] = [];
  let rate = decision.allowed ? decision.rate : undefined;
  for (; rate !== undefined; rate = nextRate(who, attempt, rate)) rates.push([rate.perSecond, rate.burst]);
  return rates;
}

test('decide says of every policy, token and attempt what the model says, and explain says the same', () => {
  const met = new Map<string, number>();
  fc.assert(
    fc.property(
      policies,
      tokens,
      fc.array(attempts, { minLength: 8, maxLength: 8 }),
      (policy, token, tries) => {
        const who = principal(policy, token);
        for (const attempt of tries) {
          const decision = decide(who, attempt, 0);
          const outcome = outcomeOf(decision);
          expect(outcome).toBe(modelDecide(policy, token, attempt));
          if (outcome === 'rated' && attempt.action === 'publish') {
            expect(ratesOf(who, attempt)).toEqual(modelRates(policy, token, attempt));
          }
          expect(explain(who, attempt, 0).decision).toBe(decision);
          met.set(`${attempt.action} ${outcome}`, (met.get(`${attempt.action} ${outcome}`) ?? 0) + 1);
        }
      },
    ),
    { numRuns: 3000 },
  );
  // The generators must reach every outcome, or the agreement above says little.
  expect(Array.from(met.keys()).sort()).toEqual([
    'publish allowed',
    'publish denied_by_rule',
    'publish no_rule',
    'publish payload_too_large',
    'publish qos_too_high',
    'publish rated',
    'publish retain_not_allowed',
    'receive allowed',
    'receive denied_by_rule',
    'receive no_rule',
    'subscribe allowed',
    'subscribe denied_by_rule',
    'subscribe filter_broader_than_rule',
    'subscribe filter_not_exact',
    'subscribe no_rule',
    'subscribe qos_too_high',
  ]);
});
