import type { Connection } from '../session.ts';
import type { Guard } from './guard.ts';

/** Beyond a CONNECT: WebSocket framing, and what a client sends ahead of CONNACK. */
const SLACK_BYTES = 65_536;

/**
 * A WebSocket message is put together in memory before anything of it is read, up to the size of the largest packet.
 * Before there is a session that is too much for everybody who comes along, so the bytes of the socket are counted.
 */
export const websocketBuffer: Guard = {
  name: 'a WebSocket without a session buffers no more than a CONNECT',
  accept(connection, { limits, report }) {
    const { socket, stream, address } = connection;
    if (socket === undefined) return;
    const maxBytes = limits.maxConnectBytes + SLACK_BYTES;
    let bytes = 0;
    const count = (chunk: Uint8Array) => {
      bytes += chunk.length;
      if (bytes <= maxBytes) return;
      socket.off('data', count);
      report({ action: 'packet', reason: 'packet_too_large', address });
      socket.destroy();
      stream.destroy();
    };
    socket.on('data', count);
    counting.set(connection, count);
  },
  established(connection) {
    const count = counting.get(connection);
    if (count !== undefined) connection.socket?.off('data', count);
    counting.delete(connection);
  },
};

const counting = new WeakMap<Connection, (chunk: Uint8Array) => void>();
