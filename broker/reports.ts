import { type AuditEvent, auditEvent, auditOfRefusal, auditOfSession } from './audit.ts';
import { createLineRate } from './line-rate.ts';
import { type DecidedAction, type Observer, silentObserver } from './observer.ts';
import type { Settings } from './options.ts';
import type { Protocol } from './protocol.ts';
import {
  createReport,
  cutTopic,
  logQuietly,
  type Refusal,
  type RefusalReason,
  type Report,
} from './refusal.ts';
import type { Revocation } from './revocation.ts';
import type { Session, Sessions } from './session.ts';

/** One decision, allowed or refused. Never holds a token or a payload. */
export interface DecisionEvent {
  readonly action: 'connect' | 'publish' | 'will' | 'subscribe' | 'receive' | 'renewal';
  readonly allowed: boolean;
  /** Why not. */
  readonly reason?: RefusalReason | undefined;
  /** The client as its token says; absent before a token was verified. */
  readonly clientId?: string | undefined;
  /** Topic or filter, cut as in a refusal. */
  readonly topic?: string | undefined;
}

/**
 * What happened, told to all who want to know: the log, the observer, the audit trail and the caller's callbacks. One
 * place, so that they agree. Nothing any of them throws comes out of here or keeps another from being told.
 */
export interface Reports {
  readonly refused: Report;
  /** On the way of every message: without `onDecision` one call of the observer, and nothing is allocated. */
  allowed(client: object | null, action: Exclude<DecidedAction, 'packet'>, topic: string): void;
  accepted(session: Session): void;
  /** A client left before its CONNECT was answered. Nothing was decided, so only the observer is told. */
  gone(protocol: Protocol | undefined): void;
  renewed(session: Session): void;
  revoked(kind: Revocation['kind']): void;
  policyChanged(): void;
  verified(seconds: number): void;
}

export function createReports(settings: Settings, sessions: Sessions): Reports {
  const { log, now, onRefusal, onDecision, audit, observer = silentObserver } = settings;
  const onError = (error: unknown) => logQuietly(log, error);

  // Of an async function where a plain one is wanted: a rejection nobody handles would end the process.
  function settle(told: unknown): void {
    if (told instanceof Promise) told.catch(onError);
  }

  function quietly(tell: () => unknown): void {
    try {
      settle(tell());
    } catch (error) {
      onError(error);
    }
  }

  function note(make: (nowMs: number) => AuditEvent | undefined): void {
    if (audit === undefined) return;
    quietly(() => {
      const event = make(now());
      return event && audit(event);
    });
  }

  const isTooMany = createLineRate((owner, count) => {
    note((nowMs) => auditEvent('refused_more', nowMs, { ...owner, count }));
  });

  /** A session that ended is always written down: it does so once. */
  function isAudited(refusal: Refusal): boolean {
    if (audit === undefined || refusal.action === 'receive') return false;
    return refusal.action === 'session' || !isTooMany(refusal);
  }

  // Apart from `allowed`: what its closure holds would be allocated on entry, with or without `onDecision`.
  function tellAllowed(
    onDecision: (decision: DecisionEvent) => void,
    client: object | null,
    action: DecisionEvent['action'],
    topic: string,
  ): void {
    const clientId = client === null ? undefined : sessions.byClient.get(client)?.principal.clientId;
    quietly(() => onDecision({ action, allowed: true, clientId, topic: cutTopic(topic) }));
  }

  function accepted(session: Session, action: 'connect' | 'renewal'): void {
    const { clientId } = session.principal;
    quietly(() => onDecision?.({ action, allowed: true, clientId }));
    const event = action === 'connect' ? 'connect_accepted' : 'renewal_accepted';
    note((nowMs) => auditOfSession(event, session, nowMs));
  }

  return Object.freeze({
    refused: createReport(log, (refusal) => {
      quietly(() => countRefusal(observer, refusal));
      quietly(() => onRefusal(refusal));
      const decision = decisionOf(refusal);
      if (decision !== undefined) quietly(() => onDecision?.(decision));
      if (isAudited(refusal)) note((nowMs) => auditOfRefusal(refusal, nowMs));
    }),
    allowed(client: object | null, action: Exclude<DecidedAction, 'packet'>, topic: string) {
      try {
        settle(observer.decision(action, 'allowed'));
      } catch (error) {
        onError(error);
      }
      if (onDecision !== undefined) tellAllowed(onDecision, client, action, topic);
    },
    accepted(session: Session) {
      quietly(() => observer.connect('accepted', session.connection.protocol));
      accepted(session, 'connect');
    },
    gone(protocol: Protocol | undefined) {
      quietly(() => observer.connect('gone', protocol));
    },
    renewed(session: Session) {
      quietly(() => observer.renewal('accepted'));
      accepted(session, 'renewal');
    },
    revoked(kind: Revocation['kind']) {
      // From a feed of a newer issuer it may be any text.
      quietly(() => observer.revocation(revocationKinds.has(kind) ? kind : 'unknown'));
    },
    policyChanged() {
      note((nowMs) => auditEvent('policy_changed', nowMs));
    },
    verified(seconds: number) {
      quietly(() => observer.verification(seconds));
    },
  });
}

const revocationKinds: ReadonlySet<string> = new Set<Revocation['kind']>([
  'token',
  'client',
  'issued_before',
  'key',
]);

function countRefusal(observer: Observer, { action, reason, protocol }: Refusal): unknown {
  if (action === 'connect') return observer.connect(reason, protocol);
  if (action === 'renewal') return observer.renewal(reason);
  if (action === 'session') return observer.sessionCut(reason);
  if (reason === 'queue_full') return observer.dropped(reason);
  return observer.decision(action, reason);
}

/** The refusals that are decisions: a session that ends, a broken packet and a full queue are not. */
function decisionOf({ action, reason, clientId, topic }: Refusal): DecisionEvent | undefined {
  if (action === 'session' || action === 'packet' || reason === 'queue_full') return undefined;
  return { action, allowed: false, reason, clientId, topic };
}
