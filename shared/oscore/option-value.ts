import { OscoreError } from './oscore-error.ts';

/** What the OSCORE option says (RFC 8613 §6.1). */
export interface OscoreOptionValue {
  readonly partialIv?: Uint8Array | undefined;
  readonly kidContext?: Uint8Array | undefined;
  readonly kid?: Uint8Array | undefined;
}

/** Number of the OSCORE option. */
export const OSCORE_OPTION = 9;

/** Sequence numbers, 0 to 2^40 - 1 (RFC 8613 §7.2.1). */
export const MAX_SEQUENCE_NUMBER = 2 ** 40 - 1;

const MAX_PARTIAL_IV_BYTES = 5;
const HAS_KID_CONTEXT = 0x10;
const HAS_KID = 0x08;
const LENGTH_MASK = 0x07;
const RESERVED = 0xe0;

export function encodeOptionValue({ partialIv, kidContext, kid }: OscoreOptionValue): Buffer {
  const flags =
    (partialIv?.length ?? 0) |
    (kidContext === undefined ? 0 : HAS_KID_CONTEXT) |
    (kid === undefined ? 0 : HAS_KID);
  if (flags === 0) return Buffer.alloc(0);
  const context = kidContext === undefined ? [] : [Buffer.of(kidContext.length), kidContext];
  return Buffer.concat([Buffer.of(flags), partialIv ?? Buffer.alloc(0), ...context, kid ?? Buffer.alloc(0)]);
}

/** @throws OscoreError `malformed` */
export function decodeOptionValue(value: Uint8Array): OscoreOptionValue {
  const [flags] = value;
  if (flags === undefined) return {};
  const length = flags & LENGTH_MASK;
  if (flags === 0 || (flags & RESERVED) !== 0 || length > MAX_PARTIAL_IV_BYTES) malformed();
  let at = 1;
  const take = (count: number) => {
    if (at + count > value.length) malformed();
    at += count;
    return value.subarray(at - count, at);
  };
  const partialIv = length === 0 ? undefined : take(length);
  // One number has one spelling, or one request would have several nonces.
  if (partialIv !== undefined && partialIv.length > 1 && partialIv[0] === 0) malformed();
  const kidContext = (flags & HAS_KID_CONTEXT) === 0 ? undefined : take(take(1)[0] as number);
  const rest = value.subarray(at);
  const hasKid = (flags & HAS_KID) !== 0;
  if (!hasKid && rest.length > 0) malformed();
  return { partialIv, kidContext, kid: hasKid ? rest : undefined };
}

/** A sequence number in as few bytes as it takes, one for 0 (RFC 8613 §6.1). */
export function partialIvOf(sequenceNumber: number): Uint8Array {
  if (!Number.isSafeInteger(sequenceNumber) || sequenceNumber < 0 || sequenceNumber > MAX_SEQUENCE_NUMBER) {
    throw new RangeError('the sequence numbers of this context are used up; it needs a new one');
  }
  const bytes = Buffer.alloc(MAX_PARTIAL_IV_BYTES);
  bytes.writeUIntBE(sequenceNumber, 0, MAX_PARTIAL_IV_BYTES);
  const first = bytes.findIndex((byte) => byte !== 0);
  return bytes.subarray(first === -1 ? MAX_PARTIAL_IV_BYTES - 1 : first);
}

export function sequenceNumberOf(partialIv: Uint8Array): number {
  return Buffer.from(partialIv).readUIntBE(0, partialIv.length);
}

function malformed(): never {
  throw new OscoreError('malformed', 'the OSCORE option is malformed');
}
