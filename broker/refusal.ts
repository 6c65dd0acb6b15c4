import type { ReasonCode, TokenErrorCode } from '@fleetgate/shared';
import type { Logger } from './options.ts';
import type { Protocol } from './protocol.ts';

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
  /** Of the listener it came in by. */
  readonly protocol?: Protocol | undefined;
  /** `jti` of its token, once that was verified: what to revoke it by. */
  readonly tokenId?: string | undefined;
  /** Topic or filter, cut to {@link MAX_LOGGED_TOPIC_LENGTH}; only of clients with a verified token. */
  readonly topic?: string | undefined;
  /** CONNACK return code (MQTT 3.1.1 §3.2.2.3), when the client was given one. */
  readonly returnCode?: number | undefined;
}

/** Characters of a topic in a log line: enough to see which one, too little to fill a disk with. */
export const MAX_LOGGED_TOPIC_LENGTH = 256;

export type Report = (refusal: Refusal) => void;

/** A topic as it is told to others. */
export function cutTopic(topic: string): string {
  return topic.length > MAX_LOGGED_TOPIC_LENGTH ? topic.slice(0, MAX_LOGGED_TOPIC_LENGTH) : topic;
}

/**
 * Log lines of one client, or of one address without a client, in a second; the rest of that second is one line that
 * counts them. A packet can be refused a thousand times, and a log that is written faster than its disk stops all.
 */
export const MAX_LINES_PER_SECOND = 50;

/** Clients and addresses of which lines are counted at once; beyond it all others share one count. */
const MAX_COUNTED = 10_000;

/**
 * One call of `onRefusal` and, short of a flood, one log line for each refusal. Messages held back by a
 * `broader: filter` rule are everyday and logged at `debug`. Nothing a logger or the callback throws comes out of here.
 */
export function createReport(log: Logger, onRefusal: (refusal: Refusal) => void): Report {
  const counts = new Map<string, number>();
  let flushing: NodeJS.Timeout | undefined;

  function isFlood({ clientId, address }: Refusal): boolean {
    const of = clientId === undefined ? `@${address ?? ''}` : clientId;
    const key = counts.has(of) || counts.size < MAX_COUNTED ? of : '';
    const count = (counts.get(key) ?? 0) + 1;
    counts.set(key, count);
    if (flushing === undefined) {
      flushing = setTimeout(flush, 1_000);
      flushing.unref();
    }
    return count > MAX_LINES_PER_SECOND;
  }

  function flush(): void {
    flushing = undefined;
    for (const [of, count] of counts) {
      const suppressed = count - MAX_LINES_PER_SECOND;
      if (suppressed <= 0) continue;
      const whose = of.startsWith('@') ? { address: of.slice(1) } : { clientId: of };
      try {
        log.warn({ event: 'refused_more', suppressed, ...whose }, 'refused more');
      } catch (error) {
        logQuietly(log, error);
      }
    }
    counts.clear();
  }

  return (refusal) => {
    const { topic } = refusal;
    const cut = topic === undefined ? refusal : { ...refusal, topic: cutTopic(topic) };
    try {
      const line = { event: 'refused', ...cut };
      if (!isFlood(cut)) {
        if (cut.action === 'receive') log.debug(line, 'refused');
        else log.warn(line, 'refused');
      }
    } catch (error) {
      logQuietly(log, error);
    }
    try {
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
