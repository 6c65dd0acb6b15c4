import type { Guard } from './guard.ts';

/**
 * Whoever does not read what is written to it is cut off when too much of that is waiting. The host waits for it
 * instead, for as long as its drain timeout, and keeps what comes meanwhile in memory.
 */
export const slowReader: Guard = {
  name: 'a client that does not read is cut off',
  install({ limits, report, sessions }) {
    return {
      deliver(client) {
        if (client.conn.writableLength <= limits.maxUnreadBytesPerClient) return true;
        if (!client.conn.destroyed) {
          const session = sessions.byClient.get(client);
          const address = session?.connection.address;
          const clientId = session?.principal.clientId;
          report({ action: 'session', reason: 'reads_too_slowly', clientId, address });
          client.conn.destroy();
        }
        return false;
      },
    };
  },
};
