import { Readable } from 'node:stream';
import { logQuietly } from '../refusal.ts';
import type { Guard } from './guard.ts';

/**
 * Retained messages are looked for one filter of a SUBSCRIBE at a time, with a turn of the event loop between. The host
 * has the persistence try all filters on all retained messages in one go: a hundred filters on ten thousand messages
 * stopped the broker for 270 ms.
 */
export const retainedScan: Guard = {
  name: 'the search for retained messages does not stop the broker',
  install({ broker: { persistence }, log }) {
    const find = persistence.createRetainedStreamCombi;
    async function* inTurns(filters: readonly string[]) {
      for (const [index, filter] of filters.entries()) {
        if (index > 0) await new Promise(setImmediate);
        yield* find.call(persistence, [filter]);
      }
    }
    persistence.createRetainedStreamCombi = (filters) =>
      // The host listens to no error of it.
      Readable.from(inTurns(filters)).on('error', (error) => logQuietly(log, error));
  },
};
