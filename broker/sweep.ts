import type { Core } from './core.ts';
import { narrow } from './narrow.ts';
import type { Session } from './session.ts';
import { tellGrants } from './session-events.ts';

/**
 * Sessions treated in one turn of the event loop. Closing one takes some 50 µs with all that hangs on it; ten thousand
 * in one go would stop everything else for a second.
 */
const SESSIONS_PER_TURN = 100;

/** Ends every session whose token has been revoked. Resolves when each was looked at. */
export function cutRevoked(core: Core): Promise<void> {
  return forEachSession(core, (session) => {
    const reason = core.authority.revokedAs(session.token);
    if (reason === undefined || session.client.closed) return false;
    core.reportOf(session.client, { action: 'session', reason });
    session.client.close();
    return true;
  });
}

/** Judges every session by the policy in force, in place. Resolves when each was. */
export function followPolicy(core: Core): Promise<void> {
  return forEachSession(core, (session) => {
    const principal = core.authority.principalOf(session.token);
    if (session.client.closed || principal === session.principal) return false;
    session.principal = principal;
    narrow(core, session);
    tellGrants(session, 'session');
    return true;
  });
}

/** `act` says whether it did something that takes time. */
async function forEachSession(core: Core, act: (session: Session) => boolean): Promise<void> {
  let acted = 0;
  // As they are now: who comes later was admitted by what holds now.
  for (const { client } of Array.from(core.sessions.open)) {
    const session = client && core.sessions.byClient.get(client);
    if (session === undefined) continue;
    try {
      if (act(session)) acted += 1;
    } catch (error) {
      core.onError(error);
    }
    if (acted < SESSIONS_PER_TURN) continue;
    acted = 0;
    await new Promise(setImmediate);
  }
}

/**
 * A run at a time; asked for while one is under way it runs once more behind it, however often that was. Ten thousand
 * revocations in one go are a few walks over the sessions, not ten thousand.
 */
export function runAgainWhileAsked(run: () => Promise<void>): () => Promise<void> {
  let current: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const start = (): Promise<void> => {
    // In a turn of its own, so that what is asked for together is done together.
    const running = new Promise(setImmediate).then(run).finally(() => {
      if (current === running) current = undefined;
    });
    current = running;
    return running;
  };
  return () => {
    if (next !== undefined) return next;
    if (current === undefined) return start();
    next = current
      .catch(() => {})
      .then(() => {
        next = undefined;
        return start();
      });
    return next;
  };
}
