import type { AccessToken } from './access-token.ts';
import type { AgentEvents, AgentPhase } from './agent-events.ts';
import type { BrokerSession } from './broker-session.ts';
import type { Connection, OpenOutcome, OutgoingMessage } from './connection.ts';
import type { Outbox } from './outbox.ts';
import { connectRefusalKind, type Random, retryDelayMs } from './refresh-policy.ts';
import type { Subscriptions } from './subscriptions.ts';
import { nextToken } from './token-renewal.ts';
import type { TokenSource } from './token-source.ts';
import { type AgentTracer, tokenAttribute } from './tracer.ts';
import { unlessAborted, wait } from './waiting.ts';

export interface SessionParts {
  readonly connection: Connection;
  readonly brokerSession: BrokerSession;
  readonly tokens: TokenSource;
  readonly outbox: Outbox;
  readonly subscriptions: Subscriptions;
  readonly emit: <Name extends keyof AgentEvents>(name: Name, ...event: AgentEvents[Name]) => void;
  readonly enter: (phase: AgentPhase) => void;
  /** Time that messages under way are waited for before a connection is ended, in milliseconds. */
  readonly drainTimeoutMs: number;
  readonly random: Random;
  readonly tracer?: AgentTracer | undefined;
  readonly signal: AbortSignal;
}

/** A connection that lasted this long was sound: the back-off begins anew. A shorter one counts as a failure. */
const STABLE_AFTER_MS = 10_000;

/** What was counted since the last success. */
interface Tally {
  failures: number;
  /** CONNECTs refused with 4, one after the other: the first may be the token's age, the second is not. */
  refusedTokens: number;
}

/**
 * Keeps the MQTT session until the signal: connects with a fresh token, gives the broker the next one before it
 * expires, in place or by reconnecting, and is the only place that decides to try again and when.
 */
export async function keepSession(parts: SessionParts): Promise<void> {
  const { connection, emit, signal } = parts;
  const tally: Tally = { failures: 0, refusedTokens: 0 };
  let isRenewal = false;
  let token: AccessToken | undefined;
  while (!signal.aborted) {
    parts.enter('connecting');
    const previous = token;
    token = await tokenToConnectWith(parts);
    if (token === undefined) break;
    if (token !== previous) emit('token', tokenEvent(token));
    const outcome = await openTraced(parts, token);
    if (signal.aborted) {
      await connection.close();
      break;
    }
    if (outcome.kind !== 'open') {
      if (isRenewal) emit('disconnected', { reason: 'could not reconnect with the new token' });
      isRenewal = false;
      await waitAfterFailure(parts, outcome, token, tally);
      continue;
    }
    tally.refusedTokens = 0;
    const openedAtMs = performance.now();
    let isOpen = true;
    begin(parts, outcome.sessionPresent, () => isOpen);
    if (isRenewal) emit('renewed', { ...tokenEvent(token), inPlace: false });
    else emit('connected', { sessionPresent: outcome.sessionPresent });

    const [end, last] = await holdOpen(parts, outcome.closed, token);
    token = last;
    isOpen = false;
    parts.outbox.pause();
    parts.subscriptions.offline();
    parts.brokerSession.offline();
    if (performance.now() - openedAtMs >= STABLE_AFTER_MS || end.kind === 'renewal') tally.failures = 0;
    isRenewal = end.kind === 'renewal';
    if (end.kind !== 'closed') {
      await leave(parts, outcome.closed);
      if (end.kind === 'stop') emit('disconnected', { reason: 'stopped' });
      continue;
    }
    const retryInMs = retryDelayMs({ kind: 'transient', attempt: tally.failures++ }, parts.random);
    parts.enter('connecting');
    emit('disconnected', { reason: end.reason, retryInMs });
    await wait(retryInMs, signal);
  }
}

async function openTraced(
  { connection, tracer, signal }: SessionParts,
  token: AccessToken,
): Promise<OpenOutcome> {
  const span = tracer?.('fleetgate.connect', token.traceparent);
  const outcome = await connection.open(token.value, signal);
  span?.end(outcome.kind === 'open' ? 'ok' : outcome.kind, {
    ...tokenAttribute(token.value),
    ...(outcome.kind === 'refused' && { 'fleetgate.return_code': outcome.returnCode }),
  });
  return outcome;
}

/**
 * A token not past its refresh point if the issuer gives one, else one that is still valid, else, when the issuer
 * answers again, a new one. `undefined` when stopped.
 */
async function tokenToConnectWith({ tokens, emit, signal }: SessionParts): Promise<AccessToken | undefined> {
  while (!signal.aborted) {
    try {
      return await unlessAborted(tokens.renew(), signal);
    } catch (error) {
      if (signal.aborted) break;
      const valid = await tokens.get().catch(() => undefined);
      if (valid !== undefined) return valid;
      const retryInMs = Math.max(10, tokens.retryInMs);
      emit('token_failed', { error, kind: tokens.failureKind ?? 'transient', retryInMs });
      await wait(retryInMs, AbortSignal.any([signal, tokens.replaced]));
    }
  }
  return undefined;
}

function begin(parts: SessionParts, sessionPresent: boolean, isCurrent: () => boolean): void {
  const { connection, brokerSession, outbox, subscriptions, enter } = parts;
  enter('connected');
  const isTold = brokerSession.online(connection);
  subscriptions.online(connection, sessionPresent);
  const send = async (message: OutgoingMessage) => {
    brokerSession.checkPublish(message.topic);
    await connection.publish(message);
  };
  void isTold.then(() => {
    if (isCurrent()) outbox.resume(send);
  });
}

type End = { kind: 'closed'; reason: string } | { kind: 'renewal' } | { kind: 'stop' };

/**
 * Keeps the open connection, renewing its token in place as long as the broker takes it, until something ends it.
 * Gives that, and the token it has then.
 */
async function holdOpen(
  parts: SessionParts,
  closed: Promise<string>,
  first: AccessToken,
): Promise<[End, AccessToken]> {
  let token = first;
  for (;;) {
    const [end, next] = await endOf(parts, closed, token);
    if (next === undefined || !(await renewTraced(parts, next, closed))) return [end, token];
    token = next;
    parts.emit('token', tokenEvent(next));
    parts.emit('renewed', { ...tokenEvent(next), inPlace: true });
  }
}

async function renewTraced(
  { brokerSession, tracer }: SessionParts,
  next: AccessToken,
  closed: Promise<string>,
): Promise<boolean> {
  const span = tracer?.('fleetgate.renew', next.traceparent);
  const isRenewed = await brokerSession.renew(next, closed);
  span?.end(isRenewed ? 'ok' : 'not_renewed', tokenAttribute(next.value));
  return isRenewed;
}

/**
 * What ends the time of this token on this connection: the broker's side closes it, the next token is there, or the
 * agent is stopped.
 */
async function endOf(
  parts: SessionParts,
  closed: Promise<string>,
  token: AccessToken,
): Promise<[End, AccessToken?]> {
  const { tokens, emit, signal } = parts;
  const over = new AbortController();
  const renewed = nextToken(tokens, token, {
    signal: AbortSignal.any([signal, over.signal]),
    // The session stays: its token is still good.
    onFailure: (error, retryInMs) =>
      emit('token_failed', { error, kind: tokens.failureKind ?? 'transient', retryInMs }),
  });
  try {
    return await Promise.race([
      closed.then((reason): [End] => [{ kind: 'closed', reason }]),
      renewed.then((next): [End, AccessToken?] =>
        next === undefined ? [{ kind: 'stop' }] : [{ kind: 'renewal' }, next],
      ),
    ]);
  } finally {
    over.abort();
  }
}

// Two connections with one client id are impossible [MQTT-3.1.4-2], so the old one ends before the new one begins,
// with what is under way acknowledged first.
async function leave(
  { connection, outbox, drainTimeoutMs }: SessionParts,
  closed: Promise<string>,
): Promise<void> {
  const over = new AbortController();
  await Promise.race([outbox.idle(), wait(drainTimeoutMs, over.signal), closed]);
  over.abort();
  await connection.close();
}

async function waitAfterFailure(
  { tokens, emit, random, signal }: SessionParts,
  outcome: Exclude<OpenOutcome, { kind: 'open' }>,
  token: AccessToken,
  tally: Tally,
): Promise<void> {
  let retryInMs: number;
  if (outcome.kind === 'unreachable') {
    retryInMs = retryDelayMs({ kind: 'transient', attempt: tally.failures++ }, random);
    emit('unreachable', { reason: outcome.reason, retryInMs });
  } else {
    const { returnCode } = outcome;
    if (returnCode === 4) {
      tokens.invalidate(token);
      const attempt = tally.refusedTokens++ - 1;
      retryInMs = attempt < 0 ? 0 : retryDelayMs({ kind: 'refused', attempt }, random);
    } else {
      // A client that was let out of quarantine, or granted more, is allowed by a new token and never by this one.
      if (returnCode === 5) tokens.invalidate(token);
      retryInMs = retryDelayMs({ kind: connectRefusalKind(returnCode), attempt: tally.failures++ }, random);
    }
    const isPermanent = returnCode === 4 ? retryInMs > 0 : returnCode !== 3;
    emit('refused', { returnCode, isPermanent, retryInMs });
  }
  await wait(retryInMs, signal);
}

function tokenEvent(token: AccessToken): { expiresInSeconds: number; scope?: string } {
  const expiresInSeconds = token.expiresInSeconds();
  return token.scope === undefined ? { expiresInSeconds } : { expiresInSeconds, scope: token.scope };
}
