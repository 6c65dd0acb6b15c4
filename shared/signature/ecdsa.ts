/** Bytes of r, and of s, on P-256. */
const P256_BYTES = 32;

/** SEQUENCE, two INTEGERs with a length byte each, and in each a zero in front of a first bit that is set. */
const MAX_DER_BYTES = 2 + 2 * (2 + 1 + P256_BYTES);

/**
 * An ECDSA signature on P-256 in DER (RFC 3279 §2.2.3) from r‖s, as JWS has it (RFC 7518 §3.4); `undefined` for one of
 * another length. Asking node:crypto for r‖s itself takes longer on Node 24.
 */
export function derFromJoined(joined: Uint8Array): Uint8Array | undefined {
  if (joined.length !== 2 * P256_BYTES) return undefined;
  const der = new Uint8Array(MAX_DER_BYTES);
  const rEnd = writeInteger(der, 2, joined, 0);
  const end = writeInteger(der, rEnd, joined, P256_BYTES);
  // All lengths are below 128, so one byte each.
  der[0] = 0x30;
  der[1] = end - 2;
  return der.subarray(0, end);
}

/** Without leading zeros, but for the one that keeps it from being negative. Where the next byte goes. */
function writeInteger(der: Uint8Array, at: number, joined: Uint8Array, from: number): number {
  const to = from + P256_BYTES;
  let start = from;
  while (start < to - 1 && joined[start] === 0) start += 1;
  const pad = (joined[start] as number) >= 0x80 ? 1 : 0;
  der[at] = 0x02;
  der[at + 1] = pad + to - start;
  der.set(joined.subarray(start, to), at + 2 + pad);
  return at + 2 + pad + to - start;
}

/** The way back, from DER as node:crypto makes it, for a signature that is to go into a JWS. */
export function joinedFromDer(der: Buffer): Buffer {
  const joined = Buffer.alloc(2 * P256_BYTES);
  const rLength = der[3] as number;
  const sLength = der[5 + rLength] as number;
  copyInteger(der.subarray(4, 4 + rLength), joined, P256_BYTES);
  copyInteger(der.subarray(6 + rLength, 6 + rLength + sLength), joined, 2 * P256_BYTES);
  return joined;
}

// Right-aligned: DER drops leading zeros, and adds one where the first bit is set.
function copyInteger(integer: Buffer, target: Buffer, end: number): void {
  const significant = integer.length > P256_BYTES ? integer.subarray(integer.length - P256_BYTES) : integer;
  significant.copy(target, end - significant.length);
}
