import { expect, test } from 'vitest';
import { createGate } from '../../broker/admission.ts';
import { addressKey } from '../../shared/address-key.ts';

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:db8:1:2::9', '2001:db8:1:2'],
  ['2001:db8::1', '2001:db8:0:0'],
  ['::1', '0:0:0:0'],
  ['fe80::1%eth0', 'fe80:0:0:0'],
  ['::', '0:0:0:0'],
])('the address %s is counted as %s', (address, key) => {
  expect(addressKey(address)).toBe(key);
});

test('a place is given back once, however often it is released', () => {
  const gate = createGate({ maxConnections: 1, maxConnectionsPerAddress: 1 });
  const first = gate.admit('192.0.2.1');
  expect(first.verdict).toBe('admitted');
  expect(gate.admit('192.0.2.2').verdict).toBe('over_limit');
  gate.release(first);
  gate.release(first);
  expect(gate.admit('192.0.2.1').verdict).toBe('admitted');
  expect(gate.admit('192.0.2.1').verdict).toBe('over_limit');
});

test('those who are only told to come back later are bounded too', () => {
  const gate = createGate({ maxConnections: 1, maxConnectionsPerAddress: 1 });
  gate.admit(undefined);
  const verdicts = Array.from({ length: 100 }, () => gate.admit(undefined).verdict);
  expect(verdicts.filter((verdict) => verdict === 'over_limit')).toHaveLength(64);
  expect(verdicts.filter((verdict) => verdict === 'closed')).toHaveLength(36);
});
