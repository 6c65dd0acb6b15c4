import { SESSION_TOPIC, type SessionEvent } from '@fleetgate/shared';
import { listGrants } from './authorization/grants.ts';
import { deliverOwn } from './own-topics.ts';
import type { Session } from './session.ts';

/** Bytes a client may leave unread and still be told: some two hundred events. */
const MAX_UNREAD_BYTES = 65_536;

/** What a PUBLISH of it has beside its payload: the fixed header, and the topic with its length. */
const OVERHEAD_BYTES = 5 + 2 + SESSION_TOPIC.length;

/** Tells a client, when it has subscribed to that topic and reads what it is told. */
export function tell(session: Session, event: SessionEvent): void {
  const { client } = session;
  if (client.closed || !session.filters.has(SESSION_TOPIC)) return;
  // The host writes in a later turn, so those of this one are in no buffer yet.
  if (client.conn.writableLength + session.untoldBytes > MAX_UNREAD_BYTES) return;
  const payload = Buffer.from(JSON.stringify(event));
  const bytes = payload.length + OVERHEAD_BYTES;
  session.untoldBytes += bytes;
  deliverOwn(client, payload, () => {
    session.untoldBytes -= bytes;
  });
}

/** Tells a client how long its session lasts and what it may do. */
export function tellGrants(session: Session, event: 'session' | 'renewed'): void {
  const { token, principal } = session;
  tell(session, { event, expires_at: token.expiresAtSeconds, grants: listGrants(principal.grants) });
}
