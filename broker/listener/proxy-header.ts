import { isIPv4, isIPv6, SocketAddress } from 'node:net';

/**
 * PROXY protocol, versions 1 and 2 (HAProxy, `proxy-protocol.txt`). Our own: proxy-protocol-js takes complete input
 * only and does not look at addresses and ports, and proxywrap has no types and replaces `net.Server`.
 */
export type ProxyHeader =
  /** So far it may be one. */
  | { readonly status: 'incomplete' }
  | { readonly status: 'malformed' }
  | {
      readonly status: 'complete';
      /** Bytes of it; what follows is the client's. */
      readonly length: number;
      /** The client's, canonical; `undefined` when the header leaves it at the address of the socket. */
      readonly address: string | undefined;
    };

/** Bytes of the longest version 1 line, its CRLF included (§2.1). */
export const MAX_LINE_BYTES = 107;

/** Bytes of a version 2 header: what the smallest IPv4 segment holds, and so arrives in one (§2.2). */
export const MAX_BINARY_BYTES = 536;

const CR = 0x0d;
const LF = 0x0a;
const linePrefix = Buffer.from('PROXY ');
const signature = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
const FIXED_BYTES = 16;

const incomplete: ProxyHeader = Object.freeze({ status: 'incomplete' });
const malformed: ProxyHeader = Object.freeze({ status: 'malformed' });

/** Reads the header at the beginning of `bytes`, which may be cut off anywhere. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader {
  if (bytes.length === 0) return incomplete;
  if (bytes[0] === signature[0]) return startsLike(bytes, signature) ? parseBinary(bytes) : malformed;
  return startsLike(bytes, linePrefix) ? parseLine(bytes) : malformed;
}

function startsLike(bytes: Buffer, beginning: Buffer): boolean {
  const length = Math.min(bytes.length, beginning.length);
  return bytes.subarray(0, length).equals(beginning.subarray(0, length));
}

/** `PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883\r\n` (§2.1). */
function parseLine(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, MAX_LINE_BYTES).indexOf(LF);
  if (end === -1) return bytes.length >= MAX_LINE_BYTES ? malformed : incomplete;
  if (bytes[end - 1] !== CR) return malformed;
  const line = bytes.toString('latin1', 0, end - 1);
  const length = end + 1;
  // Whatever follows UNKNOWN is to be ignored.
  if (/^PROXY UNKNOWN( |$)/.test(line)) return { status: 'complete', length, address: undefined };
  const [, family, source = '', destination = '', ...ports] = line.split(' ');
  if (ports.length !== 2 || !ports.every(isPort)) return malformed;
  if (family === 'TCP4' && isIPv4(source) && isIPv4(destination)) {
    return { status: 'complete', length, address: source };
  }
  if (family === 'TCP6' && isPlainIPv6(source) && isPlainIPv6(destination)) {
    return { status: 'complete', length, address: canonicalIPv6(source) };
  }
  return malformed;
}

function isPort(text: string): boolean {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535;
}

/** Without a zone, which means something to the proxy only. */
function isPlainIPv6(text: string): boolean {
  return isIPv6(text) && !text.includes('%');
}

/** Version and command in byte 12, family and transport in 13, the length of all behind in 14 and 15 (§2.2). */
function parseBinary(bytes: Buffer): ProxyHeader {
  const version = bytes[12];
  if (version !== undefined && version !== 0x20 && version !== 0x21) return malformed;
  if (bytes.length < FIXED_BYTES) return incomplete;
  const length = FIXED_BYTES + bytes.readUInt16BE(14);
  if (length > MAX_BINARY_BYTES) return malformed;
  if (bytes.length < length) return incomplete;
  const isLocal = version === 0x20;
  // A health check of the proxy itself.
  if (isLocal) return { status: 'complete', length, address: undefined };
  const addresses = bytes.subarray(FIXED_BYTES, length);
  switch (bytes[13]) {
    // Unspecified, and a UNIX socket of the proxy's own machine: there is no address.
    case 0x00:
      return { status: 'complete', length, address: undefined };
    case 0x31:
      return addresses.length < 216 ? malformed : { status: 'complete', length, address: undefined };
    case 0x11:
      if (addresses.length < 12) return malformed;
      return { status: 'complete', length, address: addresses.subarray(0, 4).join('.') };
    case 0x21:
      if (addresses.length < 36) return malformed;
      return { status: 'complete', length, address: canonicalIPv6(groupsOf(addresses.subarray(0, 16))) };
    default:
      // Also datagrams: this is TCP.
      return malformed;
  }
}

function groupsOf(bytes: Buffer): string {
  return Array.from({ length: 8 }, (_, group) => bytes.readUInt16BE(group * 2).toString(16)).join(':');
}

/** One spelling for each address, so that it is counted as one; an IPv4 address in it shows as such. */
function canonicalIPv6(address: string): string {
  return new SocketAddress({ address, family: 'ipv6' }).address;
}
