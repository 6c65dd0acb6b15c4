import { presentedClientId } from '../refusal.ts';
import type { Connection } from '../session.ts';
import type { Guard, GuardContext } from './guard.ts';

/**
 * A connection that has no session by the deadline is closed. The host stops its own timer at CONNECT, and an
 * authentication that takes long would hold the socket for ever.
 */
export const connectDeadline: Guard = {
  name: 'a connection without a session is closed in time',
  accept(connection, context) {
    const { connectDeadlines, limits } = context;
    const atMs = connection.openedAtMs + limits.connectTimeoutSeconds * 1000;
    connection.deadline = connectDeadlines.add(atMs, timeOut, { connection, context });
  },
  established: cancel,
  closed: cancel,
};

function timeOut({ connection, context }: { connection: Connection; context: GuardContext }): void {
  if (connection.isEstablished) return;
  const { stream, address, protocol } = connection;
  connection.isTimedOut = true;
  const presented = presentedClientId(connection.connect);
  context.report({
    action: 'connect',
    reason: 'connect_timeout',
    ...(presented !== undefined && { presentedClientId: presented }),
    address,
    protocol,
  });
  stream.destroy();
}

function cancel(connection: Connection, { connectDeadlines }: GuardContext): void {
  connectDeadlines.cancel(connection.deadline);
  connection.deadline = undefined;
}
