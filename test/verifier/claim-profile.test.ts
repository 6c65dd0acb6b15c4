import { describe, expect, test } from 'vitest';
import { type ClaimNames, prepareProfile } from '../../verifier/claim-profile.ts';
import { testIssuer } from '../support/broker-tokens.ts';
import { codeOf, testVerifier } from '../support/verifier-fixture.ts';

const issuer = testIssuer();
const names: ClaimNames = { clientId: 'azp', scope: 'permissions', group: 'https://fleet.example/site' };
const usual = {
  sub: 'service-account-7',
  client_id: undefined,
  scp: undefined,
  scope: undefined,
  azp: 'device-1',
  permissions: ['telemetry.write', 'commands.read'],
  'https://fleet.example/site': 'north',
};

const verifierOf = (profile: ClaimNames) =>
  testVerifier({ issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks }, profile }] }).verify;
const tokenOf = (claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}) =>
  issuer.token({ claims: { ...usual, ...claims }, header });

test('claims are read by the names that are given', async () => {
  const token = await verifierOf(names)(Buffer.from(tokenOf()));
  expect(token).toMatchObject({
    clientId: 'device-1',
    scopes: ['telemetry.write', 'commands.read'],
    group: 'north',
  });
});

test('a name that is not given is that of the standard', async () => {
  const verify = verifierOf({ scope: 'permissions' });
  expect(await codeOf(verify, tokenOf())).toBe('token_claim_invalid');
  const claims = { client_id: 'device-1', sub: 'device-1', group: 'north' };
  expect(await verify(Buffer.from(tokenOf(claims)))).toMatchObject({ clientId: 'device-1', group: 'north' });
});

describe('with names given', () => {
  const invalid = 'token_claim_invalid';
  test.each<[string, Record<string, unknown>, string]>([
    ['scopes in one string', { permissions: 'telemetry.write commands.read' }, 'accepted'],
    ['no scopes, which grants nothing', { permissions: [] }, 'accepted'],
    ['no group', { 'https://fleet.example/site': undefined }, 'accepted'],
    ['a client_id of another, which is not looked at', { client_id: 'device-2' }, 'accepted'],
    [
      'the client under the usual name alone',
      { azp: undefined, client_id: 'device-1', sub: 'device-1' },
      invalid,
    ],
    ['a client that is no identifier', { azp: 'a/b' }, invalid],
    ['a client that is a list', { azp: ['device-1'] }, invalid],
    [
      'scopes under the usual name alone',
      { permissions: undefined, scp: ['telemetry.write'], scope: 'a' },
      invalid,
    ],
    ['scopes of an object', { permissions: { a: true } }, invalid],
    ['scopes of a number', { permissions: [1] }, invalid],
    ['a scope with a space', { permissions: ['a b'] }, invalid],
    ['129 scopes in one string', { permissions: Array(129).fill('a').join(' ') }, invalid],
    ['a group with a level', { 'https://fleet.example/site': 'a/b' }, invalid],
    ['a group that is a list', { 'https://fleet.example/site': ['north'] }, invalid],
  ])('%s', async (_what, claims, code) => {
    expect(await codeOf(verifierOf(names), tokenOf(claims))).toBe(code);
  });

  test.each<[readonly string[] | undefined, unknown, string]>([
    [undefined, 'at+jwt', 'accepted'],
    [undefined, 'JWT', 'token_type_refused'],
    [['jwt'], 'JWT', 'accepted'],
    [['JWT'], 'application/jwt', 'accepted'],
    [['jwt'], 'at+jwt', 'token_type_refused'],
    [['at+jwt', 'jwt'], 'AT+JWT', 'accepted'],
    [['jwt'], 'id+jwt', 'token_type_refused'],
    [['jwt'], undefined, 'token_type_refused'],
    [['jwt'], 'application/x/jwt', 'token_type_refused'],
  ])('types %j: a token of typ %s is %s', async (types, typ, code) => {
    const profile = types === undefined ? names : { ...names, types };
    expect(await codeOf(verifierOf(profile), tokenOf({}, { typ }))).toBe(code);
  });
});

test('what was given cannot be changed behind', async () => {
  const changing = { clientId: 'azp', scope: 'permissions', types: ['at+jwt'] };
  const verify = verifierOf(changing);
  changing.clientId = 'sub';
  changing.types.push('jwt');
  expect(await codeOf(verify, tokenOf({}, { typ: 'JWT' }))).toBe('token_type_refused');
  expect(await verify(Buffer.from(tokenOf()))).toMatchObject({ clientId: 'device-1' });
  expect(Object.isFrozen(prepareProfile(changing))).toBe(true);
});

describe('names that cannot be meant are a TypeError', () => {
  test.each<[string, Record<string, unknown>]>([
    ['an empty name', { clientId: '' }],
    ['a name that is a number', { scope: 1 }],
    ['a name of 257 characters', { group: 'x'.repeat(257) }],
    ['a claim that means something else', { clientId: 'iss' }],
    ['the audience as scopes', { scope: 'aud' }],
    ['the confirmation as group', { group: 'cnf' }],
    ['a misspelled one', { client_id: 'azp' }],
    ['no types', { types: [] }],
    ['types in a string', { types: 'jwt' }],
    ['a type that is none', { types: ['at jwt'] }],
    ['a type that is a number', { types: [1] }],
    ['seventeen types', { types: Array.from({ length: 17 }, (_, i) => `t${i}`) }],
  ])('%s', (_what, profile) => {
    expect(() => prepareProfile(profile as ClaimNames)).toThrow(TypeError);
  });
});
