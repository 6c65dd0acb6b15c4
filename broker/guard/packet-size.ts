import type { Duplex } from 'node:stream';
import type { Connection } from '../session.ts';
import type { Guard, GuardContext } from './guard.ts';

/** High nibble of the first byte of a CONNECT (MQTT 3.1.1 §2.2.1). */
const CONNECT = 1;

/** Bytes the remaining length may take (§2.2.3). */
const MAX_LENGTH_BYTES = 4;

/**
 * A packet over the limit ends the connection when its length is announced, before it is buffered. The host reads
 * with `read()`; what it gets there is followed from fixed header to fixed header, across chunks. The first packet
 * has a limit of its own and must be a CONNECT [MQTT-3.1.0-1].
 */
export const packetSize: Guard = {
  name: 'a packet over the limit closes the connection',
  accept(connection, context) {
    const stream = connection.stream as Screened;
    const { maxConnectBytes, maxPacketBytes } = context.limits;
    stream[screening] = {
      connection,
      context,
      read: stream.read,
      screen: createSizeScreen(maxConnectBytes, maxPacketBytes),
    };
    stream.read = readScreened;
  },
};

const screening = Symbol('screening');

interface Screened extends Duplex {
  [screening]: {
    readonly connection: Connection;
    readonly context: GuardContext;
    readonly read: Duplex['read'];
    readonly screen: SizeScreen;
  };
}

function readScreened(this: Duplex, size?: number): unknown {
  const { connection, context, read, screen } = (this as Screened)[screening];
  const chunk: unknown = read.call(this, size);
  if (!(chunk instanceof Uint8Array)) return chunk;
  const verdict = screenChunk(screen, chunk);
  if (verdict === 'fits') return chunk;
  const { session, address } = connection;
  context.report({ action: 'packet', reason: verdict, clientId: session?.principal.clientId, address });
  this.destroy();
  return null;
}

type Verdict = 'fits' | 'packet_too_large' | 'protocol_refused';

/** Where in a byte stream of packets one is. */
interface SizeScreen {
  readonly maxFirstBytes: number;
  readonly maxBytes: number;
  isFirst: boolean;
  /** Bytes of the current packet still to come after its fixed header. */
  remaining: number;
  /** Bytes of the current fixed header that were seen. */
  headerBytes: number;
  /** The remaining length that they say so far. */
  length: number;
}

export function createSizeScreen(maxFirstBytes: number, maxBytes: number): SizeScreen {
  return { maxFirstBytes, maxBytes, isFirst: true, remaining: 0, headerBytes: 0, length: 0 };
}

/** Follows the fixed headers of a byte stream. */
export function screenChunk(screen: SizeScreen, chunk: Uint8Array): Verdict {
  let at = 0;
  while (at < chunk.length) {
    if (screen.remaining > 0) {
      const skipped = Math.min(screen.remaining, chunk.length - at);
      screen.remaining -= skipped;
      at += skipped;
      continue;
    }
    const byte = chunk[at] as number;
    at += 1;
    screen.headerBytes += 1;
    if (screen.headerBytes === 1) {
      if (screen.isFirst && byte >> 4 !== CONNECT) return 'protocol_refused';
      continue;
    }
    screen.length += (byte & 0x7f) * 128 ** (screen.headerBytes - 2);
    const maxBytes = screen.isFirst ? screen.maxFirstBytes : screen.maxBytes;
    if (screen.headerBytes + screen.length > maxBytes) return 'packet_too_large';
    if (byte >= 0x80) {
      if (screen.headerBytes > MAX_LENGTH_BYTES) return 'protocol_refused';
      continue;
    }
    screen.remaining = screen.length;
    screen.isFirst = false;
    screen.headerBytes = 0;
    screen.length = 0;
  }
  return 'fits';
}
