import { SESSION_TOPIC, type SessionEvent } from '@fleetgate/shared';
import { listGrants } from './authorization/grants.ts';
import { deliverOwn } from './own-topics.ts';
import type { Session } from './session.ts';

/** Bytes a client may leave unread and still be told: some two hundred events. */
const MAX_UNREAD_BYTES = 65_536;

/** Tells a client, when it has subscribed to that topic and reads what it is told. */
export function tell(session: Session, event: SessionEvent): void {
  if (session.client.closed || !session.filters.has(SESSION_TOPIC)) return;
  if (session.client.conn.writableLength > MAX_UNREAD_BYTES) return;
  deliverOwn(session.client, event);
}

/** Tells a client how long its session lasts and what it may do. */
export function tellGrants(session: Session, event: 'session' | 'renewed'): void {
  const { token, principal } = session;
  tell(session, { event, expires_at: token.expiresAtSeconds, grants: listGrants(principal.grants) });
}
