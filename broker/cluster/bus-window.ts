/**
 * Bytes that this broker has published and not read from the bus yet. Redis keeps what a broker has not read, and cuts it
 * off beyond 8 MiB in its own settings: who published faster than brokers read would end the sessions of all of them.
 */
export const MAX_UNREAD_BYTES = 4_194_304;

export interface BusWindow {
  /** Resolves when there is room, in the order of the calls. */
  enter(bytes: number): Promise<void>;
  /** It was published under this number, or not at all, and `applied` is the last one that was read. */
  published(bytes: number, seq: number | undefined, applied: number): void;
  read(seq: number): void;
  /** Nothing that was published will be read any more. */
  reset(): void;
}

export function createBusWindow(): BusWindow {
  const unread = new Map<number, number>();
  let waiting: { readonly bytes: number; readonly start: () => void }[] = [];
  let used = 0;
  const has = (bytes: number) => used === 0 || used + bytes <= MAX_UNREAD_BYTES;

  function leave(bytes: number): void {
    used = Math.max(0, used - bytes);
    let started = 0;
    for (const { bytes: wanted, start } of waiting) {
      if (!has(wanted)) break;
      used += wanted;
      started += 1;
      start();
    }
    if (started > 0) waiting = waiting.slice(started);
  }

  return {
    async enter(bytes) {
      if (waiting.length === 0 && has(bytes)) {
        used += bytes;
        return;
      }
      await new Promise<void>((start) => waiting.push({ bytes, start }));
    },
    published(bytes, seq, applied) {
      if (seq === undefined || seq <= applied) leave(bytes);
      else unread.set(seq, bytes);
    },
    read(seq) {
      const bytes = unread.get(seq);
      if (bytes === undefined) return;
      unread.delete(seq);
      leave(bytes);
    },
    reset() {
      const bytes = unread.values().reduce((sum, each) => sum + each, 0);
      unread.clear();
      leave(bytes);
    },
  };
}
