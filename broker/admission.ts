import type { Limits } from './options.ts';

/**
 * Connections over a limit that are kept for the time of a CONNECT, to be told to come back later. Beyond them sockets
 * are closed unanswered.
 */
const MAX_OVERFLOW = 64;

/** What a connection counts as, until it is released. */
export interface Place {
  /** `closed`: it has none, and is to be closed unanswered. */
  readonly verdict: 'admitted' | 'over_limit' | 'closed';
  /** What its address is counted as. */
  readonly addressKey: string | undefined;
  isReleased: boolean;
}

export interface Gate {
  admit(addressKey: string | undefined): Place;
  /** Once it is closed; again it does nothing. */
  release(place: Place): void;
}

/** Counts connections, in all and by address, against the limits. */
export function createGate(limits: Pick<Limits, 'maxConnections' | 'maxConnectionsPerAddress'>): Gate {
  const byAddress = new Map<string, number>();
  let total = 0;
  let overflow = 0;

  return {
    admit(addressKey) {
      const ofAddress = (addressKey === undefined ? undefined : byAddress.get(addressKey)) ?? 0;
      if (total >= limits.maxConnections || ofAddress >= limits.maxConnectionsPerAddress) {
        if (overflow >= MAX_OVERFLOW) return { verdict: 'closed', addressKey, isReleased: true };
        overflow += 1;
        return { verdict: 'over_limit', addressKey, isReleased: false };
      }
      total += 1;
      if (addressKey !== undefined) byAddress.set(addressKey, ofAddress + 1);
      return { verdict: 'admitted', addressKey, isReleased: false };
    },
    release(place) {
      if (place.isReleased) return;
      place.isReleased = true;
      if (place.verdict === 'over_limit') {
        overflow -= 1;
        return;
      }
      total -= 1;
      const { addressKey } = place;
      if (addressKey === undefined) return;
      const left = (byAddress.get(addressKey) ?? 0) - 1;
      if (left > 0) byAddress.set(addressKey, left);
      else byAddress.delete(addressKey);
    },
  };
}
