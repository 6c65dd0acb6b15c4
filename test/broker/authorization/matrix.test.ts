import { examplePolicy, parsePolicy, policyMatrix } from '@fleetgate/broker';
import { describe, expect, test } from 'vitest';

const policy = parsePolicy(
  `version: 1
scopes:
  own:
    publish:
      - d/{client_id}/#
      - { topic: 'all/+/t/#', max_qos: 1, retain: false, max_payload_bytes: 9, max_messages_per_second: 3 }
    subscribe: [ 'g/{group}/#', { topic: 'h/#', broader: filter, max_qos: 0 } ]
  firmware: { publish: [ 'fw/#' ] }
  site: { publish: [ 's/{claim:https://example.com/site}' ] }
  none: {}
  wide: { subscribe: [ 'g/+/closed' ] }
deny:
  - publish: [ 'd/+/secret', 'fw/#' ]
    unless: [ firmware ]
  - subscribe: [ 'g/{group}/closed' ]
  - publish: [ 's/+' ]
`,
  'policy.yaml',
);
const rowsOf = (...values: Parameters<typeof policyMatrix>[1][]) =>
  new Map(policyMatrix(policy, ...values).map((row) => [row.scope, row]));

describe('a matrix', () => {
  test('has every scope in the order of the file, and its rules as they are written', () => {
    expect(policyMatrix(policy).map(({ scope }) => scope)).toEqual([
      'own',
      'firmware',
      'site',
      'none',
      'wide',
    ]);
    expect(
      rowsOf()
        .get('own')
        ?.publish.map(({ filter }) => filter),
    ).toEqual(['d/{client_id}/#', 'all/+/t/#']);
    expect(rowsOf().get('none')).toEqual({ scope: 'none', publish: [], subscribe: [] });
  });

  test('has the options that differ from their defaults, as the file spells them', () => {
    const own = rowsOf().get('own');
    expect(own?.publish.map(({ options }) => options)).toEqual([
      {},
      { max_qos: 1, retain: false, max_payload_bytes: 9, max_messages_per_second: 3, burst: 3 },
    ]);
    expect(own?.subscribe[1]?.options).toEqual({ broader: 'filter', max_qos: 0 });
  });

  test('fills in what it is given', () => {
    const own = rowsOf({ clientId: 'c', group: 'x' }).get('own');
    expect(own?.publish[0]).toEqual({
      filter: 'd/c/#',
      options: {},
      denies: [{ filter: 'd/+/secret', touches: 'part', unless: ['firmware'] }],
      example: { topic: 'd/c/x', outcome: 'allowed' },
    });
    expect(own?.subscribe[0]).toEqual({
      filter: 'g/x/#',
      options: {},
      denies: [{ filter: 'g/x/closed', touches: 'part', unless: [] }],
      example: { topic: 'g/x/#', outcome: 'denied_by_rule' },
    });
  });

  test('has no example where a value is missing, in the rule or in a deny that may touch it', () => {
    const own = rowsOf({ clientId: 'c' }).get('own');
    expect(own?.publish[0]?.example).toBeDefined();
    expect(own?.subscribe.map(({ example }) => example)).toEqual([undefined, expect.anything()]);
    const [wide] = rowsOf({ clientId: 'c' }).get('wide')?.subscribe ?? [];
    expect(wide?.denies).toHaveLength(1);
    expect(wide?.example).toBeUndefined();
    expect(rowsOf({ group: 'x' }).get('wide')?.subscribe[0]?.example?.outcome).toBe('denied_by_rule');
  });

  test('leaves out a deny that the scope itself lifts', () => {
    expect(rowsOf().get('firmware')?.publish).toEqual([
      { filter: 'fw/#', options: {}, denies: [], example: { topic: 'fw/x', outcome: 'allowed' } },
    ]);
  });

  test('says that a deny takes in all of a rule, whatever the value', () => {
    const [rule] = rowsOf().get('site')?.publish ?? [];
    expect(rule?.denies).toEqual([{ filter: 's/+', touches: 'whole', unless: [] }]);
    const claims = { 'https://example.com/site': 'v' };
    expect(rowsOf({ claims }).get('site')?.publish[0]).toMatchObject({
      filter: 's/v',
      example: { topic: 's/v', outcome: 'denied_by_rule' },
    });
  });

  test('takes a value that no rule could use for none', () => {
    for (const group of ['', 'a/b', '+', '$x']) {
      expect(rowsOf({ group }).get('own')?.subscribe[0]?.filter).toBe('g/{group}/#');
    }
  });
});

test('every example of the example policy is allowed', () => {
  const rows = policyMatrix(parsePolicy(examplePolicy, 'p'), { clientId: 'sensor-1' });
  const outcomes = rows.flatMap(({ publish, subscribe }) =>
    [...publish, ...subscribe].map(({ example }) => example?.outcome),
  );
  expect(new Set(outcomes)).toEqual(new Set(['allowed']));
});
