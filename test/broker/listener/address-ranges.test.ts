import { expect, test } from 'vitest';
import { addressRangeProblem, parseAddressRanges } from '../../../broker/listener/address-ranges.ts';

const ranges = parseAddressRanges(['192.0.2.7', '10.1.0.0/16', '2001:db8::1', 'fd00:1::/32']);

test.each([
  ['192.0.2.7', true],
  ['192.0.2.8', false],
  ['10.1.255.255', true],
  ['10.2.0.0', false],
  ['2001:db8::1', true],
  ['2001:0db8:0:0:0:0:0:1', true],
  ['2001:db8::2', false],
  ['fd00:1:ffff::1', true],
  ['fd00:2::1', false],
  ['::ffff:10.1.2.3', true],
  ['::ffff:10.2.2.3', false],
  [undefined, false],
])('%s', (address, isIn) => {
  expect(ranges.includes(address)).toBe(isIn);
});

test('an empty set includes nobody', () => {
  expect(parseAddressRanges([]).includes('127.0.0.1')).toBe(false);
});

test.each(['0.0.0.0/0', '::/0', '127.0.0.1/32', '::1/128'])('%s is good', (range) => {
  expect(addressRangeProblem(range)).toBeUndefined();
});

test.each([
  '',
  'localhost',
  '10.0.0',
  '10.0.0.0/',
  '10.0.0.0/33',
  '10.0.0.0/-1',
  '10.0.0.0/8/8',
  '::/129',
  'fe80::1%eth0',
  '10.0.0.0/1e1',
])("'%s' is no address and no network", (range) => {
  expect(addressRangeProblem(range)).toBeTypeOf('string');
  expect(() => parseAddressRanges([range])).toThrow(TypeError);
});
