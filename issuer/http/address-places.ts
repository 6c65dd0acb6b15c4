import type { Socket } from 'node:net';
import { addressKey } from '@fleetgate/shared';
import type { Logger } from 'pino';

/** Connections of each address, so that no one of them holds all that the server has room for. */
export interface AddressPlaces {
  /** Whether there is a place for the connection, until it closes; else it is closed at once. */
  take(socket: Socket): boolean;
}

/** Between two lines in the log of the same kind: a flood is one line. */
const LOG_INTERVAL_MS = 60_000;

/** @param onRefused called for each connection that is closed; the log has one line a minute of them */
export function addressPlaces(
  max: number,
  log: Logger | undefined,
  onRefused: (reason: string) => void,
): AddressPlaces {
  const taken = new Map<string, number>();
  let loggedAtMs = Number.NEGATIVE_INFINITY;

  return {
    take(socket) {
      const { remoteAddress } = socket;
      // Gone before it was looked at.
      if (remoteAddress === undefined) return true;
      const key = addressKey(remoteAddress);
      const before = taken.get(key) ?? 0;
      if (before >= max) {
        socket.destroy();
        onRefused('connections_limited');
        const nowMs = performance.now();
        if (nowMs - loggedAtMs < LOG_INTERVAL_MS) return false;
        loggedAtMs = nowMs;
        log?.warn(
          { event: 'connections_limited', address: remoteAddress, max },
          'an address has too many connections',
        );
        return false;
      }
      taken.set(key, before + 1);
      socket.once('close', () => {
        const left = (taken.get(key) ?? 1) - 1;
        if (left === 0) taken.delete(key);
        else taken.set(key, left);
      });
      return true;
    },
  };
}
