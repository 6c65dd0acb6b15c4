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

/**
 * Options and payload as they follow the token of a message (RFC 7252 §3.1).
 * @param room bytes in front that the caller is to fill. Default 0
 */
export function encodeContent({ options, payload }: Omit<CoapContent, 'code'>, room = 0): Buffer {
  const ordered = inOrder(options);
  const bytes = Buffer.allocUnsafe(room + sizeOf(ordered, payload));
  let at = room;
  let before = 0;
  for (const { number, value } of ordered) {
    bytes[at] = (nibbleOf(number - before) << 4) | nibbleOf(value.length);
    at = writeRest(number - before, bytes, at + 1);
    at = writeRest(value.length, bytes, at);
    bytes.set(value, at);
    at += value.length;
    before = number;
  }
  if (payload.length > 0) {
    bytes[at] = PAYLOAD_MARKER;
    bytes.set(payload, at + 1);
  }
  return bytes;
}

/** @throws OscoreError `malformed` */
export function decodeContent(bytes: Uint8Array): Omit<CoapContent, 'code'> {
  const options: CoapOption[] = [];
  let number = 0;
  let at = 0;
  const takeByte = () => {
    at += 1;
    return bytes[at - 1] ?? cutOff();
  };
  const take = (length: number) => {
    if (at + length > bytes.length) cutOff();
    at += length;
    return bytes.subarray(at - length, at);
  };
  const numberOf = (nibble: number) => {
    if (nibble < 13) return nibble;
    if (nibble === 15) malformed('an option has a reserved length or delta');
    return nibble === 13 ? takeByte() + 13 : takeByte() * 256 + takeByte() + 269;
  };
  while (at < bytes.length) {
    const head = takeByte();
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

/** Those of a message are few, and mostly are. */
function inOrder(options: readonly CoapOption[]): readonly CoapOption[] {
  const isOrdered = options.every(
    ({ number }, index) => index === 0 || (options[index - 1] as CoapOption).number <= number,
  );
  return isOrdered ? options : options.toSorted((a, b) => a.number - b.number);
}

function sizeOf(ordered: readonly CoapOption[], payload: Uint8Array): number {
  let size = payload.length === 0 ? 0 : 1 + payload.length;
  let before = 0;
  for (const { number, value } of ordered) {
    size += 1 + restSize(number - before) + restSize(value.length) + value.length;
    before = number;
  }
  return size;
}

/** A delta or length: what is in its nibble, and then what does not fit there. */
const nibbleOf = (value: number) => (value < 13 ? value : value < 269 ? 13 : 14);
const restSize = (value: number) => (value < 13 ? 0 : value < 269 ? 1 : 2);

/** @returns where the next one goes */
function writeRest(value: number, bytes: Buffer, at: number): number {
  if (value < 13) return at;
  return value < 269 ? bytes.writeUInt8(value - 13, at) : bytes.writeUInt16BE(value - 269, at);
}

const cutOff = () => malformed('an option is cut off');

function malformed(problem: string): never {
  throw new OscoreError('malformed', problem);
}
