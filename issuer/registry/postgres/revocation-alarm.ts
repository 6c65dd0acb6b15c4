import type pg from 'pg';
import { openClient } from './connection.ts';
import type { PostgresPlace } from './place.ts';

/** Before another try to listen. Ours: who does not hear still looks twice a second (see `openRevocationFeed`). */
const RETRY_MS = 2000;

export interface RevocationAlarm {
  /** Calls when some issuer has recorded a revocation. What it gives back ends it. */
  subscribe(listener: () => void): () => void;
  close(): Promise<void>;
}

/**
 * Hears of revocations as they are committed, by whichever issuer (the trigger `revocations_wake`). Only to be quick:
 * what was recorded while nobody listened is found by looking.
 */
export function openRevocationAlarm(place: PostgresPlace): RevocationAlarm {
  const listeners = new Set<() => void>();
  let client: pg.Client | undefined;
  let retry: NodeJS.Timeout | undefined;
  let isClosed = false;

  function ring(): void {
    for (const listener of listeners) listener();
  }

  async function listen(): Promise<void> {
    const opened = openClient(place);
    client = opened;
    opened.on('notification', ({ payload }) => {
      if (payload === place.schema) ring();
    });
    // A connection that was lost ends with both, and a refused one with an exception.
    opened.on('error', () => lost(opened));
    opened.on('end', () => lost(opened));
    try {
      await opened.connect();
      await opened.query('LISTEN fleetgate_revocations');
      // Of what came in between.
      ring();
    } catch {
      lost(opened);
    }
  }

  function lost(one: pg.Client): void {
    if (client !== one || isClosed) return;
    client = undefined;
    one.end().catch(() => {});
    retry = setTimeout(() => void listen(), RETRY_MS);
    retry.unref();
  }

  void listen();
  return {
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async close() {
      isClosed = true;
      clearTimeout(retry);
      await client?.end().catch(() => {});
    },
  };
}
