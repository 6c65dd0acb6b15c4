import type { Guard } from './guard.ts';

/**
 * A connection that has no session by the deadline is closed. The host stops its own timer at CONNECT, and an
 * authentication that takes long would hold the socket for ever.
 */
export const connectDeadline: Guard = {
  name: 'a connection without a session is closed in time',
  accept(connection, { connectDeadlines, limits, report }) {
    const { stream, address, protocol } = connection;
    const deadline = connectDeadlines.add(connection.openedAtMs + limits.connectTimeoutSeconds * 1000, () => {
      if (connection.isEstablished) return;
      connection.isTimedOut = true;
      report({ action: 'connect', reason: 'connect_timeout', address, protocol });
      stream.destroy();
    });
    stream.once('close', deadline.cancel);
    connection.onEstablished.push(deadline.cancel);
  },
};
