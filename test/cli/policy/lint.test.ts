import { decide, type Policy, parsePolicy } from '@fleetgate/broker';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type FindingCode, lintPolicy } from '../../../cli/policy/lint.ts';
import { MAX_EACH, MAX_SHAPES, principalsOf, type RegisteredClient } from '../../../cli/policy/principals.ts';
import { anyClients, anyPolicy, each, grantsOf, naiveMatches, universe } from './model.ts';

async function lint(policy: Policy, clients: readonly RegisteredClient[]) {
  return lintPolicy(policy, await principalsOf(policy, each(clients)));
}

const policyOf = (text: string) => parsePolicy(`version: 1\n${text}`, 'policy.yaml');
const client = (client_id: string, scope: string, group?: string): RegisteredClient =>
  ({ client_id, scope, ...(group && { group }) }) as RegisteredClient;

async function codes(policy: string, ...clients: RegisteredClient[]): Promise<FindingCode[]> {
  return (await lint(policyOf(policy), clients)).map(({ code }) => code);
}

const device = 'scopes: { t: { publish: [ d/{client_id}/t ] } }';

test('a policy and a registry that are as they should be have no findings', async () => {
  expect(await codes(device, client('a', 't'), client('b', 't'))).toEqual([]);
});

test.each<[FindingCode, string, RegisteredClient[]]>([
  ['over_broad', 'scopes: { t: { publish: [ "#" ] } }', [client('a', 't')]],
  ['over_broad', 'scopes: { t: { subscribe: [ "+/#" ] } }', [client('a', 't')]],
  ['over_broad', device, [client('a', 't'), client('b', 'mqtt:subscribe:#')]],
  ['scope_unknown', device, [client('a', 't'), client('b', 'telemetry')]],
  ['rule_unused', device, []],
  ['rule_unused', 'scopes: { t: { publish: [ d/{group} ] } }', [client('a', 't')]],
  ['deny_never_applies', `${device}\ndeny: [ { publish: [ other/# ] } ]`, [client('a', 't')]],
  ['shared_writable_topic', 'scopes: { t: { publish: [ d/+/t ] } }', [client('a', 't'), client('b', 't')]],
  ['shared_writable_topic', device, [client('a', 't'), client('b', 'mqtt:publish:d/a/#')]],
  [
    'client_id_missing',
    'scopes: { t: { publish: [ d/{client_id}/t, d/all ] } }',
    [client('a', 't'), client('b', 't')],
  ],
  ['no_effect', 'scopes: { t: { publish: [ d/{client_id}/t, d/{client_id}/# ] } }', [client('a', 't')]],
])('%s is found in %s', async (code, policy, clients) => {
  expect(await codes(policy, ...clients)).toContain(code);
});

test('each finding says where it is, and what to do', async () => {
  const [finding] = await lint(policyOf('scopes: { t: { publish: [ "#" ] } }'), [client('a', 't')]);
  expect(finding).toMatchObject({
    code: 'over_broad',
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

test('beyond some clients two stand for all that are registered alike, and the findings are the same', async () => {
  const many = Array.from({ length: MAX_EACH * 3 }, (_, i) => client(`box-${i}`, 't', `g-${i % 10}`));
  expect(await codes(device, ...many)).toEqual([]);
  expect(await codes('scopes: { t: { publish: [ d/{group}/t ] } }', ...many)).toEqual([
    'shared_writable_topic',
  ]);
  const own = many.map(({ client_id }) => client(client_id, `mqtt:publish:d/${client_id}/#`));
  const { principals } = await principalsOf(policyOf(device), each(own));
  expect(principals).toHaveLength(2);
  const alone = many.map((one, i) => client(one.client_id, 't', `own-${i}`));
  expect(await codes('scopes: { t: { publish: [ d/{group}/t ] } }', ...alone)).toEqual([]);
});

test('clients in more ways than are told apart are said not to have been looked at', async () => {
  const many = Array.from({ length: MAX_SHAPES + 10 }, (_, i) =>
    client(`box-${i}`, `mqtt:publish:own-${i}x`),
  );
  expect((await lint(policyOf(device), many)).find(({ code }) => code === 'not_looked_at')?.words).toMatch(
    /^10 /,
  );
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
                universe.some(
                  (topic) =>
                    naiveMatches(granted.filter, topic) &&
                    !of[denySide].some((deny) => naiveMatches(deny.filter, topic)),
                ),
            ),
          );
          expect([rule.source, placed('rule_unused').has(rule.source ?? '')]).toEqual([rule.source, !isUsed]);
        }
        for (const { rule } of policy[denySide]) {
          const applies = grants.some((of) =>
            of[denySide].some(
              (deny) =>
                deny.rule.source === rule.source &&
                universe.some(
                  (topic) =>
                    naiveMatches(deny.filter, topic) &&
                    of[side].some((granted) => naiveMatches(granted.filter, topic)),
                ),
            ),
          );
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
    { numRuns: 400 },
  );
});
