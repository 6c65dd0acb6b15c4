import type { Guard } from './guard.ts';

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
  accept(connection, { limits, report, sessions }) {
    const { stream } = connection;
    const screen = createSizeScreen(limits.maxConnectBytes, limits.maxPacketBytes);
    const read = stream.read;
    stream.read = function guardedRead(size?: number) {
      const chunk: unknown = read.call(stream, size);
      if (!(chunk instanceof Uint8Array)) return chunk;
      const verdict = screen(chunk);
      if (verdict === 'fits') return chunk;
      const { client } = connection;
      const clientId = client && sessions.byClient.get(client)?.principal.clientId;
      report({ action: 'packet', reason: verdict, clientId, address: connection.address });
      stream.destroy();
      return null;
    };
  },
};

type Verdict = 'fits' | 'packet_too_large' | 'protocol_refused';

/** Follows the fixed headers of a byte stream. */
export function createSizeScreen(maxFirstBytes: number, maxBytes: number): (chunk: Uint8Array) => Verdict {
  let isFirst = true;
  /** Bytes of the current packet still to come after its fixed header. */
  let remaining = 0;
  /** Bytes of the current fixed header that were seen. */
  let headerBytes = 0;
  let length = 0;

  return (chunk) => {
    let at = 0;
    while (at < chunk.length) {
      if (remaining > 0) {
        const skipped = Math.min(remaining, chunk.length - at);
        remaining -= skipped;
        at += skipped;
        continue;
      }
      const byte = chunk[at] as number;
      at += 1;
      headerBytes += 1;
      if (headerBytes === 1) {
        if (isFirst && byte >> 4 !== CONNECT) return 'protocol_refused';
        continue;
      }
      length += (byte & 0x7f) * 128 ** (headerBytes - 2);
      if (headerBytes + length > (isFirst ? maxFirstBytes : maxBytes)) return 'packet_too_large';
      if (byte >= 0x80) {
        if (headerBytes > MAX_LENGTH_BYTES) return 'protocol_refused';
        continue;
      }
      remaining = length;
      isFirst = false;
      headerBytes = 0;
      length = 0;
    }
    return 'fits';
  };
}
