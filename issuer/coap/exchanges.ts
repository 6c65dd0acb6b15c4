import { putBounded } from '@fleetgate/shared';

/** How long a message id may come again for one message (EXCHANGE_LIFETIME, RFC 7252 §4.8.2). */
const EXCHANGE_LIFETIME_MS = 247_000;

/** Exchanges that are remembered, with an answer of a kilobyte each. The oldest are dropped. */
export const MAX_EXCHANGES = 10_000;

/** Times one answer is sent again: as often as a request is (MAX_RETRANSMIT). */
const MAX_ANSWERS = 4;

interface Exchange {
  readonly atMs: number;
  answer: Uint8Array | undefined;
  repeats: number;
}

export interface Exchanges {
  /** `new`, or what is to be said to one that comes again: nothing while it is being served, or too often. */
  begin(key: string): 'new' | 'under_way' | Uint8Array;
  answered(key: string, answer: Uint8Array): void;
  /** It was not answered, and may be when it comes again. */
  forget(key: string): void;
  /** How many are remembered. */
  count(): number;
}

/**
 * Recognises a datagram that comes again (RFC 7252 §4.5), before anything in it is looked at: a retransmission that is
 * lawful would be a replay to OSCORE. `key` names the sender and the very datagram.
 */
export function rememberExchanges(monotonicMs: () => number): Exchanges {
  const exchanges = new Map<string, Exchange>();

  return {
    begin(key) {
      const nowMs = monotonicMs();
      const known = exchanges.get(key);
      if (known !== undefined && nowMs - known.atMs < EXCHANGE_LIFETIME_MS) {
        known.repeats += 1;
        return known.repeats > MAX_ANSWERS ? 'under_way' : (known.answer ?? 'under_way');
      }
      putBounded(exchanges, key, { atMs: nowMs, answer: undefined, repeats: 0 }, MAX_EXCHANGES);
      return 'new';
    },
    answered(key, answer) {
      const known = exchanges.get(key);
      if (known !== undefined) known.answer = answer;
    },
    forget(key) {
      exchanges.delete(key);
    },
    count: () => exchanges.size,
  };
}
