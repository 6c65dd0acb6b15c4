import { randomBytes, randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import {
  type CoapContent,
  type CoapMessage,
  coapCode,
  decodeMessage,
  encodeMessage,
  FleetgateError,
} from '@fleetgate/shared';
import { whyAborted } from './exchange.ts';

export interface CoapEndpoint {
  /** A name or an address. */
  readonly host: string;
  readonly port: number;
  /** What messages name it by. */
  readonly name: string;
}

/** Transmission parameters (RFC 7252 §4.8). */
export interface CoapTiming {
  /** From a message to its first repetition, at least, in milliseconds. Default 2000. */
  readonly ackTimeoutMs: number;
  /** Up to so many times of that, by chance. Default 1.5. */
  readonly ackRandomFactor: number;
  /** Repetitions, each after twice the time. Default 4. */
  readonly maxRetransmit: number;
}

export interface ExchangeOptions {
  readonly signal: AbortSignal;
  readonly timing?: CoapTiming | undefined;
  /** Default: as the system does. */
  readonly resolve?: (host: string) => Promise<{ readonly address: string; readonly family: number }>;
}

const defaultTiming: CoapTiming = { ackTimeoutMs: 2000, ackRandomFactor: 1.5, maxRetransmit: 4 };

const TOKEN_BYTES = 8;
const nothing = new Uint8Array();

/**
 * One confirmable request and its response, on a socket of its own that takes datagrams of the endpoint's address alone.
 * The library of the issuer's side takes an answer from any address, and may wait for ever.
 * @throws FleetgateError `token_request_failed`
 */
export async function exchangeOverCoap(
  endpoint: CoapEndpoint,
  request: CoapContent,
  { signal, timing = defaultTiming, resolve = lookup }: ExchangeOptions,
): Promise<CoapContent> {
  let socket: Socket | undefined;
  try {
    signal.throwIfAborted();
    const { address, family } = await before(signal, resolve(endpoint.host));
    socket = createSocket(family === 6 ? 'udp6' : 'udp4');
    await connected(socket, endpoint.port, address);
    return await exchangeOn(socket, request, signal, timing);
  } catch (error) {
    const reason = signal.aborted ? whyAborted(signal) : whyFailed(error);
    throw new FleetgateError('token_request_failed', `${endpoint.name} cannot be asked: ${reason}`);
  } finally {
    socket?.close();
  }
}

/** The system takes its time to resolve a name, and cannot be told to stop. */
function before<Value>(signal: AbortSignal, work: Promise<Value>): Promise<Value> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

/** From here on the system passes on what comes from there, and says when nobody listens there. */
function connected(socket: Socket, port: number, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.connect(port, address, () => {
      socket.off('error', reject);
      resolve();
    });
  });
}

function exchangeOn(
  socket: Socket,
  request: CoapContent,
  signal: AbortSignal,
  { ackTimeoutMs, ackRandomFactor, maxRetransmit }: CoapTiming,
): Promise<CoapContent> {
  const messageId = randomInt(0x10000);
  const token = randomBytes(TOKEN_BYTES);
  const datagram = encodeMessage({ type: 'CON', messageId, token, ...request });
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    let left = maxRetransmit;
    const settle = (act: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      act();
    };
    const stop = () => settle(() => reject(signal.reason));
    const fail = (error: Error) => settle(() => reject(error));
    const transmit = (waitMs: number) => {
      socket.send(datagram, (error) => error && fail(error));
      timer = setTimeout(() => {
        if (left === 0) return fail(new Error('no answer'));
        left -= 1;
        transmit(waitMs * 2);
      }, waitMs);
    };
    signal.addEventListener('abort', stop, { once: true });
    socket.on('error', fail);
    socket.on('message', (bytes) => {
      const message = decode(bytes);
      if (message === undefined) return;
      const isOurs = message.messageId === messageId;
      if (message.type === 'RST' && isOurs) return fail(new Error('it does not know what was sent'));
      if (message.type === 'ACK' && message.code === coapCode.EMPTY && isOurs) {
        // The response comes by itself; who waits for it has a deadline.
        clearTimeout(timer);
        return;
      }
      if (message.code < 64 || Buffer.compare(message.token, token) !== 0) return;
      if (message.type === 'ACK' && !isOurs) return;
      if (message.type === 'CON') socket.send(acknowledgement(message));
      settle(() => resolve(message));
    });
    transmit(ackTimeoutMs * (1 + Math.random() * (ackRandomFactor - 1)));
  });
}

function decode(bytes: Uint8Array): CoapMessage | undefined {
  try {
    return decodeMessage(bytes);
  } catch {
    // Of whoever sends as that address.
    return undefined;
  }
}

const acknowledgement = ({ messageId }: CoapMessage) =>
  encodeMessage({
    type: 'ACK',
    code: coapCode.EMPTY,
    messageId,
    token: nothing,
    options: [],
    payload: nothing,
  });

function whyFailed(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown reason';
  const code = 'code' in error ? String(error.code) : '';
  return code === 'ECONNREFUSED' ? 'nobody listens there (ECONNREFUSED)' : error.message || code;
}
