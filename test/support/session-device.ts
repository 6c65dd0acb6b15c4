import { connect as connectSocket, type Socket } from 'node:net';
import { generate, type IConnackPacket, type Packet, parser } from 'mqtt-packet';
import { connectPacket } from './broker-raw-client.ts';
import type { HistoryEvent } from './history.ts';

export interface DeviceTask {
  readonly id: string;
  /** The first is used until `narrow`. */
  readonly tokens: readonly TokenTask[];
  /** Its messages go to `t` below it, some to `private`. */
  readonly publishBelow: string;
  readonly subscriptions: readonly SubscriptionTask[];
  /** Subscribed to when it is told so. */
  readonly later: readonly SubscriptionTask[];
}

export interface TokenTask {
  readonly token: string;
  /** Topic filters of what it lets its owner receive. */
  readonly grants: readonly string[];
}

export interface SubscriptionTask {
  readonly filter: string;
  readonly qos: 1 | 2;
  readonly isGranted: boolean;
}

/** `abrupt` closes the old connection first, `takeover` leaves that to the brokers. */
export type Hop = 'disconnect' | 'abrupt' | 'takeover';

/** A device with a persistent session, by MQTT 3.1.1 to the letter: what it may forget and must keep is in `session`. */
export interface SessionDevice {
  connect(): void;
  /** Sends its next message, unless too many are under way. */
  publish(): void;
  subscribeLater(): void;
  /** Is away for a while and comes back with its last token. */
  narrow(): void;
  hop(how: Hop): void;
  status(): { isConnected: boolean; unfinished: number; unsubscribed: number };
  close(): void;
}

/** Messages under way. */
const MAX_IN_FLIGHT = 8;
/** Of its messages every so-manieth goes where nobody may read. */
const PRIVATE_EVERY = 5;
/** What it waits for an answer before it takes the connection for dead. */
const PATIENCE_MS = 6_000;
const PING_EVERY_MS = 15_000;
/** How long it is away with one token before it comes with another: messages are queued for it. */
const AWAY_MS = 5_000;
const FIRST_BACK_OFF_MS = 250;
const MAX_BACK_OFF_MS = 4_000;

interface Outgoing {
  readonly message: string;
  readonly topic: string;
  readonly qos: 1 | 2;
  isSent: boolean;
  /** PUBREC has come: what is sent again is the PUBREL. */
  isReleased: boolean;
}

interface Connection {
  readonly socket: Socket;
  readonly broker: number;
  isReady: boolean;
  /** Since when an answer is owed, by the clock of `Date.now`. */
  waitingSinceMs: number | undefined;
  lastSentMs: number;
  /** Return codes to come, by the id of the SUBSCRIBE. */
  readonly subscribing: Map<number, readonly SubscriptionTask[]>;
}

/** `ports` are those of the brokers. */
export function createSessionDevice(
  task: DeviceTask,
  ports: readonly number[],
  record: (event: HistoryEvent) => void,
): SessionDevice {
  const { id } = task;
  // What MQTT calls the state of the session; it outlives connections.
  const session = {
    outgoing: new Map<number, Outgoing>(),
    /** Packet ids of QoS 2 that were taken and not released. */
    incoming: new Set<number>(),
    acknowledgedFilters: new Set<string>(),
  };
  const wanted = [...task.subscriptions];
  let [token] = task.tokens as [TokenTask];
  let number = 0;
  let packetId = 0;
  let backOffMs = FIRST_BACK_OFF_MS;
  let connection: Connection | undefined;
  let isClosed = false;
  let retry: NodeJS.Timeout | undefined;

  const watch = setInterval(() => {
    if (connection === undefined) return;
    const nowMs = Date.now();
    if (connection.waitingSinceMs !== undefined) {
      if (nowMs - connection.waitingSinceMs > PATIENCE_MS) lose(connection);
    } else if (nowMs - connection.lastSentMs > PING_EVERY_MS) {
      send(connection, { cmd: 'pingreq' });
    }
  }, 1_000);

  function connect(except?: number): void {
    if (isClosed) return;
    clearTimeout(retry);
    const others = [...ports.keys()].filter((n) => n !== except || ports.length === 1);
    const broker = others[Math.floor(Math.random() * others.length)] as number;
    const socket = connectSocket({ port: ports[broker] as number, host: '127.0.0.1', noDelay: true });
    const opened: Connection = {
      socket,
      broker,
      isReady: false,
      waitingSinceMs: Date.now(),
      lastSentMs: Date.now(),
      subscribing: new Map(),
    };
    connection = opened;
    const reader = parser({ protocolVersion: 4 });
    reader.on('packet', (packet: Packet) => {
      if (connection === opened) take(opened, packet);
    });
    reader.on('error', () => lose(opened));
    socket.on('data', (chunk) => reader.parse(chunk));
    socket.on('error', () => {});
    socket.once('close', () => lose(opened));
    send(opened, connectPacket(id, token.token, { clean: false, keepalive: 300 }));
  }

  function lose(lost: Connection): void {
    lost.socket.destroy();
    if (connection !== lost || isClosed) return;
    connection = undefined;
    // Full jitter.
    retry = setTimeout(connect, Math.random() * backOffMs);
    backOffMs = Math.min(MAX_BACK_OFF_MS, backOffMs * 2);
  }

  function send(to: Connection, packet: Packet): void {
    to.lastSentMs = Date.now();
    if (isAnswered(packet)) to.waitingSinceMs ??= to.lastSentMs;
    to.socket.write(generate(packet));
  }

  function take(from: Connection, packet: Packet): void {
    const atMs = Date.now();
    const { broker } = from;
    switch (packet.cmd) {
      case 'connack':
        begin(from, packet);
        break;
      case 'suback':
        noteSubscribed(from, packet.messageId as number, packet.granted as number[]);
        break;
      case 'puback': {
        const sent = session.outgoing.get(packet.messageId as number);
        if (sent === undefined) break;
        session.outgoing.delete(packet.messageId as number);
        record({ kind: 'acknowledged', atMs, device: id, message: sent.message, broker });
        break;
      }
      case 'pubrec': {
        const sent = session.outgoing.get(packet.messageId as number);
        if (sent !== undefined && !sent.isReleased) {
          sent.isReleased = true;
          record({ kind: 'acknowledged', atMs, device: id, message: sent.message, broker });
        }
        send(from, { cmd: 'pubrel', messageId: packet.messageId as number });
        break;
      }
      case 'pubcomp': {
        const sent = session.outgoing.get(packet.messageId as number);
        if (sent === undefined) break;
        session.outgoing.delete(packet.messageId as number);
        record({ kind: 'completed', atMs, device: id, message: sent.message });
        break;
      }
      case 'publish': {
        const messageId = packet.messageId as number;
        const isNew = packet.qos < 2 || !session.incoming.has(messageId);
        if (packet.qos === 2) session.incoming.add(messageId);
        if (isNew) {
          const message = packet.payload.toString();
          record({
            kind: 'received',
            atMs,
            device: id,
            message,
            topic: packet.topic,
            qos: packet.qos,
            broker,
          });
        }
        if (packet.qos > 0) send(from, { cmd: packet.qos === 1 ? 'puback' : 'pubrec', messageId });
        break;
      }
      case 'pubrel':
        session.incoming.delete(packet.messageId as number);
        send(from, { cmd: 'pubcomp', messageId: packet.messageId as number });
        break;
      default:
    }
    from.waitingSinceMs = isOwedAnything(from) ? atMs : undefined;
  }

  function begin(at: Connection, { returnCode, sessionPresent }: IConnackPacket): void {
    if (returnCode !== 0) {
      lose(at);
      return;
    }
    backOffMs = FIRST_BACK_OFF_MS;
    at.isReady = true;
    record({ kind: 'connected', atMs: Date.now(), device: id, broker: at.broker, grants: token.grants });
    if (!sessionPresent) {
      // Of a token that reads nothing the broker keeps no subscription, and so no session.
      if (session.acknowledgedFilters.size > 0 && token.grants.length > 0) {
        record({ kind: 'session_forgotten', atMs: Date.now(), device: id, broker: at.broker });
      }
      session.acknowledgedFilters.clear();
      session.incoming.clear();
    }
    // [MQTT-4.4.0-1], in the order in which they were sent [MQTT-4.6.0-1].
    for (const [messageId, message] of session.outgoing) sendMessage(at, messageId, message);
    subscribe(at);
  }

  function sendMessage(at: Connection, messageId: number, message: Outgoing): void {
    if (message.isReleased) {
      send(at, { cmd: 'pubrel', messageId });
      return;
    }
    const { qos, topic, message: payload, isSent } = message;
    if (!isSent) record({ kind: 'sent', atMs: Date.now(), device: id, message: payload, topic, qos });
    message.isSent = true;
    send(at, { cmd: 'publish', messageId, topic, payload, qos, dup: isSent, retain: false });
  }

  function subscribe(at: Connection): void {
    const missing = wanted.filter(
      ({ filter, isGranted }) => isGranted && !session.acknowledgedFilters.has(filter),
    );
    if (missing.length === 0 || at.subscribing.size > 0) return;
    // Those it has no right to are asked for in the same packet.
    const asked = wanted.filter((one) => !one.isGranted || missing.includes(one));
    const messageId = nextPacketId();
    at.subscribing.set(messageId, asked);
    send(at, {
      cmd: 'subscribe',
      messageId,
      subscriptions: asked.map(({ filter, qos }) => ({ topic: filter, qos })),
    });
  }

  function noteSubscribed(at: Connection, messageId: number, codes: readonly number[]): void {
    const asked = at.subscribing.get(messageId) ?? [];
    at.subscribing.delete(messageId);
    const atMs = Date.now();
    // A filter that the token of now does not cover is granted to nobody.
    const isNarrow = token.grants.length === 0;
    for (const [n, { filter, isGranted }] of asked.entries()) {
      const code = codes[n] as number;
      record({
        kind: 'subscribed',
        atMs,
        device: id,
        filter,
        code,
        isGranted: isGranted && !isNarrow,
      });
      if (isGranted) session.acknowledgedFilters.add(filter);
    }
    subscribe(at);
  }

  function nextPacketId(): number {
    do packetId = (packetId % 65_535) + 1;
    while (session.outgoing.has(packetId));
    return packetId;
  }

  const isOwedAnything = (at: Connection) =>
    !at.isReady || at.subscribing.size > 0 || [...session.outgoing.values()].some(({ isSent }) => isSent);

  return {
    connect: () => connect(),
    publish() {
      if (connection?.isReady !== true || session.outgoing.size >= MAX_IN_FLIGHT) return;
      number += 1;
      const qos = number % 2 === 0 ? 2 : 1;
      const topic = `${task.publishBelow}/${number % PRIVATE_EVERY === 0 ? 'private' : 't'}`;
      const messageId = nextPacketId();
      const message = { message: `${id}:${number}`, topic, qos, isSent: false, isReleased: false } as const;
      const outgoing: Outgoing = { ...message };
      session.outgoing.set(messageId, outgoing);
      sendMessage(connection, messageId, outgoing);
    },
    subscribeLater() {
      wanted.push(...task.later);
      if (connection?.isReady === true) subscribe(connection);
    },
    narrow() {
      if (task.tokens.length === 1) return;
      token = task.tokens.at(-1) as TokenTask;
      const old = connection;
      connection = undefined;
      old?.socket.destroy();
      clearTimeout(retry);
      retry = setTimeout(connect, AWAY_MS);
    },
    hop(how) {
      const old = connection;
      if (old === undefined) return;
      if (how === 'disconnect') old.socket.end(generate({ cmd: 'disconnect' }));
      else if (how === 'abrupt') old.socket.destroy();
      connect(old.broker);
      // Whatever the brokers do, the old one is not kept for ever.
      setTimeout(() => old.socket.destroy(), PATIENCE_MS);
    },
    status: () => ({
      isConnected: connection?.isReady === true,
      unfinished: session.outgoing.size,
      unsubscribed: wanted.filter(
        ({ filter, isGranted }) => isGranted && !session.acknowledgedFilters.has(filter),
      ).length,
    }),
    close() {
      isClosed = true;
      clearTimeout(retry);
      clearInterval(watch);
      connection?.socket.destroy();
    },
  };
}

function isAnswered({ cmd }: Packet): boolean {
  return (
    cmd === 'connect' || cmd === 'subscribe' || cmd === 'publish' || cmd === 'pubrel' || cmd === 'pingreq'
  );
}
