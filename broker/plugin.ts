import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { FleetgateError } from '@fleetgate/shared';
import type { Aedes, AedesOptions, AuthenticateError, ConnectPacket } from 'aedes';
import { createGate } from './admission.ts';
import type { Attempt, Decision } from './authorization/decide.ts';
import { decide, refused } from './authorization/decide.ts';
import type { ConnectCheck, ConnectRefusal } from './connect.ts';
import { connectChecks, refusalOfError, returnCodes, willAttempt } from './connect.ts';
import { createDeadlines } from './deadlines.ts';
import type { Guard, GuardContext } from './guard/guard.ts';
import { guards } from './guard/guards.ts';
import type { HostBroker, HostClient, HostWill } from './guard/host.ts';
import { missingOfHost } from './guard/host.ts';
import type { PluginOptions, Settings } from './options.ts';
import { prepareOptions } from './options.ts';
import type { Refusal } from './refusal.ts';
import { createReport, logQuietly } from './refusal.ts';
import type { Connection, Session } from './session.ts';
import { createSessions } from './session.ts';
import { createVerifier } from './verifier/verify.ts';

/** What is given to Aedes when it is made: its hooks, and those of its own limits that follow ours. */
export type AedesHooks = Required<
  Pick<
    AedesOptions,
    | 'preConnect'
    | 'authenticate'
    | 'authorizePublish'
    | 'authorizeSubscribe'
    | 'authorizeForward'
    | 'connectTimeout'
    | 'drainTimeout'
    | 'maxClientsIdLength'
  >
>;

export interface Fleetgate {
  readonly hooks: AedesHooks;
  /**
   * Puts the guards in front of a broker made with {@link hooks}. Before the first connection, once; until then, and
   * for connections that do not come through `broker.handle`, everything is refused.
   */
  attach(broker: Aedes): void;
  /** Sockets that are open, sessions or not. */
  readonly connections: ReadonlySet<{ readonly stream: Duplex; readonly client?: { pause(): void } }>;
  /** Denies everything from now on and stops the timers; close the broker first. */
  close(): void;
}

const HOST_TIMEOUT_MARGIN_MS = 5_000;

/** What a test may leave out to see that it is needed. There is no such option for users. */
export interface Parts {
  readonly guards: readonly Guard[];
  readonly connectChecks: readonly ConnectCheck[];
}

/**
 * Authorization of an Aedes broker by access tokens.
 *
 * ```ts
 * const auth = fleetgate({ issuers: [{ issuer: 'https://auth.example.com', keys: { jwksUri } }], policy });
 * const broker = await Aedes.createBroker({ ...auth.hooks });
 * auth.attach(broker);
 * ```
 *
 * @throws TypeError for a mistake in the options, FleetgateError `not_supported`
 */
export function fleetgate(options: PluginOptions): Fleetgate {
  return createPlugin(prepareOptions(options), { guards, connectChecks });
}

/** The plugin of `settings`, made of `parts`. */
export function createPlugin(settings: Settings, parts: Parts): Fleetgate {
  const { limits, log, now } = settings;
  const sessions = createSessions();
  const gate = createGate(limits);
  const report = createReport(log, settings.onRefusal);
  const verify = createVerifier(settings);
  const onError = (error: unknown) => logQuietly(log, error);
  const monotonicMs = () => performance.now();
  const expiries = createDeadlines({ now, onError });
  const connectDeadlines = createDeadlines({ now: monotonicMs, onError });
  let context: GuardContext | undefined;
  let isClosed = false;

  /**
   * The one way from a hook to a decision. Whoever has no session of ours has no principal, whatever the host's
   * client object says; what is thrown on the way denies.
   */
  function rule(client: object | null, attempt: Attempt, isWill = false): Decision {
    try {
      const session = client === null || isClosed ? undefined : sessions.byClient.get(client);
      // A will is judged as of CONNECT: a session that ends at its expiry still leaves it.
      return decide(
        session?.principal,
        attempt,
        isWill && session !== undefined ? session.startedAtMs : now(),
      );
    } catch (error) {
      onError(error);
      return refused.internal_error;
    }
  }

  function reportOf(client: object | null, refusal: Omit<Refusal, 'address'>): void {
    const session = client === null ? undefined : sessions.byClient.get(client);
    const address = (session?.connection ?? (client && sessions.connections.get(client)))?.address;
    // A topic is logged only of someone we know.
    const { topic, ...rest } = refusal;
    report(
      session === undefined
        ? { ...rest, address }
        : { ...rest, topic, clientId: session.principal.clientId, address },
    );
  }

  const hooks: AedesHooks = {
    // The host's own, which ends at CONNECT, after ours: only ours is reported.
    connectTimeout: limits.connectTimeoutSeconds * 1000 + HOST_TIMEOUT_MARGIN_MS,
    drainTimeout: limits.drainTimeoutSeconds * 1000,
    // Only for MQTT 3.1, which is refused.
    maxClientsIdLength: 23,

    preConnect(client, packet, callback) {
      const reason = screenConnect(client as HostClient, packet);
      if (reason === undefined) return callback(null, true);
      reportOf(client, { action: 'connect', reason });
      callback(denial(reason), false);
    },

    authenticate(client, _userName, password, callback) {
      const host = client as HostClient;
      connect(host, password)
        .then(
          (answer) => {
            // A client that is gone needs no answer, and the host expects none.
            if (answer === 'gone') return;
            if (answer === 'enter') return callback(null, true);
            reportOf(client, { action: 'connect', ...answer });
            callback(connectError(answer), false);
          },
          (error) => {
            onError(error);
            callback(connectError({ returnCode: returnCodes.unavailable, reason: 'internal_error' }), false);
          },
        )
        .catch((error) => {
          onError(error);
          host.conn.destroy();
        });
    },

    authorizePublish(client, packet, callback) {
      const host = client as HostClient | null;
      if (host === null) return callback(refuseWillOfLostPeer(packet as unknown as LostWill));
      const isWill = host.will !== undefined && host.will === (packet as unknown as HostWill);
      const decision = isWill ? ruleWill(host, host.will as HostWill) : rulePublish(host, packet);
      if (decision.allowed) return callback(null);
      const { reason } = decision;
      reportOf(client, { action: isWill ? 'will' : 'publish', reason, topic: packet.topic });
      callback(denial(reason));
    },

    authorizeSubscribe(client, subscription, callback) {
      const decision = judgeSubscription(client, subscription);
      if (decision.allowed) return callback(null, subscription);
      const { reason } = decision;
      reportOf(client, { action: 'subscribe', reason, topic: subscription.topic });
      // An error closes the connection; a refusal is return code 0x80 for this filter.
      if (reason === 'filter_malformed' || !sessions.byClient.has(client)) return callback(denial(reason));
      callback(null, null);
    },

    authorizeForward(client, packet) {
      const decision = rule(client, { action: 'receive', topic: packet.topic });
      if (decision.allowed) return packet;
      reportOf(client, { action: 'receive', reason: decision.reason, topic: packet.topic });
      return null;
    },
  };

  function screenConnect(client: HostClient, packet: ConnectPacket) {
    try {
      const connection = sessions.connections.get(client);
      // Not attached, or a connection that went past the guards.
      if (connection === undefined || isClosed) return 'internal_error';
      connection.connect = { ...packet };
      for (const guard of parts.guards) {
        const reason = guard.connect?.(client, packet);
        if (reason !== undefined) return reason;
      }
      return undefined;
    } catch (error) {
      onError(error);
      return 'internal_error';
    }
  }

  /** From a password to a session, or to the answer why not. */
  async function connect(
    client: HostClient,
    password: Uint8Array | undefined,
  ): Promise<'enter' | 'gone' | ConnectRefusal> {
    const completions = parts.guards.map((guard) => guard.authenticating?.(client));
    const connection = sessions.connections.get(client);
    const packet = connection?.connect;
    if (connection === undefined || packet === undefined || context === undefined) {
      return { returnCode: returnCodes.notAllowed, reason: 'internal_error' };
    }
    if (connection.isOverLimit) {
      return { returnCode: returnCodes.unavailable, reason: 'too_many_connections' };
    }
    let session: Session;
    try {
      const principal = await verify(password);
      const startedAtMs = now();
      session = { client, connection, principal, startedAtMs, filters: new Set() };
    } catch (error) {
      if (!(error instanceof FleetgateError)) onError(error);
      return refusalOfError(error);
    }
    const { clientId } = session.principal;
    const refusal = checkConnect(session, packet);
    if (refusal !== undefined) return { ...refusal, clientId };
    if (client.closed || isClosed) return 'gone';
    for (const { enter } of parts.guards) {
      if (enter === undefined) continue;
      const refusal = await new Promise<ConnectRefusal | undefined>((proceed) => {
        enter(session, context as GuardContext, proceed);
      });
      if (refusal !== undefined) return { ...refusal, clientId };
    }
    if (client.closed || isClosed) return 'gone';
    const late = checkConnect(session, packet);
    if (late !== undefined) return { ...late, clientId };
    for (const complete of completions) complete?.();
    begin(session);
    return 'enter';
  }

  function checkConnect({ client, principal }: Session, packet: ConnectPacket): ConnectRefusal | undefined {
    const attempt = { principal, packet, will: client._will ?? undefined, nowMs: now(), settings };
    for (const check of parts.connectChecks) {
      const refusal = check.refuse(attempt);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  function begin(session: Session): void {
    const { client, connection, principal } = session;
    sessions.byClient.set(client, session);
    sessions.entering.set(client.id, session);
    const expiry = expiries.add(principal.expiresAtMs, () => {
      reportOf(client, { action: 'session', reason: 'session_expired' });
      client.close();
    });
    connection.stream.once('close', () => {
      expiry.cancel();
      if (sessions.entering.get(client.id) === session) sessions.entering.delete(client.id);
    });
  }

  function rulePublish(
    client: HostClient,
    packet: { topic: string; qos: 0 | 1 | 2; retain: boolean; payload: Uint8Array | string },
  ): Decision {
    // What a closing client still had in the air was not accepted before.
    if (client.closed) return refused.not_authenticated;
    const { topic, qos, retain, payload } = packet;
    const bytes = typeof payload === 'string' ? Buffer.byteLength(payload) : (payload?.length ?? Infinity);
    return rule(client, { action: 'publish', topic, qos, retain, bytes });
  }

  function ruleWill(client: HostClient, will: HostWill): Decision {
    return rule(client, willAttempt(will), true);
  }

  interface LostWill {
    readonly clientId: string;
    readonly brokerId: string;
  }

  /**
   * The will of a client of a broker that is gone. Nobody here knows what that client was granted, so it is not
   * published, and not kept: the host would stumble over it again and again, and over those behind it never.
   */
  function refuseWillOfLostPeer({ clientId, brokerId }: LostWill): Error {
    report({ action: 'will', reason: 'not_authenticated' });
    context?.broker.persistence.delWill({ id: clientId, brokerId }).catch(onError);
    return denial('not_authenticated');
  }

  function judgeSubscription(client: object, { topic, qos }: { topic: string; qos: 0 | 1 | 2 }): Decision {
    const decision = rule(client, { action: 'subscribe', filter: topic, qos });
    const filters = sessions.byClient.get(client)?.filters;
    if (!decision.allowed || filters === undefined || filters.has(topic)) return decision;
    if (filters.size >= limits.maxSubscriptionsPerClient) return refused.too_many_subscriptions;
    filters.add(topic);
    return decision;
  }

  function attach(aedes: Aedes): void {
    if (context !== undefined) throw new TypeError('attach was called before');
    const missing = missingOfHost(aedes);
    if (missing.length > 0)
      throw new TypeError(`this is no Aedes 1.2 broker: it lacks ${missing.join(', ')}`);
    for (const name of [
      'preConnect',
      'authenticate',
      'authorizePublish',
      'authorizeSubscribe',
      'authorizeForward',
    ] as const) {
      if (aedes[name] !== hooks[name]) throw new TypeError(`the broker was not made with our ${name}`);
    }
    const broker = aedes as HostBroker;
    const made: GuardContext = {
      broker,
      limits,
      sessions,
      connectDeadlines,
      monotonicMs,
      judgeSubscription,
      report,
      log,
    };
    context = made;
    followSessions(broker);
    for (const guard of parts.guards) guard.install?.(made);
    const handle = broker.handle;
    broker.handle = (stream, request) => {
      const connection = open(stream, request?.socket);
      // The declared return type knows no refusal; callers of `handle` do not use it.
      if (connection === undefined) return undefined as never;
      for (const guard of parts.guards) guard.accept?.(connection, made);
      const client = handle.call(broker, stream, request) as HostClient;
      connection.client = client;
      sessions.connections.set(client, connection);
      for (const guard of parts.guards) guard.watch?.(client, connection, made);
      return client;
    };
  }

  function open(stream: Duplex, socket: Socket | undefined): Connection | undefined {
    const address = socket?.remoteAddress ?? (stream as { remoteAddress?: string }).remoteAddress;
    const admission = gate.admit(address);
    if (admission.verdict === 'closed' || isClosed) {
      report({ action: 'connect', reason: 'too_many_connections', address });
      stream.on('error', () => {});
      stream.destroy();
      return undefined;
    }
    const isOverLimit = admission.verdict === 'over_limit';
    const connection: Connection = {
      stream,
      socket,
      address,
      isOverLimit,
      isEstablished: false,
      onEstablished: [],
    };
    sessions.open.add(connection);
    stream.once('close', () => {
      sessions.open.delete(connection);
      admission.release();
    });
    return connection;
  }

  function followSessions(broker: HostBroker): void {
    broker.on('client', (client: object) => {
      const session = sessions.byClient.get(client);
      if (session === undefined) return;
      sessions.entering.delete(session.client.id);
      sessions.live.set(session.client.id, session);
    });
    broker.on('clientDisconnect', (client: object) => {
      const session = sessions.byClient.get(client);
      if (session === undefined || sessions.live.get(session.client.id) !== session) return;
      sessions.live.delete(session.client.id);
    });
    broker.on('connackSent', (packet: { returnCode?: number }, client: object) => {
      const connection = sessions.connections.get(client);
      if (connection === undefined) return;
      // Said by the host itself, before it asks us.
      if (packet.returnCode === 1) reportOf(client, { action: 'connect', reason: 'protocol_refused' });
      if (packet.returnCode !== 0) return;
      connection.isEstablished = true;
      for (const listener of connection.onEstablished.splice(0)) listener();
    });
    broker.on('unsubscribe', (filters: string[], client: object) => {
      const granted = sessions.byClient.get(client)?.filters;
      for (const filter of filters) granted?.delete(filter);
    });
  }

  return Object.freeze({
    hooks: Object.freeze(hooks),
    attach,
    connections: sessions.open,
    close() {
      isClosed = true;
      expiries.close();
      connectDeadlines.close();
    },
  });
}

function denial(reason: string): Error {
  return new Error(`refused: ${reason}`);
}

function connectError({ returnCode, reason }: ConnectRefusal): AuthenticateError {
  return Object.assign(denial(reason), { returnCode }) as AuthenticateError;
}
