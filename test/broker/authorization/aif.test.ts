import { compileGrants, decide, explain, listGrants, parsePolicy } from '@fleetgate/broker';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_AIF_ENTRIES, MAX_AIF_LENGTH, parseAifScope } from '../../../broker/authorization/aif.ts';

const encode = (text: string | Uint8Array) => Buffer.from(text as string).toString('base64url');
const aif = (value: unknown) => encode(JSON.stringify(value));
const grantsOf = (...scopes: string[]) =>
  compileGrants(undefined, { clientId: 'a', scopes, scopeFormat: 'aif', claims: {} });

test('each entry grants its topic filter to publish, to subscribe or both (RFC 9431 §3)', () => {
  const scope = aif([
    ['topic1', ['pub', 'sub']],
    ['topic2/#', ['pub']],
    ['+/topic3', ['sub']],
  ]);
  expect(listGrants(grantsOf(scope))).toEqual({
    publish: ['topic1', 'topic2/#'],
    subscribe: ['topic1', '+/topic3'],
  });
});

test('an empty array grants nothing, and says nothing', () => {
  expect(grantsOf(aif([])).unapplied).toEqual([]);
  expect(listGrants(grantsOf(aif([])))).toEqual({ publish: [], subscribe: [] });
});

test('no scope at all grants nothing', () => {
  expect(listGrants(grantsOf())).toEqual({ publish: [], subscribe: [] });
});

const many = (count: number) => Array.from({ length: count }, (_, n) => [`t${n}`, ['pub']]);

test('up to the limit of entries', () => {
  expect(listGrants(grantsOf(aif(many(MAX_AIF_ENTRIES)))).publish).toHaveLength(MAX_AIF_ENTRIES);
});

const good = ['a', ['pub']];
describe('the whole scope grants nothing when', () => {
  test.each<[string, string]>([
    ['it is no base64url', '[["a",["pub"]]]'],
    ['it is padded', `${aif([good, ['b', ['pub']]])}=`],
    ['a bit behind its last byte is set', aif([good]).replace(/.$/, 'R')],
    ['it is base64 of the other alphabet', Buffer.from('[["a/?>~",["pub"]]]').toString('base64')],
    ['it is no JSON', encode('[["a",["pub"]]')],
    ['it ends in something else', encode('[["a",["pub"]]] []')],
    ['it begins with a byte order mark', encode('\uFEFF[["a",["pub"]]]')],
    ['it is no UTF-8', encode(Buffer.from([0x5b, 0x5b, 0x22, 0xff, 0x22, 0x5d]))],
    ['it is an object', aif({ a: ['pub'] })],
    ['it is a string', aif('a')],
    ['it is nothing', ''],
    ['an entry is a string', aif([good, 'b'])],
    ['an entry is an object', encode('[["a",["pub"]],{"0":"b","1":["pub"],"length":2}]')],
    ['an entry has one member', aif([good, ['b']])],
    ['an entry has three members', aif([good, ['b', ['pub'], 1]])],
    ['a filter is a number', aif([good, [1, ['pub']]])],
    ['a filter is malformed', aif([good, ['b#', ['pub']]])],
    ['a filter is empty', aif([good, ['', ['pub']]])],
    ['a filter holds NUL', aif([good, ['b\0', ['pub']]])],
    ['a filter holds half a surrogate pair', encode('[["a",["pub"]],["\\ud800",["pub"]]]')],
    ['permissions are a string', aif([good, ['b', 'pub']])],
    ['permissions are a number, as those of RFC 9237', aif([good, ['b', 3]])],
    ['there is no permission', aif([good, ['b', []]])],
    ['a permission is unknown', aif([good, ['b', ['pub', 'all']]])],
    ['a permission is of another case', aif([good, ['b', ['PUB']]])],
    ['a permission is a list', aif([good, ['b', [['pub']]]])],
    ['a permission is given twice', aif([good, ['b', ['pub', 'pub']]])],
    ['there is one entry too many', aif(many(MAX_AIF_ENTRIES + 1))],
    ['it is too long', encode(`[["a",["pub"]]${' '.repeat(MAX_AIF_LENGTH)}]`)],
    ['it is nothing but brackets', encode('['.repeat(6000))],
  ])('%s', (_rule, scope) => {
    const grants = grantsOf(scope);
    expect(listGrants(grants)).toEqual({ publish: [], subscribe: [] });
    expect(grants.unapplied).toEqual([{ kind: 'aif_malformed', problem: expect.any(String) }]);
  });

  test('there is more than one scope token', () => {
    expect(listGrants(grantsOf(aif([good]), aif([good])))).toEqual({ publish: [], subscribe: [] });
  });
});

test.each(['$SYS/#', '$share/g/t', '$fleetgate/token'])(
  'an entry of %s grants nothing, the others do',
  (filter) => {
    const grants = grantsOf(aif([good, [filter, ['pub', 'sub']]]));
    expect(listGrants(grants)).toEqual({ publish: ['a'], subscribe: [] });
    expect(grants.unapplied).toEqual([{ kind: 'scope_reserved', scope: 'aif', filter }]);
  },
);

test('a brace is a brace: nothing is filled in', () => {
  expect(listGrants(grantsOf(aif([['d/{client_id}', ['pub']]]))).publish).toEqual(['d/{client_id}']);
});

test('denies hold, and no text of an AIF scope lifts one', () => {
  const scope = aif([['a', ['pub']]]);
  const file = { version: 1, scopes: {}, deny: [{ publish: ['a'], unless: [scope] }] };
  const grants = compileGrants(parsePolicy(JSON.stringify(file), 'p'), {
    clientId: 'a',
    scopes: [scope],
    scopeFormat: 'aif',
    claims: {},
  });
  expect(listGrants(grants).publish).toEqual([]);
});

test.each([undefined, 'named'] as const)(
  'of an issuer whose format is %s it grants nothing',
  (scopeFormat) => {
    const claims = { clientId: 'a', scopes: [aif([good])], claims: {} };
    const grants = compileGrants(undefined, scopeFormat === undefined ? claims : { ...claims, scopeFormat });
    expect(listGrants(grants).publish).toEqual([]);
  },
);

test('and of one whose format is aif, named and direct scopes grant nothing', () => {
  const policy = parsePolicy(
    'version: 1\nscopes:\n  W10: { publish: [ a ] }\n  s: { publish: [ a ] }\n',
    'p',
  );
  for (const scope of ['W10', 's', 'mqtt:publish:a']) {
    const grants = compileGrants(policy, { clientId: 'a', scopes: [scope], scopeFormat: 'aif', claims: {} });
    expect(listGrants(grants).publish).toEqual([]);
  }
});

test('an explanation says what is wrong with it', () => {
  const grants = grantsOf(aif([good, ['b#', ['pub']]]));
  const who = { clientId: 'a', issuer: 'i', tokenId: 't', expiresAtMs: 1, grants };
  const attempt = { action: 'publish', topic: 'a', qos: 0, retain: false, bytes: 0 } as const;
  expect(decide(who, attempt, 0)).toMatchObject({ reason: 'no_rule' });
  expect(explain(who, attempt, 0).notes.join()).toContain('entry 2');
});

test('what is accepted is what was encoded, and no text makes the parser throw', () => {
  const filter = fc.oneof({ weight: 4, arbitrary: fc.constantFrom('a', '+/b', 'c/#', '#') }, fc.anything());
  const permissions = fc.oneof(
    { weight: 4, arbitrary: fc.shuffledSubarray(['pub', 'sub'], { minLength: 1 }) },
    fc.anything(),
  );
  const list = fc.array(fc.oneof({ weight: 9, arbitrary: fc.tuple(filter, permissions) }, fc.anything()), {
    maxLength: 4,
  });
  let accepted = 0;
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.base64String(), list.map(aif)), (text) => {
      const entries = parseAifScope(text);
      if (typeof entries === 'string') return;
      accepted += 1;
      const written = JSON.parse(Buffer.from(text, 'base64url').toString()) as [string, string[]][];
      expect(entries).toEqual(
        written.map(([of, may]) => ({
          filter: of,
          publish: may.includes('pub'),
          subscribe: may.includes('sub'),
        })),
      );
    }),
    { numRuns: 500 },
  );
  expect(accepted).toBeGreaterThan(20);
});
