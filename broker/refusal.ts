import type { ReasonCode, TokenErrorCode } from '@fleetgate/shared';
import type { Logger } from './options.ts';

/** `queue_full` is of messages for a session whose queue is full. */
export type RefusalReason = ReasonCode | TokenErrorCode | 'queue_full';

/** One thing that was refused, or one session that was ended, and why. Never holds a token or a payload. */
export interface Refusal {
  /** What was tried; `session` for a session that was ended, `packet` for one that broke the protocol. */
  readonly action:
    | 'connect'
    | 'publish'
    | 'will'
    | 'subscribe'
    | 'receive'
    | 'packet'
    | 'session'
    | 'renewal';
  readonly reason: RefusalReason;
  /** The client as its token says; absent before a token was verified. */
  readonly clientId?: string | undefined;
  readonly address?: string | undefined;
  /** Topic or filter, cut to {@link MAX_LOGGED_TOPIC_LENGTH}; only of clients with a verified token. */
  readonly topic?: string | undefined;
  /** CONNACK return code (MQTT 3.1.1 §3.2.2.3), when the client was given one. */
  readonly returnCode?: number | undefined;
}

/** Characters of a topic in a log line: enough to see which one, too little to fill a disk with. */
export const MAX_LOGGED_TOPIC_LENGTH = 256;

export type Report = (refusal: Refusal) => void;

/**
 * One log line and one call of `onRefusal` for each refusal. Messages held back by a `broader: filter` rule are
 * everyday and logged at `debug`. Nothing a logger or the callback throws comes out of here.
 */
export function createReport(log: Logger, onRefusal: (refusal: Refusal) => void): Report {
  return (refusal) => {
    const topic = refusal.topic?.slice(0, MAX_LOGGED_TOPIC_LENGTH);
    const cut = topic === refusal.topic ? refusal : { ...refusal, topic };
    try {
      const line = { event: 'refused', ...cut };
      if (cut.action === 'receive') log.debug(line, 'refused');
      else log.warn(line, 'refused');
      onRefusal(cut);
    } catch (error) {
      logQuietly(log, error);
    }
  };
}

/** Logs what nobody expected, by name alone: its message could hold anything. */
export function logQuietly(log: Logger, error: unknown): void {
  try {
    log.error(
      { event: 'internal_error', error: error instanceof Error ? error.name : typeof error },
      'error',
    );
  } catch {
    // A logger that throws has nowhere to say so.
  }
}
