import { FleetgateError } from '@fleetgate/shared';
import { connect, type IClientOptions, type Packet, Store, UniqueMessageIdProvider } from 'mqtt';
import { connectionFailure } from './connection-failure.ts';
import type { ClientCertificate } from './transport/exchange.ts';

export type QoS = 0 | 1 | 2;

export interface OutgoingMessage {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
}

export interface IncomingMessage {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
}

/** How an attempt to connect ended. `closed` resolves, with the reason in words, when the open connection ends. */
export type OpenOutcome =
  | { readonly kind: 'open'; readonly sessionPresent: boolean; readonly closed: Promise<string> }
  | { readonly kind: 'refused'; readonly returnCode: number }
  | { readonly kind: 'unreachable'; readonly reason: string };

export interface ConnectionOptions {
  readonly url: string;
  readonly clientId: string;
  readonly username: string;
  readonly clean: boolean;
  readonly keepaliveSeconds: number;
  readonly connectTimeoutMs: number;
  readonly ca?: Buffer | undefined;
  /** What to show to the broker, read for each connection. */
  readonly certificate?: (() => Promise<ClientCertificate>) | undefined;
  readonly will?: OutgoingMessage | undefined;
  readonly onMessage: (message: IncomingMessage) => void;
}

/**
 * One MQTT 3.1.1 session over one network connection after another: what was sent with QoS 1 or 2 and not
 * acknowledged is sent again on the next, with DUP. It connects when told, once, and never by itself.
 */
export interface Connection {
  open(token: string, signal: AbortSignal): Promise<OpenOutcome>;
  /**
   * Only while open. Settles when written (QoS 0) or acknowledged (QoS 1 and 2), maybe on a later connection.
   * @throws FleetgateError `broker_refused` when the broker keeps closing the connection on this message;
   * `broker_unreachable` when it was not delivered and will not be sent again by itself
   */
  publish(message: OutgoingMessage): Promise<void>;
  /** QoS 1, acknowledged or lost with this connection: never sent again on another. */
  publishOnce(topic: string, payload: Buffer): Promise<void>;
  /** The granted QoS, or 128 when refused. Rejects when the connection closes first. */
  subscribe(filter: string, qos: QoS): Promise<number>;
  unsubscribe(filter: string): Promise<void>;
  /** Ends with DISCONNECT, so that no will is published; resolves when the socket is closed. */
  close(): Promise<void>;
}

/** What makes the authority of a broker's certificate known. */
const TRUST_BY = 'broker.ca_file of the credentials, or NODE_EXTRA_CA_CERTS';

/**
 * Times the broker may close the connection while one and the same message is sent again, alone. Then the
 * message is the reason (a topic outside the grants, too large) and would keep the device out for ever.
 */
const MAX_REPLAYS = 3;

/** Time for the broker to close its side after DISCONNECT. */
const CLOSE_TIMEOUT_MS = 2000;

// DISCONNECT of MQTT 3.1.1 §3.14. Written here because `client.end()` waits for acknowledgements without a limit,
// forgets the session's state, or, forced, leaves without DISCONNECT.
const DISCONNECT = Buffer.from([0xe0, 0x00]);

/** A connection on mqtt.js with its own reconnecting, queueing and resubscribing switched off. */
export function createConnection(options: ConnectionOptions): Connection {
  // Both outlive the network connection. What is stored has been sent once, so it is repeated with DUP [MQTT-3.3.1-1].
  const outgoingStore = new Store({ clean: false });
  const put = outgoingStore.put.bind(outgoingStore);
  outgoingStore.put = (packet, done) =>
    put(packet.cmd === 'publish' ? { ...packet, dup: true } : packet, done);
  const client = connect(options.url, clientOptions(options, outgoingStore));

  /** Sent with QoS 1 or 2 and not acknowledged, by message id, in order. */
  const inFlight = new Map<number, { replays: number; isRefused: boolean }>();
  /** QoS 0 messages handed to a socket that has not taken them yet; mqtt.js forgets their callbacks on close. */
  const unwritten = new Set<() => void>();
  let closed: Promise<string> | undefined;
  let isClosing = false;

  // After DISCONNECT nothing may be sent [MQTT-3.14.4-2], so what comes then is not acknowledged, and comes again.
  client.on('message', (topic, payload, { qos, retain }) => {
    if (!isClosing || qos === 0) options.onMessage({ topic, payload, qos, retain });
  });
  client.handleMessage = (_packet, acknowledge) => {
    if (!isClosing) acknowledge();
  };

  async function open(token: string, signal: AbortSignal): Promise<OpenOutcome> {
    try {
      const certificate = await options.certificate?.();
      // For wss mqtt.js copies them once, to where it would find the old ones.
      Object.assign(client.options, certificate, certificate && { wsOptions: {} });
    } catch (error) {
      return { kind: 'unreachable', reason: connectionFailure(error, TRUST_BY) };
    }
    return openWith(token, signal);
  }

  function openWith(token: string, signal: AbortSignal): Promise<OpenOutcome> {
    if (signal.aborted) return Promise.resolve({ kind: 'unreachable', reason: 'stopped' });
    return new Promise((resolve) => {
      const ended = Promise.withResolvers<string>();
      let connack: { returnCode: number; sessionPresent: boolean } | undefined;
      let isOpen = false;
      let reason = 'the connection was closed';

      const onPacket = (packet: Packet) => {
        if (packet.cmd !== 'connack') return;
        connack = { returnCode: packet.returnCode ?? 0, sessionPresent: packet.sessionPresent };
      };
      // Comes after CONNACK and after everything in flight has been repeated and acknowledged.
      const onConnect = () => {
        isOpen = true;
        // From here on it is ended in order, by `close`.
        signal.removeEventListener('abort', onAbort);
        closed = ended.promise;
        resolve({ kind: 'open', sessionPresent: connack?.sessionPresent ?? false, closed });
      };
      const onError = (error: Error) => {
        reason = connectionFailure(error, TRUST_BY);
        // After a malformed packet mqtt.js reads no further, but stays.
        client.stream.destroy();
      };
      const onAbort = () => client.stream.destroy();
      const onClose = () => {
        client.off('packetreceive', onPacket).off('connect', onConnect);
        client.off('error', onError).off('close', onClose);
        signal.removeEventListener('abort', onAbort);
        closed = undefined;
        isClosing = false;
        for (const lose of unwritten) lose();
        if (!isOpen && connack?.returnCode === 0) countReplay();
        if (!isOpen) {
          const isRefused = connack !== undefined && connack.returnCode !== 0;
          resolve(
            isRefused
              ? { kind: 'refused', returnCode: connack?.returnCode ?? 0 }
              : { kind: 'unreachable', reason },
          );
        }
        ended.resolve(reason);
      };
      client.on('packetreceive', onPacket).on('connect', onConnect).on('error', onError).on('close', onClose);
      signal.addEventListener('abort', onAbort, { once: true });

      try {
        // As bytes, since mqtt-packet's debug log prints strings; and not kept longer than CONNECT is written.
        client.options.password = Buffer.from(token);
        client.connect();
      } catch (error) {
        reason = connectionFailure(error, TRUST_BY);
        onClose();
      } finally {
        delete client.options.password;
      }
    });
  }

  // Only what is repeated is sent one at a time, so only then the message the connection ended on is known.
  function countReplay(): void {
    const [first] = inFlight;
    if (first === undefined) return;
    const [messageId, entry] = first;
    entry.replays += 1;
    if (entry.replays < MAX_REPLAYS) return;
    entry.isRefused = true;
    client.removeOutgoingMessage(messageId);
  }

  function publish({ topic, payload, qos, retain }: OutgoingMessage): Promise<void> {
    if (closed === undefined) return Promise.reject(unreachable('there is no connection'));
    return new Promise((resolve, reject) => {
      if (qos === 0) {
        const lose = () => {
          unwritten.delete(lose);
          reject(unreachable('the connection was closed before the message was written'));
        };
        unwritten.add(lose);
        client.publish(topic, payload, { qos, retain }, (error) => {
          unwritten.delete(lose);
          if (error) reject(unreachable('the message was not written'));
          else resolve();
        });
        return;
      }
      const entry = { replays: 0, isRefused: false };
      let messageId = 0;
      client.publish(topic, payload, { qos, retain }, (error) => {
        inFlight.delete(messageId);
        if (!error) return resolve();
        // A clean session forgets on a forced close: whoever publishes decides anew.
        outgoingStore.del({ messageId }, () => undefined);
        reject(entry.isRefused ? refusedMessage(topic) : unreachable('the connection was closed'));
      });
      messageId = client.getLastMessageId();
      inFlight.set(messageId, entry);
    });
  }

  function publishOnce(topic: string, payload: Buffer): Promise<void> {
    if (closed === undefined) return Promise.reject(unreachable('there is no connection'));
    const ended = closed;
    return new Promise((resolve, reject) => {
      // Its id may be another message's once it is settled.
      let isSettled = false;
      client.publish(topic, payload, { qos: 1 }, (error) => {
        isSettled = true;
        if (error) reject(unreachable('the connection was closed'));
        else resolve();
      });
      const messageId = client.getLastMessageId();
      void ended.then(() => {
        if (!isSettled) client.removeOutgoingMessage(messageId);
      });
    });
  }

  function subscribe(filter: string, qos: QoS): Promise<number> {
    if (closed === undefined) return Promise.reject(unreachable('there is no connection'));
    return new Promise((resolve, reject) => {
      client.subscribe(filter, { qos }, (error, _granted, packet) => {
        const code = packet?.granted[0];
        if (code !== undefined) resolve(typeof code === 'number' ? code : 128);
        else reject(unreachable(error === null ? 'SUBACK has no return code' : 'the connection was closed'));
      });
    });
  }

  function unsubscribe(filter: string): Promise<void> {
    if (closed === undefined) return Promise.reject(unreachable('there is no connection'));
    return new Promise((resolve, reject) => {
      client.unsubscribe(filter, (error) =>
        error ? reject(unreachable('the connection was closed')) : resolve(),
      );
    });
  }

  async function close(): Promise<void> {
    if (closed === undefined) return;
    isClosing = true;
    client.stream.unpipe();
    client.stream.resume();
    client.stream.end(DISCONNECT);
    const timer = setTimeout(() => client.stream.destroy(), CLOSE_TIMEOUT_MS);
    await closed;
    clearTimeout(timer);
  }

  return Object.freeze({ open, publish, publishOnce, subscribe, unsubscribe, close });
}

function clientOptions(options: ConnectionOptions, outgoingStore: Store): IClientOptions {
  const { clientId, username, clean, will, ca } = options;
  return {
    protocolVersion: 4,
    clientId,
    // A password without a user name is malformed [MQTT-3.1.2-22].
    username,
    clean,
    keepalive: options.keepaliveSeconds,
    connectTimeout: options.connectTimeoutMs,
    manualConnect: true,
    reconnectPeriod: 0,
    resubscribe: false,
    outgoingStore,
    incomingStore: new Store({ clean: false }),
    // The standard one gives out ids that are still in flight after 65,535 messages.
    messageIdProvider: new UniqueMessageIdProvider(),
    timerVariant: 'native',
    // Its debug log prints CONNECT with the password.
    log: () => undefined,
    // Also where the environment says otherwise.
    rejectUnauthorized: true,
    ...(ca === undefined ? {} : { ca }),
    ...(will === undefined ? {} : { will }),
  };
}

function refusedMessage(topic: string): FleetgateError {
  return new FleetgateError(
    'broker_refused',
    `the broker closed the connection ${MAX_REPLAYS + 1} times on a message to '${topic}'; is that within the token's grants?`,
  );
}

function unreachable(message: string): FleetgateError {
  return new FleetgateError('broker_unreachable', message);
}
