import { DocumentError, examplePolicy, parsePolicy } from '@fleetgate/broker';
import { expect, test } from 'vitest';

function problemOf(text: string) {
  try {
    parsePolicy(text, 'p');
  } catch (error) {
    if (error instanceof DocumentError) return { code: error.code, ...error.problems[0] };
    throw error;
  }
  return undefined;
}

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
])('%s is refused with its line and column', (_rule, text, line, column, word) => {
  expect(problemOf(text)).toMatchObject({ code: 'policy_invalid', line, column });
  expect(problemOf(text)?.words).toContain(word);
});
