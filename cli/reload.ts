import { FleetgateError } from '@fleetgate/shared';
import type { Logger } from 'pino';

/** Something that is read from disk again on SIGHUP. */
export interface Reloadable {
  /** As the log line has it. */
  readonly what: string;
  /** What it throws leaves the old in force. */
  readonly reload: () => Promise<void>;
}

/**
 * Reads everything again, each on its own: one mistake does not keep the rest from being renewed. Logs what came of it
 * and never rejects. Calls that overlap run one after the other.
 */
export function createReload(parts: readonly Reloadable[], log: Logger): () => Promise<void> {
  let running: Promise<void> = Promise.resolve();

  async function reloadAll(): Promise<void> {
    for (const { what, reload } of parts) {
      try {
        await reload();
        log.info({ event: 'reloaded', what }, `reloaded ${what}`);
      } catch (error) {
        const { code, message } = describe(error);
        log.error({ event: 'reload_failed', what, code }, `${what} stay as they were: ${message}`);
      }
    }
  }

  return () => {
    running = running.then(reloadAll);
    return running;
  };
}

/** The message of what nobody expected could hold anything. */
function describe(error: unknown): { code: string; message: string } {
  if (error instanceof FleetgateError) return error;
  return { code: 'internal_error', message: error instanceof Error ? error.name : typeof error };
}
