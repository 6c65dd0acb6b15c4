import { isSameClient, returnCodes } from '../connect.ts';
import type { Session, Sessions } from '../session.ts';
import type { Guard, GuardContext, Proceed } from './guard.ts';

/**
 * One connection for each client id [MQTT-3.1.4-2], also when several CONNECT at once. The host forgets a connection
 * when another of the same id arrives while it is still closing, and such a ghost keeps receiving. So connections of
 * one id enter one after the other, each only when its token has verified, and only when the one before it is gone.
 * A place in the line is given up when the host has registered the connection, or when it closes.
 */
export const takeover: Guard = {
  name: 'one live connection for each client id',
  install({ broker, sessions }) {
    const lines = new Map<string, Line>();
    linesOf.set(sessions, lines);
    broker.on('client', (client: object) => {
      const session = sessions.byClient.get(client);
      if (session !== undefined) leave(lines, session);
    });
    return undefined;
  },
  enter(session, context, proceed) {
    // Its `close` has been: it would never leave the line.
    if (session.connection.stream.closed) return proceed();
    const lines = linesOf.get(context.sessions) as Map<string, Line>;
    const { id } = session.client;
    const line = lines.get(id) ?? [];
    lines.set(id, line);
    line.push({ session, start: () => endPrevious(session, context, proceed), proceed });
    if (line.length === 1) line[0]?.start();
  },
  closed({ session }, { sessions }) {
    if (session !== undefined) leave(linesOf.get(sessions) as Map<string, Line>, session)?.proceed();
  },
};

interface Waiting {
  readonly session: Session;
  readonly start: () => void;
  readonly proceed: Proceed;
}

type Line = Waiting[];

/** The guards are shared by all plugins of a process; what belongs to one hangs on its sessions. */
const linesOf = new WeakMap<Sessions, Map<string, Line>>();

/** Gives up its place, if it has one still. */
function leave(lines: Map<string, Line>, session: Session): Waiting | undefined {
  const line = lines.get(session.client.id);
  const place = line?.findIndex((waiting) => waiting.session === session) ?? -1;
  if (line === undefined || place === -1) return undefined;
  const [left] = line.splice(place, 1);
  if (line.length === 0) lines.delete(session.client.id);
  else if (place === 0) setImmediate(line[0]?.start as () => void);
  return left;
}

function endPrevious(session: Session, { broker, sessions }: GuardContext, proceed: Proceed): void {
  const previous = sessions.live.get(session.client.id);
  if (previous === undefined || isGone(previous)) {
    proceed();
  } else if (!isSameClient(previous.principal, session.principal)) {
    // Possible only where client ids are bound loosely: a client ends its own connections, nobody else's.
    proceed({ returnCode: returnCodes.identifierRejected, reason: 'client_id_mismatch' });
  } else if (!previous.client.closed) {
    previous.client.close(() => proceed());
  } else {
    // Closing already: the host says when it is done, and the connect deadline bounds the wait.
    const onDisconnect = (client: object) => {
      if (client !== previous.client) return;
      stop();
      proceed();
    };
    const stop = () => broker.off('clientDisconnect', onDisconnect);
    broker.on('clientDisconnect', onDisconnect);
    session.connection.stream.once('close', stop);
  }
}

// What the host does last when it closes a client; it does not say so in every case.
function isGone({ client }: Session): boolean {
  return client.closed && !client.connected && !client.connecting;
}
