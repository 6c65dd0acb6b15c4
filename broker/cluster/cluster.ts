import type { ReasonCode } from '@fleetgate/shared';
import type { VerifiedToken } from '@fleetgate/verifier';
import { decide } from '../authorization/decide.ts';
import { clientKey } from '../client-key.ts';
import { type ConnectRefusal, returnCodes, willAttempt } from '../connect.ts';
import type { Guard, GuardContext } from '../guard/guard.ts';
import type { HostClient, HostWill } from '../guard/host.ts';
import type { KeptSessions } from '../kept-sessions.ts';
import type { Settings } from '../options.ts';
import { logQuietly, type RefusalReason } from '../refusal.ts';
import type { Session } from '../session.ts';
import { createBusWindow } from './bus-window.ts';
import { createDirectory } from './directory.ts';
import { durabilityProblems } from './durability.ts';
import { createEmitter, isNumbered, type NumberedPacket } from './emitter.ts';
import { createLink } from './link.ts';
import { createMembership } from './membership.ts';
import type { ClusterSettings } from './options.ts';
import { createOutbox, MAX_PACKET_ID, type Outbox, openOutbox } from './outbox.ts';
import { createPersistence } from './persistence.ts';
import { type LeftWill, type Outgoing, publish } from './publisher.ts';
import { CONNECTED_FACTOR } from './scripts/publish.ts';
import { type BusMessage, decodeBus, decodeMessage } from './wire.ts';

/** Connections ended in one turn of the event loop. */
const CLOSED_PER_TURN = 100;

/** Between two looks at whether all that was read has been stored. */
const DRAIN_POLL_MS = 10;
const MAX_DRAIN_MS = 1_000;

/** Brokers that serve one fleet together: sessions, queues, retained messages and wills are in one Redis. */
export interface Cluster {
  /** What the host is made with. */
  readonly host: { readonly mq: unknown; readonly persistence: unknown };
  readonly guard: Guard;
  readonly kept: KeptSessions;
  /** Why it should get no new connections; empty when it is ready. */
  problems(): string[];
  readonly isUp: boolean;
  /** Times Redis was lost, and every session here with it. */
  readonly losses: number;
  /** Resolves when the first try to join was made. A Redis that is away is tried again until `close`. */
  start(): Promise<void>;
  /** Behind the host's. */
  close(): Promise<void>;
}

/** What is kept of a will for the case that its broker dies. */
interface StoredWill {
  readonly topic: string;
  readonly payload: string;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly token: VerifiedToken;
  readonly startedAtMs: number;
}

export function createCluster(clusterSettings: ClusterSettings, settings: Settings): Cluster {
  const { prefix } = clusterSettings;
  const { limits, log } = settings;
  const onError = (error: unknown) => logQuietly(log, error);
  const directory = createDirectory(onError);
  const emitter = createEmitter();
  const busWindow = createBusWindow();
  const outboxes = new WeakMap<object, Outbox>();
  /** Sessions of this broker, from when they are claimed, by MQTT client id. */
  const claims = new Map<string, Session>();
  let connections = 0;
  let underWay = 0;
  let context: GuardContext | undefined;

  const link = createLink(clusterSettings, log, {
    bus(data) {
      let message: BusMessage;
      try {
        message = decodeBus(data);
      } catch (error) {
        // Somebody else's: one of ours would leave a gap before the next.
        return onError(error);
      }
      if (!directory.apply(message)) return link.drop('messages of the bus were lost');
      busWindow.read(message.seq);
      try {
        act(message);
      } catch (error) {
        onError(error);
      }
    },
    async open(store) {
      directory.forget();
      await membership.join(store);
      await directory.load(store, prefix);
      // Of a Redis that does not tell, nothing is said.
      const problems = await durabilityProblems(store).catch(() => []);
      if (problems.length > 0)
        warn({ event: 'cluster_may_forget', problems }, 'this Redis may lose sessions');
    },
    lost() {
      directory.lost();
      busWindow.reset();
      endAll().catch(onError);
    },
  });
  const membership = createMembership({
    settings: clusterSettings,
    link: () => link,
    publishWill,
    onDead: (broker) => warn({ event: 'cluster_broker_dead', broker }, 'a broker of this Redis is dead'),
    onError,
  });

  function warn(line: object, text: string): void {
    try {
      log.warn(line, text);
    } catch (error) {
      onError(error);
    }
  }

  function act(message: BusMessage): void {
    if (message.kind === 'message') emitter.deliver(message.seq, decodeMessage(message.body));
    else if (message.kind === 'taken') onTaken(message.id, message.owner, message.seq);
    else if (message.kind === 'cut') onCut(message.id, message.owner, message.reason as RefusalReason);
  }

  function onTaken(id: string, owner: string, seq: number): void {
    const session = claims.get(id);
    const box = session && outboxes.get(session.client);
    if (session === undefined || box === undefined || box.owner === owner) return;
    box.takenAt = Math.max(box.takenAt, seq);
    // It may be that this one took it behind that, and has not been told yet.
    if (seq > box.claimedAt && box.claimedAt !== Number.POSITIVE_INFINITY) session.client.close();
  }

  function onCut(id: string, owner: string, reason: RefusalReason): void {
    const session = claims.get(id);
    if (session === undefined || outboxes.get(session.client)?.owner !== owner) return;
    end(session, reason);
  }

  function end({ client, principal, connection }: Session, reason: RefusalReason): void {
    const { address } = connection;
    context?.report({ action: 'session', reason, clientId: principal.clientId, address });
    client.close();
  }

  /** Nobody is served by what this broker missed. Wills are left to whoever finds it dead under its old name. */
  async function endAll(): Promise<void> {
    let ended = 0;
    for (const { client, session, stream } of Array.from(context?.sessions.open ?? [])) {
      if (session !== undefined) {
        const { principal, connection } = session;
        const { address } = connection;
        context?.report({
          action: 'session',
          reason: 'cluster_unavailable',
          clientId: principal.clientId,
          address,
        });
      }
      if (client !== undefined) {
        client.will = null;
        client._will = null;
      }
      stream.destroy();
      ended += 1;
      if (ended % CLOSED_PER_TURN === 0) await new Promise(setImmediate);
    }
  }

  async function claim(session: Session): Promise<ConnectRefusal | undefined> {
    const { client, connection, token, startedAtMs } = session;
    // What the host's client says of it is not so before it has authenticated.
    const isClean = connection.connect?.clean === true;
    const { id } = client;
    connections += 1;
    const box = createOutbox(id, `${membership.id}:${connections}`);
    outboxes.set(client, box);
    claims.set(id, session);
    const will = client._will ?? undefined;
    const stored: StoredWill | undefined = will && {
      ...willAttempt(will),
      payload: Buffer.from(will.payload ?? nothing).toString('base64'),
      token,
      startedAtMs,
    };
    try {
      const [word, ...opened] = (await link
        .store()
        .claimSession(
          prefix,
          id,
          box.owner,
          clientKey(token),
          isClean ? '1' : '',
          JSON.stringify(token),
          stored === undefined ? '' : JSON.stringify(stored),
          JSON.stringify(shown(session, isClean)),
          limits.maxSessionsPerClient,
        )) as string[];
      if (word === 'mismatch') {
        return { returnCode: returnCodes.identifierRejected, reason: 'client_id_mismatch' };
      }
      if (word === 'too_many_sessions') {
        return { returnCode: returnCodes.unavailable, reason: word };
      }
      if (word !== 'ok') {
        link.drop('taken for dead by other brokers');
        return unavailable;
      }
      openOutbox(box, client, opened);
      // What others did before is known here too, and what this claim did.
      while (directory.applied < box.claimedAt) await directory.next();
      return box.takenAt > box.claimedAt
        ? { returnCode: returnCodes.unavailable, reason: 'session_moved' }
        : undefined;
    } catch {
      return unavailable;
    }
  }

  function release({ client }: Session): void {
    const box = outboxes.get(client);
    if (box === undefined) return;
    if (claims.get(box.id)?.client === client) claims.delete(box.id);
    if (!link.isUp) return;
    link
      .store()
      .releaseSession(prefix, box.id, box.owner, client.clean ? '1' : '')
      .catch(ignore);
  }

  async function accept(
    client: HostClient,
    packet: Outgoing,
    isWill: boolean,
  ): Promise<ReasonCode | undefined> {
    const session = context?.sessions.byClient.get(client);
    const box = outboxes.get(client);
    if (context === undefined || session === undefined || box === undefined) return 'not_authenticated';
    const { mayReceive, report } = context;
    const bytes = packet.topic.length + (packet.payload?.length ?? 0);
    underWay += 1;
    await busWindow.enter(bytes);
    try {
      const all = { prefix, link, directory, limits, mayReceive, report };
      return await publish(all, packet, isWill ? { owner: box.owner } : box, clientKey(session.token));
    } catch {
      return 'cluster_unavailable';
    } finally {
      busWindow.published(bytes, packet.brokerCounter, directory.applied);
      underWay -= 1;
    }
  }

  async function publishWill(left: LeftWill, text: string): Promise<void> {
    if (context === undefined) return;
    const { mayReceive, principalOf, report } = context;
    const { topic, payload, qos, retain, token, startedAtMs } = JSON.parse(text) as StoredWill;
    const will: HostWill = { topic, payload: Buffer.from(payload, 'base64'), qos, retain };
    const decision = decide(principalOf(token), willAttempt(will), startedAtMs);
    const refused = decision.allowed
      ? await publish(
          { prefix, link, directory, limits, mayReceive, report },
          { ...will, qos, retain },
          left,
          clientKey(token),
        )
      : decision.reason;
    if (refused === undefined || refused === 'session_moved') return;
    const { clientId } = token;
    report({ action: 'will', reason: refused, clientId, topic });
  }

  /** A live message goes to a session once, and what is older than it only by its queue. */
  function isDue(client: HostClient, packet: NumberedPacket & { messageId?: number; qos?: number }): boolean {
    const box = outboxes.get(client);
    if (box === undefined || !isNumbered(packet) || packet.messageId !== undefined) return true;
    const seq = packet.brokerCounter as number;
    if (seq <= box.claimedAt || box.fromQueue.delete(seq)) return false;
    if (client.clean || !box.isReading || (packet.qos ?? 0) === 0) return true;
    box.leftToQueue = seq;
    return false;
  }

  function withheld(client: HostClient, packet: NumberedPacket & { messageId?: number; qos?: number }): void {
    const box = outboxes.get(client);
    if (box === undefined || client.clean || !isNumbered(packet) || packet.messageId !== undefined) return;
    if ((packet.qos ?? 0) === 0 || !link.isUp) return;
    link
      .store()
      .refuseQueued(prefix, box.id, box.owner, packet.brokerCounter as number)
      .catch(ignore);
  }

  const guard: Guard = {
    name: 'a session is of one connection among all brokers, and its messages are stored before they are acknowledged',
    install(given) {
      context = given;
      return { deliver: isDue, withheld, publish: accept };
    },
    enter: (session, _context, proceed) => void claim(session).then(proceed, proceed),
    closed({ session }) {
      if (session !== undefined) release(session);
    },
    renewed(session) {
      const box = outboxes.get(session.client);
      if (box === undefined || !link.isUp) return;
      const isKept = session.client.clean ? '' : '1';
      const { token } = session;
      link
        .store()
        .keepToken(
          prefix,
          box.id,
          box.owner,
          isKept,
          JSON.stringify(token),
          JSON.stringify(shown(session, session.client.clean)),
        )
        .catch(ignore);
    },
  };

  return Object.freeze({
    host: Object.freeze({
      mq: emitter.mq,
      persistence: createPersistence({
        prefix,
        link,
        directory,
        busWindow,
        outboxes,
        maxUnderWay: Math.min(MAX_PACKET_ID, limits.maxQueuedMessagesPerClient * CONNECTED_FACTOR),
        full(client) {
          const session = context?.sessions.byClient.get(client);
          if (session !== undefined) end(session, 'queue_full');
        },
      }),
    }),
    guard,
    kept: directory.kept,
    problems: () => (link.isUp ? [] : ['the Redis of the brokers is away']),
    get isUp() {
      return link.isUp;
    },
    get losses() {
      return link.losses;
    },
    start: () => link.start(),
    async close() {
      const endMs = performance.now() + MAX_DRAIN_MS;
      while (underWay > 0 && performance.now() < endMs) {
        await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
      }
      membership.stop();
      if (link.isUp) await Promise.race([membership.leave().catch(ignore), unheld(MAX_DRAIN_MS)]);
      link.close();
    },
  });
}

const unavailable: ConnectRefusal = Object.freeze({
  returnCode: returnCodes.unavailable,
  reason: 'cluster_unavailable',
});

const nothing = new Uint8Array(0);

/** The link is lost, and with it every session: whoever asked has nobody to tell. */
function ignore(): void {}

function unheld(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs).unref());
}

/** What `fleetgate sessions` shows of a session; of clients and times, never of the token itself. */
function shown({ connection, token, startedAtMs }: Session, clean: boolean) {
  const { clientId, issuer, expiresAtSeconds } = token;
  return {
    clientId,
    issuer,
    expiresAtSeconds,
    startedAtMs,
    clean,
    address: connection.address,
    protocol: connection.protocol,
  };
}
