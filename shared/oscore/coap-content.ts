import { OscoreError } from './oscore-error.ts';

/** An option of a CoAP message (RFC 7252 §3.1). */
export interface CoapOption {
  readonly number: number;
  readonly value: Uint8Array;
}

/** What a CoAP message says, without the message layer: no type, message id or token. */
export interface CoapContent {
  /** Class and detail in one byte (RFC 7252 §3): 0.02 is 2, 2.05 is 69. */
  readonly code: number;
  /** Of one number in the order they are sent. */
  readonly options: readonly CoapOption[];
  /** Empty for none. */
  readonly payload: Uint8Array;
}

const PAYLOAD_MARKER = 0xff;
const MAX_OPTION_NUMBER = 65_535;

/** Options and payload as they follow the token of a message (RFC 7252 §3.1). */
export function encodeContent({ options, payload }: Omit<CoapContent, 'code'>): Buffer {
  const parts: Uint8Array[] = [];
  let before = 0;
  for (const { number, value } of options.toSorted((a, b) => a.number - b.number)) {
    const delta = encodedNumber(number - before);
    const length = encodedNumber(value.length);
    parts.push(Uint8Array.of((delta.nibble << 4) | length.nibble), delta.more, length.more, value);
    before = number;
  }
  if (payload.length > 0) parts.push(Uint8Array.of(PAYLOAD_MARKER), payload);
  return Buffer.concat(parts);
}

/** @throws OscoreError `malformed` */
export function decodeContent(bytes: Uint8Array): Omit<CoapContent, 'code'> {
  const options: CoapOption[] = [];
  let number = 0;
  let at = 0;
  const take = (length: number) => {
    if (at + length > bytes.length) malformed('an option is cut off');
    at += length;
    return bytes.subarray(at - length, at);
  };
  const numberOf = (nibble: number) => {
    if (nibble < 13) return nibble;
    if (nibble === 15) malformed('an option has a reserved length or delta');
    const [high = 0, low] = take(nibble === 13 ? 1 : 2);
    return low === undefined ? high + 13 : high * 256 + low + 269;
  };
  while (at < bytes.length) {
    const [head = 0] = take(1);
    if (head === PAYLOAD_MARKER) {
      if (at === bytes.length) malformed('there is a payload marker and no payload');
      return { options, payload: bytes.subarray(at) };
    }
    number += numberOf(head >> 4);
    const length = numberOf(head & 0x0f);
    if (number > MAX_OPTION_NUMBER) malformed('an option has no such number');
    options.push({ number, value: take(length) });
  }
  return { options, payload: new Uint8Array() };
}

/** A delta or length: a nibble, and what does not fit there. */
function encodedNumber(value: number): { readonly nibble: number; readonly more: Uint8Array } {
  if (value < 13) return { nibble: value, more: new Uint8Array() };
  if (value < 269) return { nibble: 13, more: Uint8Array.of(value - 13) };
  return { nibble: 14, more: Uint8Array.of((value - 269) >> 8, (value - 269) & 0xff) };
}

function malformed(problem: string): never {
  throw new OscoreError('malformed', problem);
}
