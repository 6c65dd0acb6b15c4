/**
 * CBOR (RFC 8949) as the messages of a token request need it. Ours rather than a library's, since this package has no
 * dependencies: items of definite length alone, whole numbers, texts and bytes, null and booleans, arrays and maps.
 */

/** Keys of a map are numbers and texts. */
export type CborItem = number | string | Uint8Array | boolean | null | readonly CborItem[] | CborMap;
export type CborMap = ReadonlyMap<number | string, CborItem>;

/** It holds nothing of what could not be read. */
export class CborError extends Error {
  override readonly name = 'CborError';
}

/** Arrays and maps within each other. */
const MAX_DEPTH = 8;

const UNSIGNED = 0;
const NEGATIVE = 1;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const MAP = 5;
const SIMPLE = 7;

const simpleValues: ReadonlyMap<number, boolean | null> = new Map([
  [20, false],
  [21, true],
  [22, null],
]);

/** The shortest form of each (RFC 8949 §4.2.1); maps keep the order of their entries. */
export function encodeCbor(item: CborItem): Buffer {
  // Measured first, for a buffer of each part would take several times as long as all else.
  const bytes = Buffer.allocUnsafe(sizeOf(item));
  writeItem(item, bytes, 0);
  return bytes;
}

function sizeOf(item: CborItem): number {
  if (typeof item === 'number') {
    if (!Number.isSafeInteger(item)) throw new RangeError('not a whole number that is exact');
    return headSize(item < 0 ? -1 - item : item);
  }
  if (item === null || typeof item === 'boolean') return 1;
  if (item instanceof Uint8Array) return headSize(item.length) + item.length;
  if (typeof item === 'string') {
    const length = Buffer.byteLength(item);
    return headSize(length) + length;
  }
  let size = headSize(isMap(item) ? item.size : item.length);
  if (isMap(item)) for (const [key, value] of item) size += sizeOf(key) + sizeOf(value);
  else for (const one of item) size += sizeOf(one);
  return size;
}

/** @returns where the next one goes */
function writeItem(item: CborItem, bytes: Buffer, at: number): number {
  if (typeof item === 'number') {
    return item < 0 ? writeHead(NEGATIVE, -1 - item, bytes, at) : writeHead(UNSIGNED, item, bytes, at);
  }
  if (item === null) return bytes.writeUInt8(0xf6, at);
  if (typeof item === 'boolean') return bytes.writeUInt8(item ? 0xf5 : 0xf4, at);
  if (item instanceof Uint8Array) {
    const start = writeHead(BYTES, item.length, bytes, at);
    bytes.set(item, start);
    return start + item.length;
  }
  if (typeof item === 'string') {
    const start = writeHead(TEXT, Buffer.byteLength(item), bytes, at);
    return start + bytes.write(item, start);
  }
  let next = isMap(item) ? writeHead(MAP, item.size, bytes, at) : writeHead(ARRAY, item.length, bytes, at);
  if (isMap(item))
    for (const [key, value] of item) next = writeItem(value, bytes, writeItem(key, bytes, next));
  else for (const one of item) next = writeItem(one, bytes, next);
  return next;
}

/**
 * The one item that the bytes are, to the last of them. Bytes in it are a view of these.
 * @throws CborError for indefinite lengths, tags, floats, keys that come twice or are neither numbers nor texts, text
 *   that is not UTF-8, numbers beyond 2^53, and what is cut off, too deep or followed by more
 */
export function decodeCbor(bytes: Uint8Array): CborItem {
  const reader = { bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), at: 0 };
  const item = readItem(reader, 0);
  if (reader.at !== bytes.length) fail('there are bytes behind the item');
  return item;
}

interface Reader {
  readonly bytes: Buffer;
  at: number;
}

function readItem(reader: Reader, depth: number): CborItem {
  if (depth > MAX_DEPTH) fail('it is too deep');
  const first = takeByte(reader);
  const type = first >> 5;
  if (type === SIMPLE) return simpleValueOf(first & 0x1f);
  const argument = readArgument(reader, first & 0x1f);
  switch (type) {
    case UNSIGNED:
      return argument;
    case NEGATIVE:
      return exact(-1 - argument);
    case BYTES:
      return take(reader, argument);
    case TEXT:
      return textOf(take(reader, argument));
    case ARRAY:
      return readArray(reader, argument, depth);
    case MAP:
      return readMap(reader, argument, depth);
    default:
      return fail('there is a tag');
  }
}

function readArray(reader: Reader, length: number, depth: number): readonly CborItem[] {
  const items: CborItem[] = [];
  // Each item takes a byte, so what is announced and not there ends this.
  while (items.length < length) items.push(readItem(reader, depth + 1));
  return items;
}

function readMap(reader: Reader, size: number, depth: number): CborMap {
  const map = new Map<number | string, CborItem>();
  while (map.size < size) {
    const key = readItem(reader, depth + 1);
    if (typeof key !== 'number' && typeof key !== 'string') return fail('a key is no number or text');
    if (map.has(key)) fail('a key comes twice');
    map.set(key, readItem(reader, depth + 1));
  }
  return map;
}

function readArgument(reader: Reader, info: number): number {
  if (info < 24) return info;
  if (info > 27) fail('a length is indefinite or reserved');
  const bytes = take(reader, 1 << (info - 24));
  if (bytes.length < 8) return bytes.readUIntBE(0, bytes.length);
  return exact(bytes.readUInt32BE(0) * 2 ** 32 + bytes.readUInt32BE(4));
}

function takeByte(reader: Reader): number {
  const byte = reader.bytes[reader.at];
  reader.at += 1;
  return byte ?? fail('it is cut off');
}

function take(reader: Reader, length: number): Buffer {
  const end = reader.at + length;
  if (end > reader.bytes.length) fail('it is cut off');
  const taken = reader.bytes.subarray(reader.at, end);
  reader.at = end;
  return taken;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return fail('a text is not UTF-8');
  }
}

function exact(value: number): number {
  return Number.isSafeInteger(value) ? value : fail('a number is beyond 2^53');
}

function simpleValueOf(info: number): boolean | null {
  const value = simpleValues.get(info);
  return value === undefined ? fail('there is a float, a break or an unknown value') : value;
}

const isMap = (item: readonly CborItem[] | CborMap): item is CborMap => item instanceof Map;

/** With the argument behind the first byte, where it does not fit in there. */
function headSize(argument: number): 1 | 2 | 3 | 5 | 9 {
  if (argument < 24) return 1;
  if (argument <= 0xff) return 2;
  if (argument <= 0xffff) return 3;
  return argument <= 0xffffffff ? 5 : 9;
}

function writeHead(type: number, argument: number, bytes: Buffer, at: number): number {
  const size = headSize(argument);
  const info = size === 1 ? argument : 24 + Math.log2(size - 1);
  bytes[at] = (type << 5) | info;
  if (size === 9) return bytes.writeBigUInt64BE(BigInt(argument), at + 1);
  return size === 1 ? at + 1 : bytes.writeUIntBE(argument, at + 1, size - 1);
}

function fail(problem: string): never {
  throw new CborError(problem);
}
