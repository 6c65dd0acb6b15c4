import { isIPv6 } from 'node:net';
import type { Limits } from './options.ts';

/**
 * Connections over a limit that are kept for the time of a CONNECT, to be told to come back later. Beyond them sockets
 * are closed unanswered.
 */
const MAX_OVERFLOW = 64;

export type Admission =
  /** `release` is to be called once it is closed. */
  | { readonly verdict: 'admitted' | 'over_limit'; readonly release: () => void }
  | { readonly verdict: 'closed' };

export interface Gate {
  admit(address: string | undefined): Admission;
}

/** Counts connections, in all and by address, against the limits. */
export function createGate(limits: Pick<Limits, 'maxConnections' | 'maxConnectionsPerAddress'>): Gate {
  const byAddress = new Map<string, number>();
  let total = 0;
  let overflow = 0;

  return {
    admit(address) {
      const key = address === undefined ? undefined : addressKey(address);
      const ofAddress = (key === undefined ? undefined : byAddress.get(key)) ?? 0;
      if (total >= limits.maxConnections || ofAddress >= limits.maxConnectionsPerAddress) {
        if (overflow >= MAX_OVERFLOW) return { verdict: 'closed' };
        overflow += 1;
        return {
          verdict: 'over_limit',
          release: once(() => {
            overflow -= 1;
          }),
        };
      }
      total += 1;
      if (key !== undefined) byAddress.set(key, ofAddress + 1);
      return {
        verdict: 'admitted',
        release: once(() => {
          total -= 1;
          if (key === undefined) return;
          const left = (byAddress.get(key) ?? 0) - 1;
          if (left > 0) byAddress.set(key, left);
          else byAddress.delete(key);
        }),
      };
    },
  };
}

/** An IPv4 address, also mapped into IPv6, is itself; of an IPv6 address the /64, which one host usually has whole. */
export function addressKey(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped?.[1] !== undefined) return mapped[1];
  if (!isIPv6(address)) return address;
  const [head = '', tail] = (address.split('%')[0] as string).split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const behind = tail === '' ? 0 : tail.split(':').length;
    while (groups.length < 8 - behind) groups.push('0');
  }
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}

function once(action: () => void): () => void {
  let isDone = false;
  return () => {
    if (isDone) return;
    isDone = true;
    action();
  };
}
