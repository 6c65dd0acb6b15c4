import { type ListedGrants, listGrants } from './authorization/grants.ts';
import { deliverOwn, SESSION_TOPIC } from './own-topics.ts';
import type { RefusalReason } from './refusal.ts';
import type { Session } from './session.ts';

/** What a client is told of its session, as JSON on `$fleetgate/session`. Times in seconds since 1970. */
export type SessionEvent =
  | { readonly event: 'session' | 'renewed'; readonly expires_at: number; readonly grants: ListedGrants }
  | { readonly event: 'expiring'; readonly expires_at: number }
  | { readonly event: 'refused'; readonly error: RefusalReason };

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
