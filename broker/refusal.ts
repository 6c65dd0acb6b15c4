import { isIdentifier, isSecretShaped, type ReasonCode, type TokenErrorCode } from '@fleetgate/shared';
import { createLineRate } from './line-rate.ts';
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
  /** The MQTT client id of a CONNECT that was refused, unverified: see {@link presentedClientId}. */
  readonly presentedClientId?: string | undefined;
  readonly address?: string | undefined;
  /** Of the listener it came in by. */
  readonly protocol?: Protocol | undefined;
  /** `jti` of its token, once that was verified: what to revoke it by. */
  readonly tokenId?: string | undefined;
  /** Topic or filter, cut to {@link MAX_LOGGED_TOPIC_LENGTH}; only of clients with a verified token. */
  readonly topic?: string | undefined;
  /** CONNACK return code (MQTT 3.1.1 §3.2.2.3), when the client was given one. */
  readonly returnCode?: number | undefined;
  /** Of `login_backoff`: why that client id was refused the last time from that address. */
  readonly lastReason?: RefusalReason | undefined;
}

/** Characters of a topic in a log line: enough to see which one, too little to fill a disk with. */
export const MAX_LOGGED_TOPIC_LENGTH = 256;

export type Report = (refusal: Refusal) => void;

/**
 * The client id that a CONNECT presents, where it has the form of one, `[A-Za-z0-9._-]{1,64}`. Anybody may present any:
 * it is for the log alone. Never what the password is, nor what has the form of a client secret (32 bytes in base64url):
 * somebody may have put a secret there.
 */
export function presentedClientId(
  connect: { readonly clientId?: unknown; readonly password?: unknown } | undefined,
): string | undefined {
  const { clientId, password } = connect ?? {};
  if (!isIdentifier(clientId) || isSecretShaped(clientId)) return undefined;
  return String(password) === clientId ? undefined : clientId;
}

/** A topic as it is told to others. */
export function cutTopic(topic: string): string {
  return topic.length > MAX_LOGGED_TOPIC_LENGTH ? topic.slice(0, MAX_LOGGED_TOPIC_LENGTH) : topic;
}

/**
 * One call of `onRefusal` and, short of a flood, one log line for each refusal. Messages held back by a
 * `broader: filter` rule are everyday and logged at `debug`. Nothing a logger or the callback throws comes out of here.
 */
export function createReport(log: Logger, onRefusal: (refusal: Refusal) => void): Report {
  const isTooMany = createLineRate((owner, suppressed) => {
    try {
      log.warn({ event: 'refused_more', suppressed, ...owner }, 'refused more');
    } catch (error) {
      logQuietly(log, error);
    }
  });

  return (refusal) => {
    const { topic } = refusal;
    const cut = topic === undefined ? refusal : { ...refusal, topic: cutTopic(topic) };
    try {
      const line = { event: 'refused', ...cut };
      if (!isTooMany(cut)) {
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
