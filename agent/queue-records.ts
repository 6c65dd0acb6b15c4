import { crc32 } from 'node:zlib';
import type { OutgoingMessage, QoS } from './connection.ts';

// A record: length of the body and CRC-32 of it, 4 bytes each, then the body; its first byte is the kind.
const FRAME_BYTES = 8;
const KIND_OWNER = 0;
const KIND_MESSAGE = 1;
const KIND_DONE = 2;

/** What an earlier process left in a file. */
export interface Left {
  readonly messages: Map<number, OutgoingMessage>;
  /** The highest id that was given out. */
  readonly lastId: number;
  /** Up to which the file is whole. */
  readonly length: number;
  readonly isDamaged: boolean;
}

/** The first record: whose queue it is. */
export function ownerRecord(clientId: string): Buffer {
  return frame(Buffer.concat([Buffer.from([KIND_OWNER]), Buffer.from(clientId)]));
}

/** Reads records from a place on, up to the first that is not whole. */
export function readRecords(bytes: Buffer, from: number): Left {
  const messages = new Map<number, OutgoingMessage>();
  let offset = from;
  let lastId = 0;
  for (;;) {
    const body = bodyAt(bytes, offset);
    if (body === undefined || !apply(body, messages)) break;
    lastId = Math.max(lastId, body.readUIntBE(1, 6));
    offset += FRAME_BYTES + body.length;
  }
  return { messages, lastId, length: offset, isDamaged: offset < bytes.length };
}

function bodyAt(bytes: Buffer, offset: number): Buffer | undefined {
  if (offset + FRAME_BYTES > bytes.length) return undefined;
  const end = offset + FRAME_BYTES + bytes.readUInt32BE(offset);
  if (end > bytes.length) return undefined;
  const body = bytes.subarray(offset + FRAME_BYTES, end);
  return crc32(body) === bytes.readUInt32BE(offset + 4) ? body : undefined;
}

/** Whether it was a record that is known. */
function apply(body: Buffer, messages: Map<number, OutgoingMessage>): boolean {
  const [kind] = body;
  if (kind === KIND_DONE && body.length === 7) {
    messages.delete(body.readUIntBE(1, 6));
    return true;
  }
  if (kind !== KIND_MESSAGE || body.length < 10) return false;
  const flags = body.readUInt8(7);
  const topicEnd = 10 + body.readUInt16BE(8);
  if (topicEnd > body.length) return false;
  messages.set(body.readUIntBE(1, 6), {
    topic: body.toString('utf8', 10, topicEnd),
    // A copy, or one message would hold the whole file in memory.
    payload: Buffer.from(body.subarray(topicEnd)),
    qos: (flags & 3) as QoS,
    retain: (flags & 4) !== 0,
  });
  return true;
}

/** A message that waits, by its id. */
export function messageRecord(id: number, { topic, payload, qos, retain }: OutgoingMessage): Buffer {
  const name = Buffer.from(topic);
  const head = Buffer.alloc(10);
  head.writeUInt8(KIND_MESSAGE, 0);
  head.writeUIntBE(id, 1, 6);
  head.writeUInt8(qos | (retain ? 4 : 0), 7);
  head.writeUInt16BE(name.length, 8);
  return frame(Buffer.concat([head, name, payload]));
}

/** Bytes of the record of a message. */
export function recordBytes({ topic, payload }: OutgoingMessage): number {
  return FRAME_BYTES + 10 + Buffer.byteLength(topic) + payload.byteLength;
}

/** That the message of an id waits no more. */
export function doneRecord(id: number): Buffer {
  const body = Buffer.alloc(7);
  body.writeUInt8(KIND_DONE, 0);
  body.writeUIntBE(id, 1, 6);
  return frame(body);
}

function frame(body: Buffer): Buffer {
  const head = Buffer.alloc(FRAME_BYTES);
  head.writeUInt32BE(body.length, 0);
  head.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([head, body]);
}
