import { directScopeToken, MAX_SCOPE_TOKENS, nearest, parseCredentials, parseScope } from '@fleetgate/shared';
import fc from 'fast-check';
import { expect, test } from 'vitest';

test('a filter survives percent-encoding, in one spelling', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[ -"$-*,-~é]{1,20}$/), (filter) => {
      const token = directScopeToken('publish', filter);
      expect(parseScope(token)).toEqual([{ kind: 'direct', action: 'publish', filter, token }]);
    }),
  );
});

test('another spelling of a direct scope becomes the one spelling', () => {
  expect(parseScope('mqtt:publish:%61%2Fb')[0]?.token).toBe('mqtt:publish:a/b');
});

test('two spellings of one scope are one token, in the order of the first', () => {
  const tokens = parseScope('mqtt:publish:%61 b mqtt:publish:a b').map(({ token }) => token);
  expect(tokens).toEqual(['mqtt:publish:a', 'b']);
});

test('no more tokens than the limit', () => {
  const tokens = Array.from({ length: MAX_SCOPE_TOKENS + 1 }, (_, n) => `s${n}`);
  expect(parseScope(tokens.slice(1).join(' '))).toHaveLength(MAX_SCOPE_TOKENS);
  expect(() => parseScope(tokens.join(' '))).toThrow(expect.objectContaining({ code: 'scope_malformed' }));
});

test.each([
  'a  b',
  ' a',
  'a"b',
  'a\\b',
  'é',
  'mqtt:',
  'mqtt:read:a',
  'mqtt:publish:',
  'mqtt:publish:%ZZ',
  'mqtt:publish:a%23',
  'x'.repeat(4097),
])('scope %j is refused', (scope) => {
  expect(() => parseScope(scope)).toThrow(expect.objectContaining({ code: 'scope_malformed' }));
});

test.each(['{"hunter2', '[]', '{"version":1,"client_id":"a","issuer":"hunter2","auth":{}}'])(
  'credentials %s are refused, and no value is quoted',
  (json) => {
    expect(() => parseCredentials(json)).toThrow(
      expect.objectContaining({
        code: 'credentials_invalid',
        message: expect.not.stringContaining('hunter2'),
      }),
    );
  },
);

test('a word two edits away is near, another is not', () => {
  expect([nearest('publsh', ['publish']), nearest('xyz', ['publish'])]).toEqual(['publish', undefined]);
});
