import { describe, expect, test } from 'vitest';
import { checkTrustedIssuer, type TrustedIssuer } from '../../../broker/trusted-issuer.ts';

const good = { issuer: 'https://one.example', keys: { discover: true } } as const;
const introspection = { clientId: 'broker', clientSecret: 'secret' };

describe('settings that cannot work are refused', () => {
  test.each<[string, object, RegExp?]>([
    ['introspection without secret', { introspection: { clientId: 'broker' } }],
    ['introspection without client', { introspection: { clientSecret: 'secret' } }],
    ['introspection every second', { introspection: { ...introspection, intervalSeconds: 1 } }],
    ['introspection over http', { introspection: { ...introspection, endpoint: 'http://one.example/' } }],
    ['a misspelled option of introspection', { introspection: { ...introspection, interval: 60 } }],
    ['a misspelled introspection', { introspecton: introspection }, /did you mean issuer\.introspection/],
    [
      'introspection nowhere',
      { issuer: 'one', keys: { jwksUri: 'https://one.example/' }, introspection },
      /endpoint/,
    ],
  ])('%s', (_what, more, words = /./) => {
    const check = () => checkTrustedIssuer({ ...good, ...more } as TrustedIssuer);
    expect(check).toThrow(TypeError);
    expect(check).toThrow(words);
  });

  test('and what is right is taken', () => {
    expect(() => checkTrustedIssuer({ ...good, introspection })).not.toThrow();
  });
});
