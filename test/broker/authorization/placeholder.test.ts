import { type Attempt, compileGrants, decide, type GrantClaims, parsePolicy } from '@fleetgate/broker';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

/** The claims of a token with `value` where a placeholder takes it from, whatever its type. */
const placeholders: Record<string, (value: unknown) => GrantClaims> = {
  client_id: (value) => ({ clientId: value as string, scopes: ['s'], claims: {} }),
  group: (value) => ({ clientId: 'a', group: value as string, scopes: ['s'], claims: {} }),
  'claim:site': (value) => ({ clientId: 'a', scopes: ['s'], claims: { site: value } }),
};

// Texts a value would have to become to reach further than its own level.
const hostile = fc.oneof(
  fc.anything(),
  fc.string({ unit: 'binary' }),
  fc.stringMatching(/^[ab/+#$\0{}]{0,6}$/),
  fc.constantFrom('{client_id}', '{claim:site}', '$SYS', '$share/g', '\ud800', '\uffff', 'a'.repeat(70_000)),
);
const plain = fc.stringMatching(/^[A-Za-z0-9._{}é-]{1,20}$/);
const other = fc.constantFrom('a', 'b', 'a/b', '', '+', '#', '$SYS');

const attemptsOf = (text: string): readonly Attempt[] => [
  { action: 'publish', topic: text, qos: 0, retain: false, bytes: 0 },
  { action: 'subscribe', filter: text, qos: 0 },
  { action: 'receive', topic: text },
];
function principal(file: object, claims: GrantClaims) {
  const grants = compileGrants(parsePolicy(JSON.stringify({ version: 1, ...file }), 'policy.yaml'), claims);
  return { clientId: 'a', issuer: 'http://issuer', tokenId: 'id', expiresAtMs: 1, grants };
}
const usable = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && !/[/+#\0]/.test(value) && !value.startsWith('$');

describe.each(Object.entries(placeholders))('{%s}', (name, claimsOf) => {
  const rules = [`p/{${name}}/q`, `p/x{${name}}y/#`, `{${name}}/z`, `two/{${name}}-{${name}}`];
  const wide = { scopes: { s: { publish: rules, subscribe: rules } } };

  /** Whether `text` is what one of the rules above says with `value` put in as it is. */
  function isLiteral(text: string, value: unknown): boolean {
    if (!usable(value)) return false;
    const [first, second] = text.split('/');
    if ([`p/${value}/q`, `${value}/z`, `two/${value}-${value}`].includes(text)) return true;
    return first === 'p' && second === `x${value}y`;
  }

  test('never widens: only the very text with its value put in is granted', () => {
    fc.assert(
      fc.property(hostile, other, (value, beside) => {
        const who = principal(wide, claimsOf(value));
        const put = typeof value === 'string' ? value : 'a';
        for (const middle of [put, beside, `${put}/${beside}`, `${beside}${put}`]) {
          for (const text of [
            `p/${middle}/q`,
            `p/x${middle}y`,
            `p/x${middle}y/t`,
            `${middle}/z`,
            `two/${middle}-${middle}`,
            `two/${middle}-${beside}`,
            middle,
            'p/#',
            '#',
            '+/z',
          ]) {
            for (const attempt of attemptsOf(text)) {
              if (decide(who, attempt, 0).allowed)
                expect([text, isLiteral(text, value)]).toEqual([text, true]);
            }
          }
        }
      }),
      { numRuns: 400 },
    );
  });

  test('takes a value that is one plain level', () => {
    fc.assert(
      fc.property(plain, (value) => {
        const who = principal(wide, claimsOf(value));
        for (const text of [`p/${value}/q`, `p/x${value}y/t`, `${value}/z`, `two/${value}-${value}`]) {
          for (const attempt of attemptsOf(text)) expect(decide(who, attempt, 0).allowed).toBe(true);
        }
      }),
      { numRuns: 50 },
    );
  });

  test('in a deny never narrows: its value is denied, and every value when it has none', () => {
    const denied = [`d/{${name}}/x`, `d/x{${name}}y/#`];
    const file = {
      scopes: { s: { publish: ['#', '$app/#'], subscribe: ['#', '$app/#'] } },
      deny: [{ publish: denied, subscribe: denied }],
    };
    fc.assert(
      fc.property(hostile, plain, (value, any) => {
        const who = principal(file, claimsOf(value));
        const level = usable(value) ? value : any;
        for (const text of [`d/${level}/x`, `d/x${level}y/t`]) {
          for (const attempt of attemptsOf(text)) expect(decide(who, attempt, 0).allowed).toBe(false);
        }
      }),
      { numRuns: 400 },
    );
  });
});
