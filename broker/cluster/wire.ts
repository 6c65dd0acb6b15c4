/** A message as it is queued, retained and sent to all brokers: flags, length of the topic, topic, payload. */
export interface Message {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
}

const HEAD_BYTES = 3;
const RETAIN = 0b100;

export function encodeMessage(topic: string, payload: Uint8Array, qos: number, retain: boolean): Buffer {
  const topicBytes = Buffer.byteLength(topic);
  const body = Buffer.allocUnsafe(HEAD_BYTES + topicBytes + payload.length);
  body[0] = qos | (retain ? RETAIN : 0);
  body.writeUInt16BE(topicBytes, 1);
  body.write(topic, HEAD_BYTES);
  body.set(payload, HEAD_BYTES + topicBytes);
  return body;
}

export function decodeMessage(body: Buffer): Message {
  const flags = body[0] ?? 0;
  const end = HEAD_BYTES + body.readUInt16BE(1);
  return {
    topic: body.toString('utf8', HEAD_BYTES, end),
    payload: body.subarray(end),
    qos: (flags & 0b11) as 0 | 1 | 2,
    retain: (flags & RETAIN) !== 0,
  };
}

/** What goes over the bus: its number, and what it is. */
export type BusMessage = { readonly seq: number } & (
  | { readonly kind: 'message'; readonly body: Buffer }
  | { readonly kind: 'filters'; readonly id: string; readonly filters: readonly [string, number][] }
  | { readonly kind: 'kept'; readonly id: string; readonly token: string }
  | { readonly kind: 'forgotten'; readonly id: string }
  | { readonly kind: 'taken'; readonly id: string; readonly owner: string }
  | { readonly kind: 'cut'; readonly id: string; readonly owner: string; readonly reason: string }
);

const SPACE = 0x20;

/** @throws SyntaxError, when it is none of ours */
export function decodeBus(data: Buffer): BusMessage {
  const space = data.indexOf(SPACE);
  const seq = Number(data.toString('latin1', 0, space));
  if (space < 1 || !Number.isSafeInteger(seq)) throw new SyntaxError('no message of the bus');
  const kind = String.fromCharCode(data[space + 1] ?? 0);
  const body = data.subarray(space + 2);
  if (kind === 'm') return { seq, kind: 'message', body };
  const [id, second, third] = JSON.parse(body.toString()) as [string, never, never];
  switch (kind) {
    case 's':
      // An empty table is an object in Lua's JSON; there is always one filter.
      return { seq, kind: 'filters', id, filters: second };
    case 'k':
      return { seq, kind: 'kept', id, token: second };
    case 'f':
      return { seq, kind: 'forgotten', id };
    case 't':
      return { seq, kind: 'taken', id, owner: second };
    case 'c':
      return { seq, kind: 'cut', id, owner: second, reason: third };
    default:
      throw new SyntaxError('no message of the bus');
  }
}
