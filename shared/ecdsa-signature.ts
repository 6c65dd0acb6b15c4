/** Bytes of r, and of s, on P-256. */
const P256_BYTES = 32;

/**
 * An ECDSA signature on P-256 in DER (RFC 3279 §2.2.3) from r‖s, as JWS has it (RFC 7518 §3.4); `undefined` for one of
 * another length. Asking node:crypto for r‖s itself takes longer on Node 24.
 */
export function derFromJoined(joined: Uint8Array): Uint8Array | undefined {
  if (joined.length !== 2 * P256_BYTES) return undefined;
  const r = derInteger(joined.subarray(0, P256_BYTES));
  const s = derInteger(joined.subarray(P256_BYTES));
  // SEQUENCE { INTEGER r, INTEGER s }; all lengths are below 128, so one byte each.
  return Uint8Array.from([0x30, r.length + s.length, ...r, ...s]);
}

/** Without leading zeros, but for the one that keeps it from being negative. */
function derInteger(bytes: Uint8Array): number[] {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const significant = bytes.subarray(start);
  const sign = (significant[0] as number) >= 0x80 ? [0] : [];
  return [0x02, significant.length + sign.length, ...sign, ...significant];
}
