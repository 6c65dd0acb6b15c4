import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { derFromJoined, joinedFromDer } from '@fleetgate/shared';
import { expect, test } from 'vitest';

const joinedOf = (r: string, s: string) => Buffer.from(r.padStart(64, '0') + s.padStart(64, '0'), 'hex');

test.each([
  ['short numbers', '3006020101020102', joinedOf('01', '02')],
  ['a zero in front of a first bit that is set', '30080202008002020081', joinedOf('80', '81')],
  ['a byte of zeros inside', '30080202010002027f00', joinedOf('0100', '7f00')],
  ['zero', '3006020100020100', joinedOf('00', '00')],
])('%s', (_name, der, joined) => {
  expect(joinedFromDer(Buffer.from(der, 'hex'))).toEqual(joined);
  expect(Buffer.from(derFromJoined(joined) as Uint8Array).toString('hex')).toBe(der);
});

test('what node:crypto signs, whatever the lengths of r and s, goes there and back', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  // One in 256 has a leading zero in r, as many in s: 2,000 signatures as good as surely meet both.
  for (let i = 0; i < 2000; i += 1) {
    const input = Buffer.from(String(i));
    const der = sign('sha256', input, privateKey);
    const joined = joinedFromDer(der);
    expect(joined).toHaveLength(64);
    expect(verify('sha256', input, { key: publicKey, dsaEncoding: 'ieee-p1363' }, joined)).toBe(true);
    expect(Buffer.from(derFromJoined(joined) as Uint8Array)).toEqual(der);
  }
});

test.each([0, 63, 65, 128])('%i bytes are no signature', (length) => {
  expect(derFromJoined(new Uint8Array(length))).toBeUndefined();
});
