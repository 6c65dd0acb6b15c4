import type { Core } from './core.ts';
import type { Session } from './session.ts';
import { tell } from './session-events.ts';

/** Longest time ahead of expiry that a client is warned, in seconds. */
const MAX_WARNING_SECONDS = 60;

/**
 * Seconds before `exp` at which a client is told that its session expires: a tenth of the token's lifetime, at most
 * 60. An agent renews between 70 % and 80 % of the lifetime; this is for those that did not.
 */
export function warningLeadSeconds(token: { issuedAtSeconds: number; expiresAtSeconds: number }): number {
  return Math.min(MAX_WARNING_SECONDS, (token.expiresAtSeconds - token.issuedAtSeconds) / 10);
}

/** Warns and ends a session by its token; called again when that was replaced. */
export function followExpiry(core: Core, session: Session): void {
  const { token } = session;
  core.expiries.cancel(session.deadline);
  const warnAtMs = (token.expiresAtSeconds - warningLeadSeconds(token)) * 1000;
  if (core.settings.now() >= warnAtMs) awaitExpiry({ core, session });
  else session.deadline = core.expiries.add(warnAtMs, warn, { core, session });
}

interface Followed {
  readonly core: Core;
  readonly session: Session;
}

function warn(followed: Followed): void {
  const { session } = followed;
  awaitExpiry(followed);
  tell(session, { event: 'expiring', expires_at: session.token.expiresAtSeconds });
}

function awaitExpiry(followed: Followed): void {
  const { core, session } = followed;
  session.deadline = core.expiries.add(session.principal.expiresAtMs, expire, followed);
}

function expire({ core, session: { client } }: Followed): void {
  core.reportOf(client, { action: 'session', reason: 'session_expired' });
  client.close();
}
