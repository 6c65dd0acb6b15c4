import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CborError, type CborItem, decodeCbor, encodeCbor } from '../../shared/cbor.ts';

const hex = (text: string) => Buffer.from(text, 'hex');

// RFC 8949, Appendix A, as far as it is of the kinds that are read here.
test.each<[string, CborItem]>([
  ['00', 0],
  ['17', 23],
  ['1818', 24],
  ['18ff', 255],
  ['190100', 256],
  ['1903e8', 1000],
  ['1a000f4240', 1_000_000],
  ['1b000000e8d4a51000', 1_000_000_000_000],
  ['20', -1],
  ['3863', -100],
  ['3903e7', -1000],
  ['f4', false],
  ['f5', true],
  ['f6', null],
  ['40', Buffer.alloc(0)],
  ['4401020304', Buffer.of(1, 2, 3, 4)],
  ['60', ''],
  ['6449455446', 'IETF'],
  ['62c3bc', 'ü'],
  ['80', []],
  ['83010203', [1, 2, 3]],
  ['8301820203820405', [1, [2, 3], [4, 5]]],
  ['a0', new Map()],
  [
    'a201020304',
    new Map([
      [1, 2],
      [3, 4],
    ]),
  ],
  [
    'a26161016162820203',
    new Map<string, CborItem>([
      ['a', 1],
      ['b', [2, 3]],
    ]),
  ],
])('%s is read and written', (bytes, item) => {
  expect(decodeCbor(hex(bytes))).toEqual(item);
  expect(encodeCbor(item).toString('hex')).toBe(bytes);
});

test.each([
  ['a number in more bytes than it takes', '1817', 23],
  ['a length in more bytes than it takes', '58020102', Buffer.of(1, 2)],
])('%s is read', (_what, bytes, item) => {
  expect(decodeCbor(hex(bytes))).toEqual(item);
});

describe('refused is', () => {
  test.each([
    ['nothing', ''],
    ['an indefinite byte string', '5f42010243030405ff'],
    ['an indefinite text', '7f657374726561646d696e67ff'],
    ['an indefinite array', '9f0102ff'],
    ['an indefinite map', 'bf6161019fff'],
    ['a break alone', 'ff'],
    ['a reserved length', '1c'],
    ['a tag', 'c074323031332d30332d32315432303a30343a30305a'],
    ['a float', 'f93c00'],
    ['undefined', 'f7'],
    ['a simple value', 'f0'],
    ['a number beyond 2^53', '1bffffffffffffffff'],
    ['a negative one beyond it', '3bffffffffffffffff'],
    ['a key that comes twice', 'a201020103'],
    ['one that comes twice in two spellings', 'a2010218010 3'.replace(' ', '')],
    ['a key that is an array', 'a1810102'],
    ['a key of bytes', 'a1410102'],
    ['text that is not UTF-8', '62c328'],
    ['text of half a character', '61c3'],
    ['bytes that are cut off', '44010203'],
    ['a map that is cut off', 'a20102'],
    ['an array of four billion', '9affffffff'],
    ['bytes of four billion', '5affffffff00'],
    ['two items', '0000'],
    ['nine arrays in each other', `${'81'.repeat(9)}00`],
  ])('%s', (_what, bytes) => {
    expect(() => decodeCbor(hex(bytes))).toThrow(CborError);
  });
});

const items = fc.letrec<{ item: CborItem }>((tie) => ({
  item: fc.oneof(
    { depthSize: 'small', maxDepth: 3 },
    fc.maxSafeInteger(),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.constantFrom(true, false, null),
    fc.array(tie('item'), { maxLength: 3 }),
    fc
      .uniqueArray(fc.tuple(fc.oneof(fc.maxSafeInteger(), fc.string()), tie('item')), {
        selector: ([key]) => key,
        maxLength: 3,
      })
      .map((entries) => new Map(entries)),
  ),
})).item;

test('what was written is read as it was', () => {
  fc.assert(
    fc.property(items, (item) => {
      expect(decodeCbor(encodeCbor(item))).toEqual(item);
    }),
  );
});

test('random bytes are an item or a CborError, and nothing else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        decodeCbor(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(CborError);
      }
    }),
    { numRuns: 5_000 },
  );
});

test.each([0.5, Number.NaN, 2 ** 53])('%s is not written', (value) => {
  expect(() => encodeCbor(value)).toThrow(RangeError);
});
