/**
 * Lines of one client, or of one address without a client, in a second; the rest of that second is one line that counts
 * them. A packet can be refused a thousand times, and what is written faster than its disk stops all, or fills it.
 */
export const MAX_LINES_PER_SECOND = 50;

/** Clients and addresses of which lines are counted at once; beyond it all others share one count. */
const MAX_COUNTED = 10_000;

/** Whose lines are counted. */
export interface LineOwner {
  readonly clientId?: string | undefined;
  readonly address?: string | undefined;
}

/**
 * Says of each line whether it is one too many. A second after the first of them `tellMore` is called for each owner who
 * had such; it does not throw.
 */
export function createLineRate(
  tellMore: (owner: LineOwner, suppressed: number) => void,
): (owner: LineOwner) => boolean {
  const counts = new Map<string, number>();
  let flushing: NodeJS.Timeout | undefined;

  function flush(): void {
    flushing = undefined;
    for (const [of, count] of counts) {
      const suppressed = count - MAX_LINES_PER_SECOND;
      if (suppressed > 0) tellMore(ownerOf(of), suppressed);
    }
    counts.clear();
  }

  return ({ clientId, address }) => {
    const of = clientId === undefined ? `@${address ?? ''}` : clientId;
    const key = counts.has(of) || counts.size < MAX_COUNTED ? of : '';
    const count = (counts.get(key) ?? 0) + 1;
    counts.set(key, count);
    if (flushing === undefined) {
      flushing = setTimeout(flush, 1_000);
      flushing.unref();
    }
    return count > MAX_LINES_PER_SECOND;
  };
}

function ownerOf(key: string): LineOwner {
  if (key === '') return {};
  return key.startsWith('@') ? { address: key.slice(1) } : { clientId: key };
}
