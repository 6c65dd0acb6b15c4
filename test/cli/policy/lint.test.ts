import { decide, type Policy, parsePolicy } from '@fleetgate/broker';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FindingCode } from '../../../cli/policy/finding.ts';
import { lintPolicy } from '../../../cli/policy/lint.ts';
import { MAX_SHAPES, principalsOf } from '../../../cli/policy/principals.ts';
import type { RegisteredClient } from '../../../cli/policy/registered-token.ts';
import { anyClients, anyPolicy, each, grantsOf, naiveMatches, universe } from './model.ts';

async function lint(policy: Policy, clients: readonly RegisteredClient[]) {
  return lintPolicy(policy, await principalsOf([policy], () => each(clients), { tokenClaims: ['site'] }));
}

const policyOf = (text: string) => parsePolicy(`version: 1\n${text}`, 'policy.yaml');
const client = (client_id: string, scope: string, group?: string, site?: string): RegisteredClient =>
  ({ client_id, scope, ...(group && { group }), ...(site && { metadata: { site } }) }) as RegisteredClient;

async function codes(policy: string, ...clients: RegisteredClient[]): Promise<FindingCode[]> {
  return (await lint(policyOf(policy), clients)).map(({ code }) => code);
}

const device = 'scopes: { t: { publish: [ d/{client_id}/t ] } }';

test('a policy and a registry that are as they should be have no findings', async () => {
  expect(await codes(device, client('a', 't'), client('b', 't'))).toEqual([]);
});

test.each<[FindingCode, string, RegisteredClient[]]>([
  ['reaches_everything', 'scopes: { t: { publish: [ "#" ] } }', [client('a', 't')]],
  ['reaches_everything', 'scopes: { t: { subscribe: [ "+/#" ] } }', [client('a', 't')]],
  ['reaches_everything', device, [client('a', 't'), client('b', 'mqtt:subscribe:#')]],
  ['first_level_wildcard', 'scopes: { t: { publish: [ +/state ] } }', [client('a', 't')]],
  ['first_level_wildcard', device, [client('a', 't'), client('b', 'mqtt:subscribe:+/t/#')]],
  ['other_device_subtree', device, [client('a', 't'), client('b', 'mqtt:publish:d/a/#')]],
  ['scope_unknown', device, [client('a', 't'), client('b', 'telemetry')]],
  ['rule_unused', device, []],
  ['rule_unused', 'scopes: { t: { publish: [ d/{group} ] } }', [client('a', 't')]],
  [
    'rule_unused',
    'scopes: { t: { subscribe: [ { topic: d/+, broader: exact } ] } }\ndeny: [ { subscribe: [ d/x ] } ]',
    [client('a', 't')],
  ],
  ['deny_never_applies', `${device}\ndeny: [ { publish: [ other/# ] } ]`, [client('a', 't')]],
  ['shared_writable_topic', 'scopes: { t: { publish: [ d/+/t ] } }', [client('a', 't'), client('b', 't')]],
  ['shared_writable_topic', device, [client('a', 't'), client('b', 'mqtt:publish:d/a/#')]],
  [
    'client_id_missing',
    'scopes: { t: { publish: [ d/{client_id}/t, d/all ] } }',
    [client('a', 't'), client('b', 't')],
  ],
  ['client_id_missing', device, [client('a', 't mqtt:publish:own/a/#')]],
  ['no_effect', 'scopes: { t: { publish: [ d/{client_id}/t, d/{client_id}/# ] } }', [client('a', 't')]],
])('%s is found in %s', async (code, policy, clients) => {
  expect(await codes(policy, ...clients)).toContain(code);
});

test('a client that names itself reaches no topics of another', async () => {
  const own = 'mqtt:publish:d/a/#';
  const found = await lint(policyOf(device), [client('a', `t ${own}`), client('b', `t ${own}`)]);
  expect(found.find(({ code }) => code === 'other_device_subtree')?.clients).toEqual(['b']);
});

test('a place for the client id in the first level is no wildcard', async () => {
  expect(await codes('scopes: { t: { publish: [ "{client_id}/#" ] } }', client('a', 't'))).toEqual([]);
});

test('a deny that a client would be bound by if it asked for less is not idle', async () => {
  const policy =
    'scopes: { t: { publish: [ a/# ] }, lift: {} }\ndeny: [ { publish: [ a/x ], unless: [ lift ] } ]';
  expect(await codes(policy, client('a', 't lift'))).toEqual([]);
});

test('a rule that nobody can use is an error where somebody has its scope', async () => {
  const policy = policyOf('scopes: { t: { publish: [ d/{group} ] }, u: { publish: [ u/{client_id} ] } }');
  const found = await lint(policy, [client('a', 't')]);
  expect(found.map(({ code, severity }) => [code, severity])).toEqual([
    ['rule_unused', 'error'],
    ['rule_unused', 'warning'],
  ]);
});

test('each finding says where it is, and what to do', async () => {
  const [finding] = await lint(policyOf('scopes: { t: { publish: [ "#" ] } }'), [client('a', 't')]);
  expect(finding).toMatchObject({
    code: 'reaches_everything',
    severity: 'error',
    where: expect.stringMatching(/^policy\.yaml:2:\d+$/),
    fix: expect.stringContaining('{client_id}'),
  });
});

test('a pattern of scopes holds all that it permits', async () => {
  const policy =
    'scopes: { event.a: { publish: [ e/{client_id}/a ] }, event.b: { publish: [ e/{client_id}/b ] } }';
  expect(await codes(policy, client('a', 'event.*'))).toEqual([]);
});

describe('in a fleet of many', () => {
  const many = (scope: (id: string) => string, group: (i: number) => string = (i) => `g-${i % 10}`) =>
    Array.from({ length: 600 }, (_, i) => client(`box-${i}`, scope(`box-${i}`), group(i)));
  const alike = many(() => 't');

  test('two stand for all that are registered alike, in whatever order', async () => {
    const mixed = [...alike, ...many(() => 'u t').slice(0, 300), ...many(() => 't u').slice(300)];
    const { principals } = await principalsOf([policyOf(device)], () => each(mixed));
    expect(principals.map(({ clientId }) => clientId)).toEqual(['box-0', 'box-1', 'box-0', 'box-1']);
    expect(await codes(device, ...alike)).toEqual([]);
  });

  test('those of one group share what a group may write, and those of their own do not', async () => {
    const policy = 'scopes: { t: { publish: [ d/{group}/t ] } }';
    expect(await codes(policy, ...alike)).toEqual(['shared_writable_topic']);
    expect(
      await codes(
        policy,
        ...many(
          () => 't',
          (i) => `own-${i}`,
        ),
      ),
    ).toEqual([]);
  });

  test('those that are registered differently share a topic only where two of them do', async () => {
    const mixed = alike.map((one, i) => (i % 2 ? one : { ...one, scope: 'commands t' }));
    const policy =
      'scopes: { t: { publish: [ d/{client_id}/t ] }, commands: { subscribe: [ c/{client_id} ] } }';
    expect(await codes(policy, ...mixed)).toEqual([]);
  });

  test('one that a filter names is looked at for itself', async () => {
    const denied = `${device}\ndeny: [ { publish: [ d/box-7/t ] } ]`;
    expect(await codes(denied, ...alike)).toEqual([]);
    expect(await codes(denied, ...alike.filter(({ client_id }) => client_id !== 'box-7'))).toEqual([
      'deny_never_applies',
    ]);
    const affixed = device.replace('{client_id}', 'dev-{client_id}');
    expect(await codes(`${affixed}\ndeny: [ { publish: [ d/dev-box-7/t ] } ]`, ...alike)).toEqual([]);
    expect(await codes(device, ...alike, client('ops', 'mqtt:publish:d/box-7/#'))).toEqual([
      'other_device_subtree',
      'shared_writable_topic',
    ]);
  });

  test('one that is called as a group of others is looked at for itself', async () => {
    const policy = 'scopes: { t: { publish: [ d/{client_id} ] }, u: { publish: [ d/{group} ] } }';
    const fleet = [...alike, client('of-group', 'u', 'box-57')];
    expect(await codes(policy, ...fleet)).toEqual(['shared_writable_topic']);
    expect(await codes(policy, ...alike, client('of-group', 'u', 'elsewhere'))).toEqual([]);
  });

  test('claims count as they are of each, and only those that tokens have', async () => {
    const policy = 'scopes: { t: { publish: [ "d/{claim:site}/{client_id}" ] } }';
    const sited = alike.map((one, i) =>
      i === 0 ? one : { ...one, metadata: { site: 'north', tier: 'one' } },
    );
    expect(await codes(policy, ...sited)).toEqual([]);
    expect(await codes(policy.replace('site', 'tier'), ...sited)).toEqual(['rule_unused']);
  });

  test('clients in more ways than are told apart are an error, since they were not looked at', async () => {
    const own = Array.from({ length: MAX_SHAPES + 10 }, (_, i) =>
      client(`box-${i}`, `mqtt:subscribe:own-${i}x`),
    );
    const findings = await lint(policyOf('scopes: {}'), own);
    expect(findings).toMatchObject([
      { code: 'not_looked_at', severity: 'error', words: expect.stringMatching(/^10 /) },
    ]);
  });
});

test('what is found is what a model finds by trying every topic with every client', async () => {
  await fc.assert(
    fc.asyncProperty(anyPolicy, anyClients, async (policy, clients) => {
      const findings = await lint(policy, clients);
      const placed = (code: FindingCode) =>
        new Set(findings.filter((one) => one.code === code).map(({ where }) => where));
      const grants = clients.map((one) => grantsOf(policy, one));

      for (const [side, denySide] of [
        ['publish', 'denyPublish'],
        ['subscribe', 'denySubscribe'],
      ] as const) {
        for (const { rule } of Array.from(policy.scopes.values()).flatMap(
          (rules): readonly { rule: { source: string | undefined } }[] => rules[side],
        )) {
          const isUsed = grants.some((of) =>
            of[side].some(
              (granted) =>
                granted.rule.source === rule.source &&
                isUsable(
                  granted.filter,
                  'broader' in granted.rule && granted.rule.broader === 'exact',
                  of[denySide].map(({ filter }) => filter),
                ),
            ),
          );
          expect([rule.source, placed('rule_unused').has(rule.source ?? '')]).toEqual([rule.source, !isUsed]);
        }
        for (const { rule } of policy[denySide]) {
          const applies = clients.flatMap(withFewerScopes).some((one) => {
            const of = grantsOf(policy, one);
            return of[denySide].some(
              (deny) =>
                deny.rule.source === rule.source &&
                universe.some(
                  (topic) =>
                    naiveMatches(deny.filter, topic) &&
                    of[side].some((granted) => naiveMatches(granted.filter, topic)),
                ),
            );
          });
          expect([rule.source, placed('deny_never_applies').has(rule.source ?? '')]).toEqual([
            rule.source,
            !applies,
          ]);
        }
      }

      const mayPublish = (i: number, topic: string) =>
        decide(
          {
            clientId: '',
            issuer: '',
            tokenId: '',
            expiresAtMs: 1,
            grants: grants[i] as (typeof grants)[number],
          },
          { action: 'publish', topic, qos: 0, retain: false, bytes: 0 },
          0,
        ).allowed;
      const isShared = clients.some((_, i) =>
        clients.some(
          (_other, j) => j > i && universe.some((topic) => mayPublish(i, topic) && mayPublish(j, topic)),
        ),
      );
      expect(findings.some(({ code }) => code === 'shared_writable_topic')).toBe(isShared);
    }),
    { numRuns: 150 },
  );
});

/** Whether a topic is left of a filter; an exact one is refused as a whole when a deny takes a part of it. */
function isUsable(filter: string, isExact: boolean, denies: readonly string[]): boolean {
  const reached = universe.filter((topic) => naiveMatches(filter, topic));
  const left = reached.filter((topic) => !denies.some((deny) => naiveMatches(deny, topic)));
  return isExact ? left.length === reached.length : left.length > 0;
}

/** The client for each token it may ask for. */
function withFewerScopes(one: RegisteredClient): RegisteredClient[] {
  const scopes = one.scope.split(' ');
  return Array.from({ length: 2 ** scopes.length }, (_, bits) => ({
    ...one,
    scope: scopes.filter((_scope, i) => bits & (2 ** i)).join(' '),
  }));
}
