/** Reads DER (ITU-T X.690) of certificates that OpenSSL has parsed already. What does not fit is an error. */

export interface DerElement {
  /** The identifier byte; certificates need no longer ones. */
  readonly tag: number;
  readonly content: Buffer;
}

/** The elements that follow one another in `bytes`. */
export function derElements(bytes: Buffer): readonly DerElement[] {
  const elements: DerElement[] = [];
  for (let at = 0; at < bytes.length; ) {
    const { start, end } = bounds(bytes, at);
    elements.push({ tag: bytes[at] as number, content: bytes.subarray(start, end) });
    at = end;
  }
  return elements;
}

/** The dotted form of an OBJECT IDENTIFIER's content (X.690 §8.19). */
export function oidOf(content: Buffer): string {
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const byte of content) {
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    if ((byte & 0x80) !== 0) continue;
    if (arcs.length === 0) {
      const first = arc < 80n ? arc / 40n : 2n;
      arcs.push(first, arc - first * 40n);
    } else arcs.push(arc);
    arc = 0n;
  }
  return arcs.join('.');
}

/** X.690 §8.1.3: one byte below 128, else the number of bytes that hold the length. */
function bounds(bytes: Buffer, at: number): { start: number; end: number } {
  const first = bytes[at + 1] ?? malformed();
  const extra = first < 0x80 ? 0 : first & 0x7f;
  // 0 would be the indefinite length, which DER has not; over 3 bytes is over 16 MiB.
  if (first >= 0x80 && (extra === 0 || extra > 3)) malformed();
  const start = at + 2 + extra;
  if (start > bytes.length) malformed();
  const end = start + (extra === 0 ? first : bytes.readUIntBE(at + 2, extra));
  return end <= bytes.length ? { start, end } : malformed();
}

function malformed(): never {
  throw new RangeError('the DER is malformed');
}
