import { FleetgateError } from '@fleetgate/shared';
import type { ConnectPacket } from 'aedes';
import { type ConnectRefusal, refusalOfError, returnCodes } from './connect.ts';
import type { Core } from './core.ts';
import { followExpiry } from './expiry.ts';
import type { GuardContext } from './guard/guard.ts';
import type { HostClient } from './guard/host.ts';
import { type Connection, createSession, type Session } from './session.ts';

/** `gone`: the client left, so it needs no answer any more, and the host expects none. */
export type ConnectAnswer = 'enter' | 'gone' | ConnectRefusal;

/** From the password of a CONNECT to a session, or to the answer why not: each step in its order. */
export async function authenticate(
  core: Core,
  client: HostClient,
  password: Uint8Array | undefined,
): Promise<ConnectAnswer> {
  const { sessions } = core;
  const completions = core.guards.authenticating.map((guard) => guard.authenticating(client));
  const connection = sessions.connections.get(client);
  const packet = connection?.connect;
  const context = core.guardContext;
  if (connection === undefined || packet === undefined || context === undefined) {
    return { returnCode: returnCodes.notAllowed, reason: 'internal_error' };
  }
  const { verdict, addressKey } = connection.place;
  if (verdict === 'over_limit') {
    return { returnCode: returnCodes.unavailable, reason: 'too_many_connections' };
  }
  if (core.loginRate.mustWait(addressKey, packet.clientId)) {
    const lastReason = core.loginRate.lastReason(addressKey, packet.clientId);
    return {
      returnCode: returnCodes.unavailable,
      reason: 'login_backoff',
      ...(lastReason !== undefined && { lastReason }),
    };
  }
  const answer = await logIn(core, { client, connection, packet, context, password, completions });
  if (answer === 'enter') core.loginRate.note(addressKey, packet.clientId, 0);
  else if (answer !== 'gone') {
    core.loginRate.note(addressKey, packet.clientId, answer.returnCode, answer.reason);
  }
  return answer;
}

interface Login {
  readonly client: HostClient;
  readonly connection: Connection;
  readonly packet: ConnectPacket;
  readonly context: GuardContext;
  readonly password: Uint8Array | undefined;
  /** To be called just before it succeeds. */
  readonly completions: readonly (() => void)[];
}

async function logIn(core: Core, login: Login): Promise<ConnectAnswer> {
  const { settings } = core;
  const { client, connection, packet, context, password, completions } = login;
  let session: Session;
  try {
    const admitted = await core.authority.admit(password, connection.peer);
    session = createSession(client, connection, admitted, settings.now());
    connection.session = session;
  } catch (error) {
    if (!(error instanceof FleetgateError)) core.onError(error);
    return refusalOfError(error);
  }
  const isGone = () => client.closed || connection.stream.destroyed || core.isClosed;
  const { clientId, tokenId } = session.principal;
  const refusal = checkConnect(core, session, packet);
  if (refusal !== undefined) return { ...refusal, clientId, tokenId };
  if (isGone()) return 'gone';
  for (const { enter } of core.guards.enter) {
    const refusal = await new Promise<ConnectRefusal | undefined>((proceed) => {
      enter(session, context, proceed);
    });
    if (refusal !== undefined) return { ...refusal, clientId, tokenId };
  }
  if (isGone()) return 'gone';
  // It may have waited long, and what holds now is what counts: policy, revocations, time.
  session.principal = core.authority.principalOf(session.token);
  const late = checkConnect(core, session, packet);
  if (late !== undefined) return { ...late, clientId, tokenId };
  for (const complete of completions) complete();
  begin(core, session);
  if (password !== undefined) core.watchToken(session, password);
  return 'enter';
}

function checkConnect(
  { authority, connectChecks, feeds, sessions, settings }: Core,
  { client, principal, token }: Session,
  packet: ConnectPacket,
): ConnectRefusal | undefined {
  const will = client._will ?? undefined;
  const attempt = {
    principal,
    packet,
    will,
    nowMs: settings.now(),
    keptOf: sessions.kept.get(packet.clientId),
    keptOfClient: sessions.kept.countOf(token),
    token,
    revokedAs: authority.revokedAs(token),
    lacksRevocations: feeds.get(token.issuer)?.mustRefuse() ?? false,
    settings,
  };
  for (const check of connectChecks) {
    const refusal = check.refuse(attempt);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function begin(core: Core, session: Session): void {
  const { sessions } = core;
  const { client } = session;
  sessions.byClient.set(client, session);
  sessions.entering.set(client.id, session);
  if (client.clean) sessions.kept.forget(client.id);
  else sessions.kept.keep(client.id, session.token);
  followExpiry(core, session);
  core.reports.accepted(session);
}
