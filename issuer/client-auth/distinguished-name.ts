import { isDeepStrictEqual } from 'node:util';
import { type DerElement, derElements } from './der.ts';

/** Type and value of one attribute, in one spelling: equal for equal attributes. */
export type NameAttribute = string;

/** Relative distinguished names, the most specific first, each of one or more attributes in any order. */
export type DistinguishedName = readonly (readonly NameAttribute[])[];

/**
 * Whether two names are the same: the same attributes in the same order, types by object identifier, values by their
 * characters. Case counts: client ids that differ in case are two clients, so names are two names.
 */
export function isSameName(a: DistinguishedName, b: DistinguishedName): boolean {
  const sorted = (name: DistinguishedName) => name.map((relative) => relative.toSorted());
  return a.length > 0 && isDeepStrictEqual(sorted(a), sorted(b));
}

/** An attribute as a certificate has it. Which type of string holds a value does not matter. */
export function nameAttribute(oid: string, value: DerElement): NameAttribute {
  const text = textOf(value);
  return text === undefined
    ? `${oid}=#${value.tag.toString(16)}:${value.content.toString('hex')}`
    : `${oid}=${text}`;
}

/**
 * A distinguished name in the string form of RFC 4514. Spaces around separators are passed over, as in what many tools
 * print. `undefined` for what is none.
 */
export function parseDistinguishedName(text: string): DistinguishedName | undefined {
  const tokens = tokensOf(text);
  if (tokens === undefined) return undefined;
  const name = splitAt(tokens, ',').map((relative) => splitAt(relative, '+').map(attributeOf));
  const isComplete = name.every((relative) => relative.every((attribute) => attribute !== undefined));
  return isComplete ? (name as NameAttribute[][]) : undefined;
}

/** A character as it stands, or bytes that were escaped, which separate nothing. */
type Token = { readonly plain: string } | { readonly bytes: Buffer };

/** RFC 4514 §3: `special` and `escaped`, or a byte in hex. */
const tokenPattern = /\\(?:([0-9A-Fa-f]{2})|([ "#+,;<=>\\]))|([^\\"<>;\0])/gsuy;

function tokensOf(text: string): readonly Token[] | undefined {
  const tokens: Token[] = [];
  let length = 0;
  for (const [whole, hex, escaped, plain] of text.matchAll(tokenPattern)) {
    length += whole.length;
    if (plain !== undefined) tokens.push({ plain });
    else tokens.push({ bytes: hex === undefined ? Buffer.from(escaped ?? '') : Buffer.from(hex, 'hex') });
  }
  return length === text.length && length > 0 ? tokens : undefined;
}

function splitAt(tokens: readonly Token[], separator: string): Token[][] {
  const parts: Token[][] = [[]];
  for (const token of tokens) {
    if ('plain' in token && token.plain === separator) parts.push([]);
    else parts.at(-1)?.push(token);
  }
  return parts;
}

function attributeOf(tokens: readonly Token[]): NameAttribute | undefined {
  const equals = tokens.findIndex((token) => 'plain' in token && token.plain === '=');
  const type = tokens.slice(0, Math.max(equals, 0)).map((token) => ('plain' in token ? token.plain : '\\'));
  const oid = oidOfType(type.join('').trim());
  const value = decodedValue(trim(tokens.slice(equals + 1)));
  return equals === -1 || oid === undefined || value === undefined ? undefined : `${oid}=${value}`;
}

const isSpace = (token: Token | undefined) => token !== undefined && 'plain' in token && token.plain === ' ';

function trim(tokens: readonly Token[]): readonly Token[] {
  let start = 0;
  let end = tokens.length;
  while (start < end && isSpace(tokens[start])) start += 1;
  while (end > start && isSpace(tokens[end - 1])) end -= 1;
  return tokens.slice(start, end);
}

function decodedValue(tokens: readonly Token[]): string | undefined {
  const [first] = tokens;
  if (first !== undefined && 'plain' in first && first.plain === '#') return encodedValueOf(tokens);
  const bytes = tokens.map((token) => ('plain' in token ? Buffer.from(token.plain) : token.bytes));
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(bytes));
  } catch {
    return undefined;
  }
}

/** RFC 4514 §2.4: `#` and the value in DER, in hex. */
function encodedValueOf(tokens: readonly Token[]): string | undefined {
  const hex = tokens
    .slice(1)
    .map((token) => ('plain' in token ? token.plain : '\\'))
    .join('');
  if (!/^([0-9A-Fa-f]{2})+$/.test(hex)) return undefined;
  try {
    const [value, ...more] = derElements(Buffer.from(hex, 'hex'));
    return value === undefined || more.length > 0 ? undefined : nameAttribute('', value).slice(1);
  } catch {
    return undefined;
  }
}

/** Types by their short names: those of RFC 4514 §3, and what certificates have besides (RFC 5280 §4.1.2.4). */
const types: ReadonlyMap<string, string> = new Map([
  ['CN', '2.5.4.3'],
  ['SN', '2.5.4.4'],
  ['SERIALNUMBER', '2.5.4.5'],
  ['C', '2.5.4.6'],
  ['L', '2.5.4.7'],
  ['ST', '2.5.4.8'],
  ['S', '2.5.4.8'],
  ['STREET', '2.5.4.9'],
  ['O', '2.5.4.10'],
  ['OU', '2.5.4.11'],
  ['TITLE', '2.5.4.12'],
  ['T', '2.5.4.12'],
  ['GN', '2.5.4.42'],
  ['GIVENNAME', '2.5.4.42'],
  ['INITIALS', '2.5.4.43'],
  ['GENERATIONQUALIFIER', '2.5.4.44'],
  ['DNQUALIFIER', '2.5.4.46'],
  ['DNQ', '2.5.4.46'],
  ['PSEUDONYM', '2.5.4.65'],
  ['DC', '0.9.2342.19200300.100.1.25'],
  ['UID', '0.9.2342.19200300.100.1.1'],
  ['E', '1.2.840.113549.1.9.1'],
  ['EMAILADDRESS', '1.2.840.113549.1.9.1'],
]);

function oidOfType(type: string): string | undefined {
  const dotted = type.replace(/^oid\./i, '');
  return /^[012](\.(0|[1-9]\d*))+$/.test(dotted) ? dotted : types.get(type.toUpperCase());
}

/** X.680 §41, as far as RFC 5280 has it for names. */
function textOf({ tag, content }: DerElement): string | undefined {
  switch (tag) {
    case 0x0c: // UTF8String
      return decode(content, 'utf-8');
    case 0x13: // PrintableString
    case 0x16: // IA5String
    case 0x14: // TeletexString, which is Latin-1 in practice
      return content.toString('latin1');
    case 0x1e: // BMPString
      return decode(content, 'utf-16be');
    default:
      return undefined;
  }
}

// Bytes that are no text of their type are a value like no text.
function decode(content: Buffer, encoding: string): string | undefined {
  try {
    return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    return undefined;
  }
}
