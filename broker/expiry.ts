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
  const { expiries, settings, reportOf } = core;
  const { token, principal, client } = session;
  session.deadline?.cancel();
  const expire = () => {
    reportOf(client, { action: 'session', reason: 'session_expired' });
    client.close();
  };
  const awaitExpiry = () => {
    session.deadline = expiries.add(principal.expiresAtMs, expire);
  };
  const warnAtMs = (token.expiresAtSeconds - warningLeadSeconds(token)) * 1000;
  const warn = () => {
    awaitExpiry();
    tell(session, { event: 'expiring', expires_at: token.expiresAtSeconds });
  };
  if (settings.now() >= warnAtMs) awaitExpiry();
  else session.deadline = expiries.add(warnAtMs, warn);
}
