import {
  type Attempt,
  compileGrants,
  examplePolicy,
  explain,
  formatExplanation,
  parsePolicy,
} from '@fleetgate/broker';
import { describe, expect, test } from 'vitest';

const policy = parsePolicy(examplePolicy, 'policy.yaml');
function explained(scopes: string[], topic: string) {
  const grants = compileGrants(policy, { clientId: 'a', scopes, claims: {} });
  const principal = { clientId: 'a', issuer: 'http://issuer', tokenId: 'id', expiresAtMs: 1, grants };
  return explain(principal, { action: 'publish', topic, qos: 0, retain: false, bytes: 0 }, 0);
}

test('a refusal names the nearest rule and where it parts', () => {
  expect(explained(['telemetry.write'], 'devices/b/telemetry/x').nearestMiss).toBe(
    '`devices/{client_id}/telemetry/#` of scope telemetry.write does not match because level 2 is `b`, not `a`',
  );
});

test('an unknown scope names the nearest known one', () => {
  expect(explained(['telemetry.wrte'], 'x').notes[0]).toContain('telemetry.write');
});

test('a deny is named', () => {
  expect(explained([], 'devices/a/firmware/x').because).toContain('deny `devices/+/firmware/#`');
});

describe('an explanation', () => {
  const all = parsePolicy(
    `version: 1
scopes:
  wild: { publish: [ '#' ] }
  short: { publish: [ a/b ] }
  long: { publish: [ a/b/c/# ] }
  two: { publish: [ site/+/x/y, site/s/q/y ] }
  state: { publish: [ { topic: st, max_qos: 1, retain: false, max_payload_bytes: 4 } ] }
  mine: { subscribe: [ 'devices/{client_id}/#' ] }
  same: { subscribe: [ { topic: e/#, broader: exact } ] }
  grouped: { publish: [ 'g/{group}/#' ] }
deny:
  - publish: [ 'no/{group}/#' ]
  - publish: [ only/# ]
    unless: [ lift ]
`,
    'policy.yaml',
  );
  const publish = { action: 'publish', topic: '', qos: 0, retain: false, bytes: 0 } as const;
  const subscribe = { action: 'subscribe', filter: '', qos: 0 } as const;

  test.each<[string, string[], Attempt, string]>([
    ['names the level of a $ topic', ['wild'], { ...publish, topic: '$app/x' }, 'level 1 is `$app`'],
    [
      'says that the topic is too long',
      ['short'],
      { ...publish, topic: 'a/b/z' },
      'the rule ends before level 3, `z`',
    ],
    ['says that the topic is too short', ['long'], { ...publish, topic: 'a' }, 'it ends before level 2, `b`'],
    [
      'prefers the rule that shares more levels',
      ['two'],
      { ...publish, topic: 'site/s/z/y' },
      '`site/+/x/y`',
    ],
    ['gives both sizes', ['state'], { ...publish, topic: 'st', bytes: 5 }, 'up to 4 bytes, not 5'],
    ['gives both QoS', ['state'], { ...publish, topic: 'st', qos: 2 }, 'QoS up to 1, not 2'],
    [
      'says that retain is not allowed',
      ['state'],
      { ...publish, topic: 'st', retain: true },
      'no retained message',
    ],
    [
      'says where a filter is broader',
      ['mine'],
      { ...subscribe, filter: 'devices/+/t' },
      'level 2 is `+`, not `a`',
    ],
    ['says that # is broader', ['mine'], { ...subscribe, filter: '#' }, 'level 1 is `#`, not `devices`'],
    ['says that a rule is exact', ['same'], { ...subscribe, filter: 'e/a' }, 'broader: exact'],
    ['says what would lift a deny', ['wild'], { ...publish, topic: 'only/x' }, 'scope lift would lift it'],
    [
      'says that a placeholder has no value',
      ['grouped'],
      { ...publish, topic: 'g/g/x' },
      '{group}: the token has no such',
    ],
    ['says that a deny is widened', ['wild'], { ...publish, topic: 'no/g/x' }, 'applies as no/+/#'],
    ['says where the rule stands', ['short'], { ...publish, topic: 'a/b' }, 'policy.yaml:4:23'],
    ['says that a direct scope is malformed', ['mqtt:publish:a#'], { ...publish, topic: 'a' }, 'whole level'],
    [
      'says that a direct scope is reserved',
      ['mqtt:publish:$SYS/#'],
      { ...publish, topic: '$SYS/x' },
      'reserved',
    ],
  ])('%s', (_rule, scopes, attempt, words) => {
    const grants = compileGrants(all, { clientId: 'a', scopes, claims: {} });
    const principal = { clientId: 'a', issuer: 'http://issuer', tokenId: 'id', expiresAtMs: 1, grants };
    const explanation = explain(principal, attempt, 0);
    expect(formatExplanation(explanation)).toContain(words);
    expect(JSON.parse(JSON.stringify(explanation))).toEqual(explanation);
  });

  test('says that there is no policy', () => {
    const grants = compileGrants(undefined, { clientId: 'a', scopes: ['s'], claims: {} });
    const principal = { clientId: 'a', issuer: 'http://issuer', tokenId: 'id', expiresAtMs: 1, grants };
    expect(formatExplanation(explain(principal, { ...publish, topic: 'x' }, 0))).toContain(
      'there is no policy',
    );
  });
});
