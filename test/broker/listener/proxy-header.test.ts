import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_BINARY_BYTES, MAX_LINE_BYTES, parseProxyHeader } from '../../../broker/listener/proxy-header.ts';
import { binaryHeader } from '../../support/proxy-header.ts';

const line = (text: string) => Buffer.from(text, 'latin1');

describe('version 1', () => {
  test.each([
    ['PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883\r\n', '192.0.2.7'],
    ['PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n', '255.255.255.255'],
    ['PROXY TCP6 2001:db8::7 2001:db8::1 56324 1883\r\n', '2001:db8::7'],
    ['PROXY TCP6 2001:0DB8:0:0:0:0:0:7 ::1 0 0\r\n', '2001:db8::7'],
    ['PROXY TCP6 ::ffff:c000:207 ::ffff:1.2.3.4 1 2\r\n', '::ffff:192.0.2.7'],
    ['PROXY UNKNOWN\r\n', undefined],
    ['PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n', undefined],
  ])('%j', (text, address) => {
    const header = line(text);
    const complete = { status: 'complete', length: header.length, address };
    expect(parseProxyHeader(header)).toEqual(complete);
    expect(parseProxyHeader(Buffer.concat([header, Buffer.from([0x10, 0, 0x0a])]))).toEqual(complete);
    for (let cut = 0; cut < header.length; cut += 1) {
      expect(parseProxyHeader(header.subarray(0, cut)).status, `cut at ${cut}`).toBe('incomplete');
    }
  });

  test.each([
    'PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883\n',
    'PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n',
    'PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883 1\r\n',
    'PROXY TCP4  192.0.2.7 198.51.100.1 56324 1883\r\n',
    'PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883 \r\n',
    'PROXY TCP4 192.0.2.256 198.51.100.1 56324 1883\r\n',
    'PROXY TCP4 192.0.2.7 lb 56324 1883\r\n',
    'PROXY TCP4 192.0.2.07 198.51.100.1 56324 1883\r\n',
    'PROXY TCP4 192.0.2.7 198.51.100.1 056324 1883\r\n',
    'PROXY TCP4 192.0.2.7 198.51.100.1 65536 1883\r\n',
    'PROXY TCP4 192.0.2.7 198.51.100.1 -1 1883\r\n',
    'PROXY TCP4 2001:db8::7 2001:db8::1 56324 1883\r\n',
    'PROXY TCP6 192.0.2.7 198.51.100.1 56324 1883\r\n',
    'PROXY TCP6 fe80::1%eth0 fe80::2%eth0 1 2\r\n',
    'PROXY UDP4 192.0.2.7 198.51.100.1 56324 1883\r\n',
    'PROXY UNKNOWNS\r\n',
    'PROXY \r\n',
    'PROXY TCP4\r\n',
    'proxy TCP4 192.0.2.7 198.51.100.1 56324 1883\r\n',
    'PROXY\tTCP4 192.0.2.7 198.51.100.1 56324 1883\r\n',
    ' PROXY UNKNOWN\r\n',
    'GET / HTTP/1.1\r\n',
  ])('%j is malformed', (text) => {
    expect(parseProxyHeader(line(text)).status).toBe('malformed');
  });

  test('107 bytes are the most, and more are not waited for', () => {
    const longest = `PROXY UNKNOWN ${'x'.repeat(MAX_LINE_BYTES - 16)}\r\n`;
    expect(parseProxyHeader(line(longest))).toMatchObject({ status: 'complete', length: 107 });
    const longer = `PROXY UNKNOWN ${'x'.repeat(MAX_LINE_BYTES - 15)}\r\n`;
    expect(parseProxyHeader(line(longer)).status).toBe('malformed');
    expect(parseProxyHeader(line(longer.slice(0, MAX_LINE_BYTES))).status).toBe('malformed');
  });
});

describe('version 2', () => {
  const ipv4 = Buffer.from([192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x07, 0x5b]);
  const ipv6 = Buffer.concat([
    Buffer.from('20010db8000000000000000000000007', 'hex'),
    Buffer.from('20010db8000000000000000000000001', 'hex'),
    Buffer.from([0xdc, 0x04, 0x07, 0x5b]),
  ]);
  const mapped = Buffer.concat([Buffer.from('00000000000000000000ffffc0000207', 'hex'), Buffer.alloc(20)]);
  const tlv = Buffer.from([0x04, 0x00, 0x02, 0x00, 0x00]);

  test.each([
    ['TCP over IPv4', binaryHeader(0x21, 0x11, ipv4), '192.0.2.7'],
    [
      'TCP over IPv4 with more behind the addresses',
      binaryHeader(0x21, 0x11, Buffer.concat([ipv4, tlv])),
      '192.0.2.7',
    ],
    ['TCP over IPv6', binaryHeader(0x21, 0x21, ipv6), '2001:db8::7'],
    ['IPv4 mapped into IPv6', binaryHeader(0x21, 0x21, mapped), '::ffff:192.0.2.7'],
    ['LOCAL', binaryHeader(0x20, 0x00, Buffer.alloc(0)), undefined],
    ['LOCAL with addresses', binaryHeader(0x20, 0x11, ipv4), undefined],
    ['LOCAL of any family', binaryHeader(0x20, 0x77, Buffer.alloc(3)), undefined],
    ['unspecified', binaryHeader(0x21, 0x00, Buffer.alloc(0)), undefined],
    ['a UNIX socket', binaryHeader(0x21, 0x31, Buffer.alloc(216)), undefined],
    [
      'of 536 bytes',
      binaryHeader(0x21, 0x11, Buffer.concat([ipv4, Buffer.alloc(MAX_BINARY_BYTES - 28)])),
      '192.0.2.7',
    ],
  ])('%s', (_what, header, address) => {
    const complete = { status: 'complete', length: header.length, address };
    expect(parseProxyHeader(header)).toEqual(complete);
    expect(parseProxyHeader(Buffer.concat([header, Buffer.from([0x10])]))).toEqual(complete);
    for (let cut = 0; cut < header.length; cut += 1) {
      expect(parseProxyHeader(header.subarray(0, cut)).status, `cut at ${cut}`).toBe('incomplete');
    }
  });

  test.each([
    ['version 1 in binary', binaryHeader(0x11, 0x11, ipv4)],
    ['version 3', binaryHeader(0x31, 0x11, ipv4)],
    ['an unknown command', binaryHeader(0x22, 0x11, ipv4)],
    ['datagrams over IPv4', binaryHeader(0x21, 0x12, ipv4)],
    ['datagrams over IPv6', binaryHeader(0x21, 0x22, ipv6)],
    ['an unknown family', binaryHeader(0x21, 0x41, ipv4)],
    ['too short for IPv4', binaryHeader(0x21, 0x11, ipv4.subarray(1))],
    ['too short for IPv6', binaryHeader(0x21, 0x21, ipv6.subarray(1))],
    ['too short for a UNIX socket', binaryHeader(0x21, 0x31, Buffer.alloc(215))],
    ['of 537 bytes', binaryHeader(0x21, 0x11, Buffer.alloc(521))],
    [
      'of the greatest length, which is not waited for',
      binaryHeader(0x21, 0x11, Buffer.alloc(65_535)).subarray(0, 16),
    ],
    ['with a wrong signature', Buffer.concat([Buffer.from('\r\n\r\n\0\r\nQUIX\n'), Buffer.alloc(16)])],
  ])('%s is malformed', (_what, header) => {
    expect(parseProxyHeader(header).status).toBe('malformed');
  });
});

test('whatever comes, it is judged without an error, and within the longest header', () => {
  const beginnings = [
    Buffer.alloc(0),
    line('PROXY '),
    line('PROXY TCP6 '),
    binaryHeader(0x21, 0x21, Buffer.alloc(0)).subarray(0, 12),
  ];
  fc.assert(
    fc.property(fc.constantFrom(...beginnings), fc.uint8Array({ maxLength: 1_000 }), (beginning, rest) => {
      const bytes = Buffer.concat([beginning, rest]);
      const header = parseProxyHeader(bytes);
      if (bytes.length > MAX_BINARY_BYTES) expect(header.status).not.toBe('incomplete');
      if (header.status === 'complete') expect(header.length).toBeLessThanOrEqual(MAX_BINARY_BYTES);
    }),
  );
});
