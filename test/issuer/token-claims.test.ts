import { decodeJwt } from 'jose';
import { describe, expect, test } from 'vitest';
import { checkTokenClaimNames, tokenClaims } from '../../issuer/token-claims.ts';
import { adminKey, issuerFixture } from '../support/issuer-fixture.ts';

const codeOf = (act: () => unknown) => {
  try {
    return act();
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe('names', () => {
  test.each(['site', 'Site_2', 'a.b-c', 'https://example.com/site', 'constructor', 'toJSON', '0'])(
    '%s may be a claim',
    (name) => {
      expect(codeOf(() => checkTokenClaimNames([name]))).toBeUndefined();
    },
  );

  test.each([
    ...['iss', 'sub', 'client_id', 'aud', 'scp', 'scope', 'stt', 'jti', 'iat', 'nbf', 'exp', 'gid', 'group'],
    ...['cnf', 'active', 'act', 'azp', 'authorization_details'],
  ])('%s is reserved', (name) => {
    expect(codeOf(() => checkTokenClaimNames(['site', name]))).toBe('config_invalid');
  });

  test.each([
    ['an empty one', ['']],
    ['one with a space', ['a b']],
    ['one with a line break', ['a\n']],
    ['__proto__', ['__proto__']],
    ['one of 65 characters', ['x'.repeat(65)]],
    ['17 of them', Array.from({ length: 17 }, (_, i) => `c${i}`)],
  ])('%s is refused', (_rule, names) => {
    expect(codeOf(() => checkTokenClaimNames(names))).toBe('config_invalid');
  });
});

const good: [string, unknown][] = [
  ['text', 'plant-7'],
  ['empty text', ''],
  ['a number', 7.5],
  ['zero', 0],
  ['false', false],
  ['a list', ['a', 1, true]],
  ['an empty list', []],
  ['a list of 16', Array.from({ length: 16 }, () => 'x')],
  ['text of 256 characters of JSON', 'x'.repeat(254)],
];
const bad: [string, unknown][] = [
  ['null', null],
  ['an object', { a: 1 }],
  ['a list with an object', [{}]],
  ['a list with a list', [[]]],
  ['a list with null', [null]],
  ['a list of 17', Array.from({ length: 17 }, () => 'x')],
  ['longer text', 'x'.repeat(255)],
  ['a list that is longer in all', Array.from({ length: 16 }, () => 'x'.repeat(20))],
  ['a lone surrogate', '\ud800'],
  ['infinity', Number.POSITIVE_INFINITY],
];

describe('values', () => {
  test.each(good)('%s becomes a claim', (_name, value) => {
    expect(tokenClaims({ site: value, other: 1 }, ['site', 'tier'])).toEqual({ site: value });
  });

  test.each(bad)('%s does not', (_name, value) => {
    expect(tokenClaims({ site: value }, ['site'])).toBeUndefined();
  });

  test('what the metadata does not hold itself is no claim', () => {
    expect(tokenClaims({}, ['constructor', 'toString', 'site'])).toBeUndefined();
    const inherited = Object.create({ site: 'x' }) as Record<string, unknown>;
    expect(tokenClaims(inherited, ['site'])).toBeUndefined();
  });
});

describe('over HTTP', () => {
  test.each(good)('a token has the field that is listed, %s, and no other', async (_name, value) => {
    const fixture = await issuerFixture({ tokenClaims: ['site'] });
    const client = await fixture.register({ metadata: { site: value, secret: 'x', iss: 'x', scp: ['x'] } });
    const { access_token } = (await (await fixture.tokenFor(client)).json()) as { access_token: string };
    const claims = decodeJwt(access_token);
    expect(claims['site']).toEqual(value);
    expect(claims).not.toHaveProperty('secret');
    expect([claims.iss, claims['scp']]).toEqual([fixture.issuer.url, []]);
  });

  test.each(bad.filter(([, value]) => value !== Number.POSITIVE_INFINITY))(
    'a client whose listed field is %s is not registered; where it is not listed it is',
    async (_name, value) => {
      const fixture = await issuerFixture({ tokenClaims: ['site'] });
      const response = await fixture.call('POST', '/v1/clients', { metadata: { site: value } });
      expect(response.status).toBe(400);
      const body = (await response.json()) as { error: string; error_description: string };
      expect(body.error).toBe('invalid_request');
      expect(body.error_description).toContain('metadata.site');
      expect((await fixture.call('POST', '/v1/clients', { metadata: { place: value } })).status).toBe(201);
    },
  );

  test('a change of the metadata is in the next token, and one that can be no claim is refused', async () => {
    const fixture = await issuerFixture({ tokenClaims: ['site'] });
    const client = await fixture.register({ client_id: 'a', metadata: { site: 'x' } });
    const change = (site: unknown) =>
      fixture.call(
        'PATCH',
        '/v1/clients/a',
        { metadata: { site } },
        {
          'api-key': adminKey,
          'content-type': 'application/merge-patch+json',
        },
      );
    expect((await change({ plant: 7 })).status).toBe(400);
    expect((await change('y')).status).toBe(200);
    const { access_token } = (await (await fixture.tokenFor(client)).json()) as { access_token: string };
    expect(decodeJwt(access_token)['site']).toBe('y');
  });

  test('none is listed by default', async () => {
    const fixture = await issuerFixture();
    const client = await fixture.register({ metadata: { site: 'x' } });
    const { access_token } = (await (await fixture.tokenFor(client)).json()) as { access_token: string };
    expect(decodeJwt(access_token)).not.toHaveProperty('site');
  });

  test('the longest claims that may be leave room for scopes', async () => {
    const names = Array.from({ length: 16 }, (_, i) => `c${i}`);
    const fixture = await issuerFixture({ tokenClaims: names });
    const metadata = Object.fromEntries(names.map((name) => [name, 'x'.repeat(254)]));
    const client = await fixture.register({ metadata, scope: `s${'x'.repeat(400)}` });
    expect((await fixture.tokenFor(client)).status).toBe(200);
  });
});
