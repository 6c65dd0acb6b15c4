import { MAX_TOKEN_LENGTH, putBounded, TokenError } from '@fleetgate/shared';
import { type JsonObject, parseJsonObject } from './json-object.ts';

/** A token taken apart, nothing in it believed yet. */
export interface TokenForm {
  /** The token as text: three canonical base64url parts. */
  readonly text: string;
  readonly header: JsonObject;
  readonly claims: JsonObject;
}

const compactPattern = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The bytes of a token that are worth looking at.
 * @throws TokenError `token_missing` or `token_too_long`
 */
export function requireToken(token: Uint8Array | undefined): Uint8Array {
  if (token === undefined || token.length === 0) throw new TokenError('token_missing', 'there is no token');
  if (token.length > MAX_TOKEN_LENGTH) {
    throw new TokenError('token_too_long', `the token is longer than ${MAX_TOKEN_LENGTH} bytes`);
  }
  return token;
}

/**
 * Takes a JWS in compact serialization (RFC 7515 §7.1) apart. Strict where libraries are lenient: nothing around
 * the three parts, each of them the one canonical base64url spelling of its bytes (RFC 4648 §3.5), header and
 * payload JSON objects in valid UTF-8 with each name once (RFC 7515 §4).
 * @throws TokenError `token_malformed`
 */
export function parseTokenForm(token: Uint8Array): TokenForm {
  // latin1 maps each byte to one character, so a byte outside ASCII cannot pass for one inside.
  const text = Buffer.from(token.buffer, token.byteOffset, token.byteLength).toString('latin1');
  if (!compactPattern.test(text)) malformed('the token is not a compact JWS');
  const [header = '', payload = '', signature = ''] = text.split('.');
  decodeCanonical(signature);
  return { text, header: decodeHeader(header), claims: decodeObject(payload) };
}

/** Headers kept ready: one for each key that signs. Ours: more than the keys of a few issuers. */
const MAX_READY_HEADERS = 64;

const readyHeaders = new Map<string, JsonObject>();

function decodeHeader(part: string): JsonObject {
  const known = readyHeaders.get(part);
  if (known !== undefined) return known;
  const header = decodeObject(part);
  putBounded(readyHeaders, part, header, MAX_READY_HEADERS);
  return header;
}

function decodeObject(part: string): JsonObject {
  let json: string;
  try {
    json = utf8.decode(decodeCanonical(part));
  } catch (error) {
    if (error instanceof TokenError) throw error;
    return malformed('a part of the token is not UTF-8');
  }
  return parseJsonObject(json) ?? malformed('a part of the token is not a JSON object with each name once');
}

// A changed unused bit in the last character decodes to the same bytes: one token, several texts.
function decodeCanonical(part: string): Buffer {
  const bytes = Buffer.from(part, 'base64url');
  return bytes.toString('base64url') === part ? bytes : malformed('a part is not canonical base64url');
}

function malformed(message: string): never {
  throw new TokenError('token_malformed', message);
}
