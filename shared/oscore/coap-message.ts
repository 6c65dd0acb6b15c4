import { type CoapContent, decodeContent, encodeContent } from './coap-content.ts';
import { OscoreError } from './oscore-error.ts';

/** How a message is delivered (RFC 7252 §4). */
export const coapTypes = ['CON', 'NON', 'ACK', 'RST'] as const;
export type CoapType = (typeof coapTypes)[number];

/** One datagram (RFC 7252 §3). */
export interface CoapMessage extends CoapContent {
  readonly type: CoapType;
  /** 16 bits; ties an ACK or RST to what it is for. */
  readonly messageId: number;
  /** Up to 8 bytes; ties a response to its request. */
  readonly token: Uint8Array;
}

/** Codes of RFC 7252 §12.1, and 4.29 of RFC 8516. */
export const coapCode = {
  EMPTY: 0,
  POST: 2,
  CREATED: 0x41,
  CONTENT: 0x45,
  BAD_REQUEST: 0x80,
  UNAUTHORIZED: 0x81,
  BAD_OPTION: 0x82,
  FORBIDDEN: 0x83,
  NOT_FOUND: 0x84,
  METHOD_NOT_ALLOWED: 0x85,
  UNSUPPORTED_CONTENT_FORMAT: 0x8f,
  TOO_MANY_REQUESTS: 0x9d,
  SERVICE_UNAVAILABLE: 0xa3,
} as const;

/** Numbers of the options that are meant here (RFC 7252 §12.2, RFC 9175 §2.2.1). */
export const coapOption = {
  URI_HOST: 3,
  URI_PORT: 7,
  URI_PATH: 11,
  CONTENT_FORMAT: 12,
  MAX_AGE: 14,
  ECHO: 252,
} as const;

const VERSION = 1;
/** Of each message, before its token. */
export const COAP_HEADER_BYTES = 4;
const MAX_TOKEN_BYTES = 8;

export function encodeMessage(message: CoapMessage): Buffer {
  const bytes = encodeContent(message, COAP_HEADER_BYTES + message.token.length);
  writeHeader(message, bytes);
  return bytes;
}

/**
 * Writes what stands before the options into the beginning of a datagram.
 * @returns where the options go
 */
export function writeHeader(
  { type, code, messageId, token }: Omit<CoapMessage, 'options' | 'payload'>,
  bytes: Buffer,
): number {
  bytes[0] = (VERSION << 6) | (coapTypes.indexOf(type) << 4) | token.length;
  bytes[1] = code;
  bytes.writeUInt16BE(messageId, 2);
  bytes.set(token, COAP_HEADER_BYTES);
  return COAP_HEADER_BYTES + token.length;
}

/**
 * The message that a datagram is; its parts are views of it.
 * @throws OscoreError `malformed`
 */
export function decodeMessage(datagram: Uint8Array): CoapMessage {
  const first = datagram[0] ?? 0;
  const code = datagram[1] ?? 0;
  const tokenLength = first & 0x0f;
  if (
    datagram.length < COAP_HEADER_BYTES + tokenLength ||
    first >> 6 !== VERSION ||
    tokenLength > MAX_TOKEN_BYTES
  ) {
    throw new OscoreError('malformed', 'the datagram has no CoAP header');
  }
  const content = decodeContent(datagram.subarray(COAP_HEADER_BYTES + tokenLength));
  const isEmpty = tokenLength === 0 && datagram.length === COAP_HEADER_BYTES;
  // RFC 7252 §4.1: an empty message is its header alone.
  if (code === coapCode.EMPTY && !isEmpty)
    throw new OscoreError('malformed', 'an empty message is not empty');
  return {
    type: coapTypes[(first >> 4) & 0b11] as CoapType,
    code,
    messageId: (datagram[2] as number) * 256 + (datagram[3] as number),
    token: datagram.subarray(COAP_HEADER_BYTES, COAP_HEADER_BYTES + tokenLength),
    ...content,
  };
}

/** A number as the value of an option (RFC 7252 §3.2): in as few bytes as it takes, none for 0. */
export function uintOption(
  number: number,
  value: number,
): { readonly number: number; readonly value: Buffer } {
  const length = value === 0 ? 0 : value <= 0xff ? 1 : value <= 0xffff ? 2 : value <= 0xffffff ? 3 : 4;
  const bytes = Buffer.allocUnsafe(length);
  if (length > 0) bytes.writeUIntBE(value, 0, length);
  return { number, value: bytes };
}

/** @returns unset for an option that is not there, or longer than such a number */
export function uintValue({ options }: Pick<CoapContent, 'options'>, wanted: number): number | undefined {
  const option = options.find(({ number }) => number === wanted);
  if (option === undefined || option.value.length > 4) return undefined;
  return option.value.reduce((value, byte) => value * 256 + byte, 0);
}

/** The segments of Uri-Path, with a slash between them. */
export function uriPathOf({ options }: Pick<CoapContent, 'options'>): string {
  return options
    .filter(({ number }) => number === coapOption.URI_PATH)
    .map(({ value }) => Buffer.from(value).toString('utf8'))
    .join('/');
}
