import type { RemoteInfo, Socket } from 'node:dgram';
import { EventEmitter } from 'node:events';
import {
  COAP_HEADER_BYTES,
  type CoapContent,
  type CoapMessage,
  coapCode,
  coapOption,
  coapTypes,
  decodeMessage,
  encodeContent,
  encodeMessage,
  OSCORE_OPTION,
  uintOption,
  writeHeader,
} from '@fleetgate/shared';
import { answerRoom } from './answer-room.ts';
import { type Exchanges, rememberExchanges } from './exchanges.ts';

/** No request for a token is longer, and none that fits goes through the Internet in pieces (RFC 7252 §4.6). */
const MAX_DATAGRAM_BYTES = 1280;

/** Requests that are served at once; more get no answer, and come again. */
const MAX_UNDER_WAY = 1_000;

/** Options outside that mean nothing to us and may stand there (RFC 8613 §4.1.3). */
const passedOver: ReadonlySet<number> = new Set([coapOption.URI_HOST, coapOption.URI_PORT, OSCORE_OPTION]);

/** The part of a UDP socket that the server of `coap` uses. */
export interface GuardedSocket extends EventEmitter {
  send(
    message: Uint8Array,
    offset: number,
    length: number,
    port: number,
    address: string,
    done?: (error: Error | null) => void,
  ): void;
}

export interface DatagramGuardOptions {
  readonly monotonicMs?: () => number;
  /** Told of each datagram that is not handed on, by a few fixed words. */
  readonly onRefused?: (reason: string) => void;
}

/**
 * Stands between a UDP socket and the server of `coap`: hands on only protected requests, each once, and nothing of them
 * but what is protected. All else is answered here, with fewer bytes than came, or not at all. The server as it is
 * dies of source port 0, allocates a gigabyte for one Block1, runs a request twice that comes twice, takes a ping for a
 * request and tells its faults to strangers.
 */
export function guardDatagrams(
  socket: Socket,
  { monotonicMs = () => performance.now(), onRefused = () => {} }: DatagramGuardOptions = {},
): GuardedSocket {
  const exchanges = rememberExchanges(monotonicMs);
  const roomFor = answerRoom();
  const guarded = new EventEmitter() as GuardedSocket;
  /** By the message id that the server knows it by: one of its own for each, whatever clients choose. */
  const underWay = new Map<number, { readonly request: CoapMessage; readonly key: string }>();
  let lastId = 0;

  function newId(): number {
    do lastId = (lastId + 1) & 0xffff;
    while (underWay.has(lastId));
    return lastId;
  }

  /** The server, told of an answer that was not sent, would throw where nobody catches. */
  function onSent(error: Error | null): void {
    if (error !== null) guarded.emit('error', error);
  }

  guarded.send = (message, offset, length, port, address, done) => {
    const sent = message.subarray(offset, offset + length);
    const id = (sent[2] as number) * 256 + (sent[3] as number);
    const known = underWay.get(id);
    underWay.delete(id);
    // It is answered once.
    if (known !== undefined) {
      if (((sent[0] as number) >> 4) % 4 === coapTypes.indexOf('RST')) {
        // What the server has no answer for it resets; to who may have made up an address that is silence.
        exchanges.forget(known.key);
      } else {
        const answer = asAnswerTo(known.request, sent, roomFor);
        exchanges.answered(known.key, answer);
        socket.send(answer, port, address, onSent);
      }
    }
    done?.(null);
  };

  socket.on('message', (datagram, from) => {
    const screened = screen(datagram, from, { exchanges, isFull: underWay.size >= MAX_UNDER_WAY });
    if ('request' in screened) {
      const { request, key } = screened;
      const id = newId();
      underWay.set(id, { request, key });
      guarded.emit('message', encodeMessage(forServer(request, id)), from);
      return;
    }
    onRefused(screened.refused);
    // Never more than came, but to who has proven to be there: an address can be made up, and another would get it.
    if (screened.answer !== undefined && (screened.isRepeated || screened.answer.length <= datagram.length)) {
      socket.send(screened.answer, from.port, from.address);
    }
  });
  socket.on('error', (error) => guarded.emit('error', error));
  return guarded;
}

type Screened =
  | { readonly request: CoapMessage; readonly key: string }
  | {
      readonly refused: string;
      readonly answer?: Uint8Array | undefined;
      /** It is what this very datagram was answered with before. */
      readonly isRepeated?: true;
    };

function screen(
  datagram: Uint8Array,
  from: RemoteInfo,
  { exchanges, isFull }: { readonly exchanges: Exchanges; readonly isFull: boolean },
): Screened {
  if (from.port === 0) return { refused: 'source_port_0' };
  if (datagram.length > MAX_DATAGRAM_BYTES) return { refused: 'too_long' };
  const message = decode(datagram);
  if (message === undefined) return { refused: 'malformed' };
  const { type, code, messageId, options } = message;
  // An ACK or a reset is for what was sent, and all that is sent here is an answer.
  if (type === 'ACK' || type === 'RST') return { refused: 'no_request' };
  if (code === coapCode.EMPTY)
    return { refused: 'ping', answer: type === 'CON' ? resetOf(messageId) : undefined };
  // 0.01 to 0.31 are requests (RFC 7252 §12.1).
  if (code > 31) return { refused: 'no_request', answer: type === 'CON' ? resetOf(messageId) : undefined };
  const unknown = options.find(({ number }) => number % 2 === 1 && !passedOver.has(number));
  const isProtected = options.some(({ number }) => number === OSCORE_OPTION);
  // Whoever protects puts all else inside; without that the hint is the same whatever was meant.
  if (!isProtected) return { refused: 'unprotected', answer: answerTo(message, coapCode.UNAUTHORIZED) };
  if (unknown !== undefined) return { refused: 'option', answer: answerTo(message, coapCode.BAD_OPTION) };
  if (code !== coapCode.POST)
    return { refused: 'method', answer: answerTo(message, coapCode.METHOD_NOT_ALLOWED) };
  if (isFull) return { refused: 'overloaded' };
  const key = keyOf(datagram, messageId, from);
  const before = exchanges.begin(key);
  if (before === 'under_way') return { refused: 'repeated' };
  if (before !== 'new') return { refused: 'repeated', answer: before, isRepeated: true };
  return { request: message, key };
}

/** The server keeps timers for what it is to confirm, and texts of a token: it knows a request by its id alone. */
function forServer({ code, options, payload }: CoapMessage, messageId: number): CoapMessage {
  const protecting = options.filter(({ number }) => number === OSCORE_OPTION);
  return { type: 'NON', code, messageId, token: nothing, options: protecting, payload };
}

/** An answer as the server is to send it: of options it makes texts, so they are in what it takes for the payload. */
export const asPayload = (answer: CoapContent): Buffer => encodeContent(answer);

/** What the server has sent, header, marker and payload, as the answer to what came: in the ACK, where one is due. */
function asAnswerTo(
  { type, messageId, token }: CoapMessage,
  sent: Uint8Array,
  roomFor: (bytes: number) => Buffer,
): Buffer {
  const content = sent.subarray(COAP_HEADER_BYTES + 1);
  const answer = roomFor(COAP_HEADER_BYTES + token.length + content.length);
  const code = sent[1] as number;
  const at = writeHeader({ type: type === 'CON' ? 'ACK' : 'NON', code, messageId, token }, answer);
  answer.set(content, at);
  return answer;
}

function decode(datagram: Uint8Array): CoapMessage | undefined {
  try {
    return decodeMessage(datagram);
  } catch {
    return undefined;
  }
}

/** With the tag at its end, which nobody guesses: who knows the message id alone disturbs no exchange of another. */
function keyOf(datagram: Uint8Array, messageId: number, { address, port }: RemoteInfo): string {
  const tag = Buffer.from(datagram.subarray(-8)).toString('hex');
  return `${messageId} ${tag} ${port} ${address}`;
}

const nothing = new Uint8Array();

function resetOf(messageId: number): Buffer {
  return encodeMessage({
    type: 'RST',
    code: coapCode.EMPTY,
    messageId,
    token: nothing,
    options: [],
    payload: nothing,
  });
}

/** A constant answer without a payload; kept by nobody (Max-Age 0), where there is room to say so. */
function answerTo({ type, messageId, token, options, payload }: CoapMessage, code: number): Buffer {
  const hasRoom = options.length > 0 || payload.length > 0;
  return encodeMessage({
    type: type === 'CON' ? 'ACK' : 'NON',
    code,
    messageId,
    token,
    options: hasRoom ? [uintOption(coapOption.MAX_AGE, 0)] : [],
    payload: nothing,
  });
}
