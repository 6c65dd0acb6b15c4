import {
  formatRevocation,
  parseRevocation,
  type RevocableToken,
  type Revocation,
  type RevocationTarget,
  revokes,
} from '@fleetgate/shared';
import { describe, expect, test } from 'vitest';

const place = { cursor: '0000000000000001.1700000000000', expires_at: 1_700_086_700 };
const revocations: readonly Revocation[] = [
  { kind: 'token', jti: 'a3f1', ...place },
  { kind: 'client', client_id: 'sensor-1', at: 1_700_000_000, ...place },
  { kind: 'issued_before', at: 1_700_000_000, ...place },
  { kind: 'issued_before', client_id: 'sensor-1', at: 0, ...place },
  { kind: 'key', kid: 'k'.repeat(43), ...place },
  { kind: 'client', client_id: 'sensor-1', at: 1_700_000_000, quarantined: true, ...place },
];

test.each(revocations)('$kind is the same after it was written and read', (revocation) => {
  const line = formatRevocation(revocation);
  expect(line).not.toContain('\n');
  expect(parseRevocation(JSON.parse(line))).toEqual(revocation);
});

test('members that nobody knows are left out', () => {
  const [revocation] = revocations;
  const read = parseRevocation({
    ...revocation,
    reason: 'stolen',
    ['__proto__']: { at: 1 },
    client_id: 7,
    quarantined: 7,
  });
  expect(read).toEqual(revocation);
});

test.each(['quarantine', 'Token', '', 'constructor', '__proto__', 'toString'])(
  'a kind that nobody knows, "%s", is revocation_kind_unknown',
  (kind) => {
    expect(() => parseRevocation({ ...place, kind })).toThrow(
      expect.objectContaining({ code: 'revocation_kind_unknown' }),
    );
  },
);

describe('malformed is', () => {
  const [token, client, before, , key] = revocations;
  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['text', 'token'],
    ['a list', [token]],
    ['no kind', { ...token, kind: undefined }],
    ['a number for a kind', { ...token, kind: 1 }],
    ['no cursor', { ...token, cursor: undefined }],
    ['an empty cursor', { ...token, cursor: '' }],
    ['a cursor of 65 characters', { ...token, cursor: '1'.repeat(65) }],
    ['a cursor with a line break', { ...token, cursor: '1\n2' }],
    ['no expires_at', { ...token, expires_at: undefined }],
    ['expires_at as text', { ...token, expires_at: '1700086700' }],
    ['expires_at as a fraction', { ...token, expires_at: 1.5 }],
    ['a token without jti', { ...token, jti: undefined }],
    ['an empty jti', { ...token, jti: '' }],
    ['a jti of 257 characters', { ...token, jti: 'a'.repeat(257) }],
    ['a jti with a space', { ...token, jti: 'a b' }],
    ['a client without an id', { ...client, client_id: undefined }],
    ['a client that is no identifier', { ...client, client_id: 'a/b' }],
    ['a client without at', { ...client, at: undefined }],
    ['a quarantine that is not', { ...client, quarantined: false }],
    ['a quarantine as a number', { ...client, quarantined: 1 }],
    ['a quarantine of null', { ...client, quarantined: null }],
    ['a moment before 1970', { ...before, at: -1 }],
    ['a moment as text', { ...before, at: '1700000000' }],
    ['a moment over 2^53', { ...before, at: 2 ** 53 }],
    ['a moment that is no number', { ...before, at: Number.NaN }],
    ['null for all clients', { ...before, client_id: null }],
    ['a key without kid', { ...key, kid: undefined }],
    ['a kid of 257 characters', { ...key, kid: 'k'.repeat(257) }],
  ])('%s', (_name, value) => {
    expect(() => parseRevocation(value)).toThrow(expect.objectContaining({ code: 'revocation_malformed' }));
  });
});

describe('a revocation takes back', () => {
  const token: RevocableToken = { jti: 'j1', client_id: 'a', iat: 100, kid: 'k1' };
  test.each<[string, RevocationTarget, boolean]>([
    ['the token it names', { kind: 'token', jti: 'j1' }, true],
    ['no other token', { kind: 'token', jti: 'j' }, false],
    ["a client's token of that second", { kind: 'client', client_id: 'a', at: 100 }, true],
    ["a client's token of before", { kind: 'client', client_id: 'a', at: 101 }, true],
    ["no client's token of the next second", { kind: 'client', client_id: 'a', at: 99 }, false],
    ["no other client's token", { kind: 'client', client_id: 'A', at: 200 }, false],
    ['what was issued before', { kind: 'issued_before', at: 101 }, true],
    ['nothing issued at that moment', { kind: 'issued_before', at: 100 }, false],
    ['what a client was issued before', { kind: 'issued_before', client_id: 'a', at: 101 }, true],
    ['nothing another client was issued', { kind: 'issued_before', client_id: 'b', at: 101 }, false],
    ['what was signed with the key', { kind: 'key', kid: 'k1' }, true],
    ['nothing signed with another key', { kind: 'key', kid: 'k2' }, false],
  ])('%s', (_name, revocation, expected) => {
    expect(revokes(revocation, token)).toBe(expected);
  });
});
