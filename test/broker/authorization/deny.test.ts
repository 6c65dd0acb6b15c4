import { compileGrants, decide, parsePolicy } from '@fleetgate/broker';
import { expect, test } from 'vitest';

/** Whether somebody who may publish everything is kept from `topic` by one deny. */
function isDenied(deny: string, topic: string, claims: Record<string, unknown>, group?: string): boolean {
  const [firstLevel] = topic.split('/');
  const file = {
    version: 1,
    scopes: { all: { publish: ['#', `${firstLevel}/#`] } },
    deny: [{ publish: [deny] }],
  };
  const grants = compileGrants(parsePolicy(JSON.stringify(file), 'policy.yaml'), {
    clientId: 'a',
    scopes: ['all'],
    claims,
    ...(group === undefined ? {} : { group }),
  });
  const who = { clientId: 'a', issuer: 'http://issuer', tokenId: 'id', expiresAtMs: 1, grants };
  const decision = decide(who, { action: 'publish', topic, qos: 0, retain: false, bytes: 0 }, 0);
  return !decision.allowed && decision.reason === 'denied_by_rule';
}

test.each([
  ['a value that is there denies that value', 'x/{claim:t}/y', 'x/v/y', { t: 'v' }, true],
  ['and no other', 'x/{claim:t}/y', 'x/w/y', { t: 'v' }, false],
  ['a missing value denies every value', 'x/{claim:t}/y', 'x/w/y', {}, true],
  ['but no more levels', 'x/{claim:t}/y', 'x/w/v/y', {}, false],
  ['a part of a level becomes the whole level', 'x/pre-{claim:t}/y', 'x/other/y', {}, true],
  ['a value that makes no filter denies every value', 'x/{claim:t}/y', 'x/w/y', { t: 'a\u0001' }, true],
  ['a value with a slash denies every value', 'x/{claim:t}/y', 'x/w/y', { t: 'a/b' }, true],
  ['a value that names a $ topic denies it', '{claim:t}/y', '$app/y', { t: '$app' }, true],
  ['and every value a rule could have', '{claim:t}/y', 'w/y', { t: '$app' }, true],
  ['a claim whose name holds slashes', 'x/{claim:https://example.com/t}/y', 'x/w/y', {}, true],
  ['and its value', 'x/{claim:https://example.com/t}/y', 'x/w/y', { 'https://example.com/t': 'v' }, false],
])('%s', (_rule, deny, topic, claims, expected) => {
  expect(isDenied(deny, topic, claims)).toBe(expected);
});

test('a $ level with a placeholder is refused in the file: no wildcard could stand in for it', () => {
  expect(() => isDenied('$app-{group}/x', '$app-g/x', {}, 'g')).toThrow(
    expect.objectContaining({ code: 'policy_invalid' }),
  );
});
