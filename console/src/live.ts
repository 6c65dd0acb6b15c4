import { useEffect, useState } from 'preact/hooks';
import { get } from './api.ts';

/** Totals and gauges of one moment, by name. */
export interface Figures {
  readonly at: number;
  readonly [name: string]: number;
}

export interface Refusal {
  readonly at: number;
  readonly action: string;
  readonly reason: string;
  /** As a verified token says. */
  readonly clientId?: string;
  /** What a CONNECT says of itself. */
  readonly presentedClientId?: string;
  readonly topic?: string;
  readonly address?: string;
  readonly returnCode?: number;
  readonly lastReason?: string;
}

export interface Live {
  readonly isConnected: boolean;
  readonly figures: readonly Figures[];
  readonly refusals: readonly Refusal[];
  readonly suppressed: number;
}

const MAX_FIGURES = 900;
const MAX_REFUSALS = 1_000;

/** Where the browser does not try again by itself. */
const RETRY_MS = 3_000;

let live: Live = { isConnected: false, figures: [], refusals: [], suppressed: 0 };
const watchers = new Set<() => void>();
let source: EventSource | undefined;
let isDrawn = true;

function set(change: Partial<Live>): void {
  live = { ...live, ...change };
  if (!isDrawn) return;
  // Once for all that comes in one go.
  isDrawn = false;
  requestAnimationFrame(() => {
    isDrawn = true;
    for (const watcher of watchers) watcher();
  });
}

/** Follows the server until `stopLive`; the browser reconnects and goes on where it was. */
export function startLive(): void {
  if (source !== undefined) return;
  source = new EventSource('./api/live');
  source.onopen = () => set({ isConnected: true });
  source.onerror = () => {
    set({ isConnected: false });
    // It gives up when it is refused; a request says whether that is for want of a sign-in.
    if (source?.readyState === EventSource.CLOSED) {
      stopLive();
      get('/v1/whoami').then(startLive, () => setTimeout(startLive, RETRY_MS));
    }
  };
  source.addEventListener('figures', ({ data }) => {
    const figures = JSON.parse(data) as Figures;
    set({ figures: [...live.figures.slice(-MAX_FIGURES + 1), figures] });
  });
  source.addEventListener('refusal', ({ data }) => {
    set({ refusals: [JSON.parse(data) as Refusal, ...live.refusals.slice(0, MAX_REFUSALS - 1)] });
  });
  source.addEventListener('refused_more', ({ data }) => {
    set({ suppressed: live.suppressed + (JSON.parse(data) as { count: number }).count });
  });
}

export function stopLive(): void {
  source?.close();
  source = undefined;
  live = { isConnected: false, figures: [], refusals: [], suppressed: 0 };
}

export function useLive(): Live {
  const [shown, show] = useState(live);
  useEffect(() => {
    const watcher = () => show(live);
    watchers.add(watcher);
    return () => void watchers.delete(watcher);
  }, []);
  return shown;
}

/** A total's change a second, moment by moment; a process that starts anew begins at nothing. */
export function rates(figures: readonly Figures[], name: string): number[] {
  return figures.map((one, at) => {
    const before = figures[at - 1];
    if (before === undefined) return 0;
    const seconds = (one.at - before.at) / 1000;
    return Math.max(0, ((one[name] ?? 0) - (before[name] ?? 0)) / (seconds || 1));
  });
}
