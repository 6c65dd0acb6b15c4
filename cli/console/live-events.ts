/** Something the page shows as it happens. `data` is JSON. */
export interface LiveEvent {
  readonly id: number;
  readonly type: string;
  readonly data: string;
}

/** Events that are kept for a page that lost its connection. */
const MAX_KEPT = 2_000;

/** Between two looks at the figures. */
const SAMPLE_MS = 1_000;

/** Figures that are kept, so that a chart is there at once: fifteen minutes. */
const MAX_SAMPLES = 900;

/** Refusals told in one second; of a flood the rest is a number. */
const MAX_REFUSALS_PER_SECOND = 50;

/** What the pages are told: figures each second, refusals as they are. */
export interface LiveEvents {
  refused(refusal: object): void;
  /** From behind `lastId` on, or all that is kept; stops when `signal` aborts. */
  follow(lastId: number | undefined, tell: (event: LiveEvent) => void, signal: AbortSignal): void;
  close(): void;
}

/** @param sample the figures of now; asked once a second */
export function createLiveEvents(sample: () => Promise<Record<string, number>>): LiveEvents {
  const kept: LiveEvent[] = [];
  const followers = new Set<(event: LiveEvent) => void>();
  // Ids of another run of the process are not mistaken for those of this one.
  let lastId = Date.now() * 1_000;
  let refusals = 0;
  let suppressed = 0;

  function add(type: string, data: object): void {
    lastId += 1;
    const event = { id: lastId, type, data: JSON.stringify(data) };
    kept.push(event);
    const samples = type === 'figures' ? kept.filter((one) => one.type === type).length : 0;
    if (samples > MAX_SAMPLES)
      kept.splice(
        kept.findIndex((one) => one.type === type),
        1,
      );
    if (kept.length > MAX_KEPT)
      kept.splice(
        kept.findIndex((one) => one.type !== 'figures'),
        1,
      );
    for (const tell of followers) tell(event);
  }

  async function take(): Promise<void> {
    const figures = await sample();
    refusals = 0;
    if (suppressed > 0) add('refused_more', { count: suppressed });
    suppressed = 0;
    add('figures', { at: Date.now(), ...figures });
  }

  const timer = setInterval(() => void take().catch(() => {}), SAMPLE_MS);

  return {
    refused(refusal) {
      refusals += 1;
      if (refusals > MAX_REFUSALS_PER_SECOND) suppressed += 1;
      else add('refusal', { at: Date.now(), ...refusal });
    },
    follow(from, tell, signal) {
      const missed = from === undefined ? kept : kept.filter(({ id }) => id > from);
      for (const event of missed) tell(event);
      followers.add(tell);
      signal.addEventListener('abort', () => followers.delete(tell), { once: true });
    },
    close: () => clearInterval(timer),
  };
}
