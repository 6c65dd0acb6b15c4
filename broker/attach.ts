import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { addressKey, SESSION_TOPIC } from '@fleetgate/shared';
import { certificateThumbprint, type Peer } from '@fleetgate/verifier';
import type { Aedes } from 'aedes';
import type { Core } from './core.ts';
import type { GuardContext } from './guard/guard.ts';
import {
  type HostBroker,
  type HostClient,
  type HostParser,
  missingOfHost,
  type WirePacket,
} from './guard/host.ts';
import { type AedesHooks, decidingHooks } from './hooks.ts';
import { originOf } from './listener/origin.ts';
import { protocolOf } from './protocol.ts';
import type { Connection } from './session.ts';
import { tellGrants } from './session-events.ts';
import { judgeSubscription, mayReceive } from './subscription.ts';

/**
 * Puts the guards in front of a broker made with `hooks`.
 * @throws TypeError when that was done before, or this is no Aedes 1.2 broker made with these hooks
 */
export function attach(core: Core, hooks: AedesHooks, aedes: Aedes): void {
  const { settings, sessions, connectDeadlines, monotonicMs, report } = core;
  if (core.guardContext !== undefined) throw new TypeError('attach was called before');
  const missing = missingOfHost(aedes);
  if (missing.length > 0) throw new TypeError(`this is no Aedes 1.2 broker: it lacks ${missing.join(', ')}`);
  for (const name of decidingHooks) {
    if (aedes[name] !== hooks[name]) throw new TypeError(`the broker was not made with our ${name}`);
  }
  const broker = aedes as HostBroker;
  if (broker.mq.concurrency > 0) {
    throw new TypeError(
      'the emitter has a queue; make the broker with our concurrency, or mq with concurrency 0',
    );
  }
  const context: GuardContext = {
    broker,
    limits: settings.limits,
    sessions,
    connectDeadlines,
    monotonicMs,
    judgeSubscription: (client, subscription) => judgeSubscription(core, client, subscription),
    mayReceive: (mqttClientId, topic) => mayReceive(core, mqttClientId, topic),
    principalOf: (token) => core.authority.principalOf(token),
    report,
    log: settings.log,
  };
  core.guardContext = context;
  const { accept, install, packet: packetGuards } = core.guards;
  followSessions(core, broker, context);
  for (const guard of install) {
    const { deliver, publish, retain, withheld } = guard.install(context) ?? {};
    if (deliver !== undefined) core.installed.deliver.push(deliver);
    if (retain !== undefined) core.installed.retain.push(retain);
    if (withheld !== undefined) core.installed.withheld.push(withheld);
    core.installed.publish ??= publish;
  }
  // One for all connections: between the host's parser and the host.
  function lookAt(this: HostParser, packet: WirePacket): void {
    for (const guard of packetGuards) guard.packet(packet, this.client, context);
  }
  const handle = broker.handle;
  broker.handle = (stream, request) => {
    const connection = open(core, context, stream, request?.socket);
    // The declared return type knows no refusal; callers of `handle` do not use it.
    if (connection === undefined) return undefined as never;
    for (const guard of accept) guard.accept(connection, context);
    const client = handle.call(broker, stream, request) as HostClient;
    connection.client = client;
    sessions.connections.set(client, connection);
    client._parser.prependListener('packet', lookAt);
    return client;
  };
}

function open(
  core: Core,
  context: GuardContext,
  stream: Duplex,
  socket: Socket | undefined,
): Connection | undefined {
  const { gate, report, sessions } = core;
  const carrier = socket ?? stream;
  const origin = originOf(carrier);
  const address = origin?.address ?? (carrier as { remoteAddress?: string }).remoteAddress;
  const protocol = protocolOf(carrier, socket !== undefined);
  const place = gate.admit(address === undefined ? undefined : addressKey(address));
  if (place.verdict === 'closed' || core.isClosed) {
    gate.release(place);
    report({ action: 'connect', reason: 'too_many_connections', address, protocol });
    stream.on('error', () => {});
    stream.destroy();
    return undefined;
  }
  const thumbprint = certificateThumbprint(carrier);
  const connection: Connection = {
    stream,
    socket,
    protocol,
    address,
    openedAtMs: origin?.openedAtMs ?? core.monotonicMs(),
    peer: thumbprint === undefined ? noProof : Object.freeze({ certificateThumbprint: thumbprint }),
    place,
    isTimedOut: false,
    isEstablished: false,
    deadline: undefined,
    client: undefined,
    connect: undefined,
    session: undefined,
  };
  sessions.open.add(connection);
  stream.on('close', () => leave(core, context, connection));
  return connection;
}

/** All that hangs on a connection ends here: each listener of its own would cost memory for as long as it is open. */
function leave(core: Core, context: GuardContext, connection: Connection): void {
  const { expiries, gate, guards, onError, sessions } = core;
  const { place, session } = connection;
  sessions.open.delete(connection);
  gate.release(place);
  if (session !== undefined) {
    expiries.cancel(session.deadline);
    session.unwatch?.();
    const { id } = session.client;
    if (sessions.entering.get(id) === session) sessions.entering.delete(id);
  }
  for (const guard of guards.closed) {
    try {
      guard.closed(connection, context);
    } catch (error) {
      onError(error);
    }
  }
}

/** Return code of a refused filter (MQTT 3.1.1 §3.9.3). */
const SUBACK_FAILURE = 0x80;

/** Of a connection without a client certificate. */
const noProof: Peer = Object.freeze({});

function followSessions(
  { guards, sessions, reportOf }: Core,
  broker: HostBroker,
  context: GuardContext,
): void {
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
    if (packet.returnCode === 1)
      reportOf(client, { action: 'connect', reason: 'protocol_refused', returnCode: 1 });
    if (packet.returnCode !== 0) return;
    connection.isEstablished = true;
    connection.connect = undefined;
    for (const guard of guards.established) guard.established(connection, context);
  });
  broker.on('subscribe', (subscriptions: { topic: string; qos: number }[], client: object) => {
    const session = sessions.byClient.get(client);
    if (session === undefined) return;
    if (subscriptions.some(({ topic, qos }) => topic === SESSION_TOPIC && qos < SUBACK_FAILURE)) {
      tellGrants(session, 'session');
    }
  });
  broker.on('unsubscribe', (filters: string[], client: object) => {
    const session = sessions.byClient.get(client);
    // Of a session that is kept this comes late: what it took again meanwhile is not given up. See storedSubscriptions.
    if (session === undefined || !session.client.clean) return;
    for (const filter of filters) session.filters.delete(filter);
  });
}
