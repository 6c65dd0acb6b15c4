import { compileGrants, DocumentError, examplePolicy, listGrants, parsePolicy } from '@fleetgate/broker';
import { expect, test } from 'vitest';
import { MAX_GRANTS_PER_PRINCIPAL } from '../../../broker/authorization/grants.ts';
import { MAX_POLICY_DENIES, MAX_POLICY_RULES } from '../../../broker/authorization/policy.ts';
import { MAX_DOCUMENT_BYTES } from '../../../broker/document.ts';

function problemOf(text: string) {
  try {
    parsePolicy(text, 'p');
  } catch (error) {
    if (error instanceof DocumentError) return { code: error.code, ...error.problems[0] };
    throw error;
  }
  return undefined;
}

const ruleOf = (option: string) => `version: 1\nscopes:\n  s:\n    publish: [ { topic: a, ${option} } ]\n`;
const subscribeRuleOf = (option: string) => ruleOf(option).replace('publish', 'subscribe');

test('the example policy is valid', () => {
  expect(parsePolicy(examplePolicy, 'p').scopes.has('telemetry.write')).toBe(true);
});

test.each([
  ['an unknown key names the nearest', 'version: 1\nscope: {}\n', 2, 1, "'scopes'"],
  ['a bad filter', 'version: 1\nscopes:\n  s:\n    publish: [ a# ]\n', 4, 16, 'whole level'],
  [
    'an unknown placeholder',
    'version: 1\nscopes:\n  s:\n    publish: [ "{clientid}" ]\n',
    4,
    16,
    '{client_id}',
  ],
  ['a reserved topic', 'version: 1\nscopes:\n  s:\n    publish: [ $SYS/x ]\n', 4, 16, '$SYS'],
  ['a direct scope', 'version: 1\nscopes:\n  "mqtt:publish:a": {}\n', 3, 3, 'mqtt:'],
  ['a deny of nothing', 'version: 1\ndeny:\n  - unless: [ s ]\n', 3, 5, 'needs'],
  ['a duplicate key', 'version: 1\nversion: 1\n', 2, 1, 'twice'],
  ['an empty file', '', 1, 1, 'a map'],
  ['an unknown version', 'version: 2\n', 1, 10, 'must be 1'],
  ['no version', 'scopes: {}\n', 1, 1, "'version' is missing"],
  ['an empty scope', 'version: 1\nscopes:\n  s:\n', 3, 5, 'a map'],
  ['a scope name with a line break', 'version: 1\nscopes:\n  "a\\nb":\n', 3, 10, 'a map'],
  [
    'a list item that YAML takes for a comment',
    'version: 1\nscopes:\n  s:\n    publish:\n      - #\n',
    5,
    9,
    'quoted',
  ],
  [
    'yes for true',
    'version: 1\nscopes:\n  s:\n    publish: [ { topic: a, retain: yes } ]\n',
    4,
    36,
    'true or false',
  ],
  ['QoS 3', 'version: 1\nscopes:\n  s:\n    publish: [ { topic: a, max_qos: 3 } ]\n', 4, 37, 'max_qos'],
  [
    'an option of the other kind',
    'version: 1\nscopes:\n  s:\n    publish: [ { topic: a, broader: exact } ]\n',
    4,
    28,
    'broader',
  ],
  [
    'a misspelled value',
    'version: 1\nscopes:\n  s:\n    subscribe: [ { topic: a, broader: filtr } ]\n',
    4,
    39,
    "'filter'",
  ],
  [
    'a filter that is a number',
    'version: 1\nscopes:\n  s:\n    publish: [ 7 ]\n',
    4,
    16,
    'a string or a map',
  ],
  [
    'a misspelled placeholder without quotes',
    'version: 1\nscopes:\n  s:\n    publish: [ {clientid}/x ]\n',
    4,
    16,
    '{client_id}',
  ],
  [
    'a $ level with a placeholder',
    'version: 1\nscopes:\n  s:\n    publish: [ $a-{group}/x ]\n',
    4,
    16,
    'placeholder',
  ],
  ['a rate of nothing', ruleOf('max_messages_per_second: 0'), 4, 53, 'max_messages_per_second'],
  ['a rate without end', ruleOf('max_messages_per_second: .inf'), 4, 53, 'a number'],
  ['a rate over the limit', ruleOf('max_messages_per_second: 100001'), 4, 53, '100000'],
  ['a burst of less than a message', ruleOf('max_messages_per_second: 1, burst: 0.5'), 4, 63, 'burst'],
  ['a burst without a rate', ruleOf('burst: 5'), 4, 28, 'max_messages_per_second'],
  ['a rate of a subscription', subscribeRuleOf('max_messages_per_second: 1'), 4, 30, 'max_messages'],
  ['a deny of a reserved topic', 'version: 1\ndeny:\n  - publish: [ $SYS/# ]\n', 3, 16, '$SYS'],
  ['a bad filter of a deny', 'version: 1\ndeny:\n  - publish: [ a# ]\n', 3, 16, 'whole level'],
  ['a control character', 'version: 1\nscopes:\n  s: { publish: [ "a\\u0001" ] }\n', 3, 19, 'control'],
])('%s is refused with its line and column', (_rule, text, line, column, word) => {
  expect(problemOf(text)).toMatchObject({ code: 'policy_invalid', line, column });
  expect(problemOf(text)?.words).toContain(word);
});

test('every problem of a file is told, in order', () => {
  const text = 'version: 1\nscopes:\n  s:\n    publish: [ a#, ok, b+ ]\ndeny: [ { publish: [ "{x}" ] } ]\n';
  let message = '';
  try {
    parsePolicy(text, 'p.yaml');
  } catch (error) {
    message = (error as Error).message;
  }
  expect(message.split('\n').map((line) => line.split(': ')[0])).toEqual([
    'p.yaml:4:16',
    'p.yaml:4:24',
    'p.yaml:5:22',
  ]);
});

test.each([
  ['rules', `version: 1\nscopes: { s: { publish: [${'a, '.repeat(MAX_POLICY_RULES + 1)}] } }\n`],
  ['denies', `version: 1\ndeny: [ { publish: [${'a, '.repeat(MAX_POLICY_DENIES + 1)}] } ]\n`],
  ['bytes', `version: 1\n#${'x'.repeat(MAX_DOCUMENT_BYTES)}\n`],
])('a file with more %s than the limit is refused', (_what, text) => {
  expect(problemOf(text)).toMatchObject({ code: 'policy_invalid' });
});

test('placeholders need no quotes inside brackets', () => {
  const policy = parsePolicy(
    'version: 1\nscopes:\n  s: { publish: [ a/{client_id}/# , {group}/{claim:x} ] }\n',
    'p',
  );
  const { publish } = compileGrants(policy, { clientId: 'c', group: 'g', scopes: ['s'], claims: { x: 'v' } });
  expect(publish.map(({ filter }) => filter)).toEqual(['a/c/#', 'g/v']);
});

test('rules of a token beyond the limit do not grant', () => {
  const filters = Array.from({ length: MAX_GRANTS_PER_PRINCIPAL + 1 }, (_, n) => `t${n}`);
  const policy = parsePolicy(JSON.stringify({ version: 1, scopes: { s: { publish: filters } } }), 'p');
  const grants = compileGrants(policy, { clientId: 'c', scopes: ['s'], claims: {} });
  expect(listGrants(grants).publish).toEqual(filters.slice(0, MAX_GRANTS_PER_PRINCIPAL));
  expect(grants.unapplied).toEqual([{ kind: 'too_many_grants', limit: MAX_GRANTS_PER_PRINCIPAL }]);
});

test('listed grants leave out what a deny covers whole, and repetitions', () => {
  const file = {
    version: 1,
    scopes: { s: { publish: ['a/b', 'a/#', 'c', 'a/#'] } },
    deny: [{ publish: ['a/+'] }],
  };
  const grants = compileGrants(parsePolicy(JSON.stringify(file), 'p'), {
    clientId: 'c',
    scopes: ['s'],
    claims: {},
  });
  expect(listGrants(grants)).toEqual({ publish: ['a/#', 'c'], subscribe: [] });
});
