import { SESSION_TOPIC, type SessionEvent } from '@fleetgate/shared';
import { listGrants } from './authorization/grants.ts';
import { deliverOwn } from './own-topics.ts';
import type { Session } from './session.ts';

/** Tells a client, when it has subscribed to that topic. */
export function tell(session: Session, event: SessionEvent): void {
  if (session.client.closed || !session.filters.has(SESSION_TOPIC)) return;
  deliverOwn(session.client, event);
}

/** Tells a client how long its session lasts and what it may do. */
export function tellGrants(session: Session, event: 'session' | 'renewed'): void {
  const { token, principal } = session;
  tell(session, { event, expires_at: token.expiresAtSeconds, grants: listGrants(principal.grants) });
}
