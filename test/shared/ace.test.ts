import { describe, expect, test } from 'vitest';
import {
  decodeAceError,
  decodeAceRequest,
  decodeAceResponse,
  encodeAceError,
  encodeAceRequest,
  encodeAceResponse,
} from '../../shared/ace.ts';
import { type CborItem, encodeCbor } from '../../shared/cbor.ts';

const map = (entries: [number | string, CborItem][]) => encodeCbor(new Map(entries));

describe('a request', () => {
  test('is written with the numbers of RFC 9200 §8.10', () => {
    const bytes = encodeAceRequest({ scope: 'a b', audience: 'mqtt', clientId: 'd1' });
    // {5: "mqtt", 9: "a b", 24: "d1", 33: 2}
    expect(bytes.toString('hex')).toBe('a405646d717474096361206218186264311 82102'.replaceAll(' ', ''));
    expect(decodeAceRequest(bytes)).toEqual({
      grantType: 'client_credentials',
      scope: 'a b',
      audience: 'mqtt',
      clientId: 'd1',
    });
  });

  test('says client_credentials where it says nothing', () => {
    expect(decodeAceRequest(map([]))).toMatchObject({ grantType: 'client_credentials' });
  });

  test('is passed on with a grant that is not served, for the core to refuse', () => {
    expect(decodeAceRequest(map([[33, 0]])).grantType).toBe('password');
    expect(decodeAceRequest(map([[33, 99]])).grantType).toBe('99');
  });

  test('may hold what is not known', () => {
    const request = map([
      [9, 'a'],
      [38, null],
      [4, new Map([[1, new Map([[2, Buffer.of(1)]])]])],
      [-70_000, 'x'],
    ]);
    expect(decodeAceRequest(request).scope).toBe('a');
  });

  test.each<[string, Uint8Array]>([
    ['no bytes', Buffer.alloc(0)],
    ['no CBOR', Buffer.of(0xff)],
    ['a number', encodeCbor(1)],
    ['a scope of bytes', map([[9, Buffer.of(1)]])],
    ['an audience that is an array', map([[5, ['mqtt']]])],
    ['a client_id that is a number', map([[24, 1]])],
    ['a grant_type that is a text', map([[33, 'client_credentials']])],
    ['a client_secret', map([[25, Buffer.from('canary')]])],
  ])('of %s is refused', (_what, bytes) => {
    expect(() => decodeAceRequest(bytes)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
    expect(() => decodeAceRequest(bytes)).not.toThrow(/canary/);
  });
});

describe('an answer', () => {
  const token = { access_token: 'a.b.c', expires_in: 900 };

  test('says that the token is Bearer, and the scope where it is another', () => {
    const bytes = encodeAceResponse(token, 'a');
    // {1: h'612e622e63', 2: 900, 9: "a", 34: 1}
    expect(bytes.toString('hex')).toBe('a40145612e622e63021903840961611 82201'.replaceAll(' ', ''));
    expect(decodeAceResponse(bytes)).toEqual({ ...token, token_type: 'Bearer', scope: 'a' });
    expect(decodeAceResponse(encodeAceResponse(token, undefined))).toEqual({
      ...token,
      token_type: 'Bearer',
    });
  });

  test.each<[string, [number, CborItem][]]>([
    ['no token', [[34, 1]]],
    [
      'no lifetime',
      [
        [1, Buffer.from('t')],
        [34, 1],
      ],
    ],
    [
      'a token of another type',
      [
        [1, Buffer.from('t')],
        [2, 900],
        [34, 2],
      ],
    ],
    [
      'no type, which would be proof of possession',
      [
        [1, Buffer.from('t')],
        [2, 900],
      ],
    ],
    [
      'a lifetime below zero',
      [
        [1, Buffer.from('t')],
        [2, -1],
        [34, 1],
      ],
    ],
  ])('of %s is none', (_what, entries) => {
    expect(decodeAceResponse(map(entries))).toBeUndefined();
  });
});

test.each([
  ['invalid_request', 1],
  ['invalid_client', 2],
  ['unauthorized_client', 4],
  ['unsupported_grant_type', 5],
  ['invalid_scope', 6],
])('the error %s is number %i', (code, number) => {
  const bytes = encodeAceError(code, 'why');
  expect(bytes).toEqual(
    map([
      [30, number],
      [31, 'why'],
    ]),
  );
  expect(decodeAceError(bytes)).toEqual({ code, description: 'why' });
});

test('an error that RFC 9200 has no number for is an invalid request, and its words say more', () => {
  expect(decodeAceError(encodeAceError('invalid_target', 'of no audience'))).toEqual({
    code: 'invalid_request',
    description: 'of no audience',
  });
});

test.each([
  ['no error', map([[1, 1]])],
  ['no map', Buffer.of(1)],
  ['an unknown one', map([[30, 77]])],
])('%s is no error', (_what, bytes) => {
  expect(decodeAceError(bytes)).toBeUndefined();
});
