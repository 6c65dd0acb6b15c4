import { FleetgateError, TokenError } from '@fleetgate/shared';
import { isSameClient } from './connect.ts';
import type { Core } from './core.ts';
import { followExpiry } from './expiry.ts';
import { narrow } from './narrow.ts';
import { discard } from './own-topics.ts';
import type { RefusalReason } from './refusal.ts';
import type { Session } from './session.ts';
import { tell, tellGrants } from './session-events.ts';
import { inSpan } from './spans.ts';

/** Tokens of one session that may wait for their verification; each is verified behind the one before. */
const MAX_WAITING_RENEWALS = 8;

/**
 * Renewal in place: a new token of the same client takes the place of the session's. `acknowledge` is called when it
 * has been dealt with, so a client that has its PUBACK holds the new grants. A refused one changes nothing.
 */
export function renew(
  core: Core,
  session: Session,
  packet: { topic: string; payload: string | Uint8Array; retain: boolean },
  acknowledge: () => void,
): void {
  const token = Buffer.from(packet.payload as Uint8Array);
  // Whatever becomes of it, nobody else is to see it.
  discard(packet);
  const finish = () => {
    session.renewals -= 1;
    acknowledge();
  };
  session.renewals += 1;
  if (session.renewals > MAX_WAITING_RENEWALS) {
    refuse(core, session, 'too_many_renewals');
    finish();
    return;
  }
  session.renewing = session.renewing
    .then(() => inSpan(stepOf(core, session), () => replaceToken(core, session, token)))
    .catch(core.onError)
    .then(finish)
    .catch(core.onError);
}

function stepOf({ onError }: Core, session: Session) {
  const { protocol } = session.connection;
  // Of one that was refused it is that of the token that stays.
  const tokenId = () => session.principal.tokenId;
  return {
    name: 'fleetgate.renew',
    protocol,
    resultOf: (result: Renewed) => result,
    tokenId,
    onError,
  } as const;
}

/** `gone`: the session ended meanwhile. */
type Renewed = 'accepted' | 'gone' | RefusalReason;

async function replaceToken(core: Core, session: Session, bytes: Uint8Array): Promise<Renewed> {
  const { client, connection } = session;
  try {
    const { token, principal } = await core.authority.admit(bytes, connection.peer);
    if (!isSameClient(principal, session.principal)) {
      // Not by what it was sent with, and not by another issuer's client of the same name.
      throw new TokenError('token_claim_invalid', 'the token is of another client');
    }
    if (client.closed || core.isClosed) return 'gone';
    session.token = token;
    session.principal = principal;
    if (!client.clean) core.sessions.kept.keep(client.id, token);
  } catch (error) {
    if (!(error instanceof FleetgateError)) core.onError(error);
    return refuse(core, session, error instanceof TokenError ? error.code : 'internal_error');
  }
  followExpiry(core, session);
  core.watchToken(session, bytes);
  const context = core.guardContext;
  if (context !== undefined) for (const { renewed } of core.guards.renewed) renewed(session, context);
  narrow(core, session);
  core.reports.renewed(session);
  tellGrants(session, 'renewed');
  return 'accepted';
}

function refuse(core: Core, session: Session, reason: RefusalReason): RefusalReason {
  core.reportOf(session.client, { action: 'renewal', reason });
  tell(session, { event: 'refused', error: reason });
  return reason;
}
