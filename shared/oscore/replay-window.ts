/** How far below the highest number one may still come (RFC 8613 §3.2.2). */
export const REPLAY_WINDOW_SIZE = 32;

/** Which sequence numbers a recipient has taken. One is accepted only after its message was decrypted. */
export interface ReplayWindow {
  /** Whether a message with this number may be the first of it. */
  isFresh(sequenceNumber: number): boolean;
  accept(sequenceNumber: number): void;
}

/** @param takenUpTo numbers that count as taken; default none */
export function createReplayWindow(takenUpTo = -1): ReplayWindow {
  let highest = takenUpTo;
  /** Bit n is `highest - n`. */
  let seen = 0xffff_ffff;

  return {
    isFresh(sequenceNumber) {
      const below = highest - sequenceNumber;
      if (below < 0) return true;
      return below < REPLAY_WINDOW_SIZE && ((seen >>> below) & 1) === 0;
    },
    accept(sequenceNumber) {
      const above = sequenceNumber - highest;
      if (above > 0) {
        seen = above < REPLAY_WINDOW_SIZE ? ((seen << above) | 1) >>> 0 : 1;
        highest = sequenceNumber;
      } else if (-above < REPLAY_WINDOW_SIZE) {
        seen = (seen | (1 << -above)) >>> 0;
      }
    },
  };
}
