import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import { type Credentials, FleetgateError, topicFilterProblem, topicNameProblem } from '@fleetgate/shared';
import type { AgentEvents, AgentPhase } from './agent-events.ts';
import { createBrokerSession } from './broker-session.ts';
import { createConnection, type OutgoingMessage, type QoS } from './connection.ts';
import { checkOptions, oneOf, wholeNumber } from './options.ts';
import { createOutbox } from './outbox.ts';
import { openQueueFile } from './queue-file.ts';
import type { Random } from './refresh-policy.ts';
import { keepSession } from './session.ts';
import { createSubscriptions, type MessageHandler, type Subscription } from './subscriptions.ts';
import type { TokenCache } from './token-cache.ts';
import { createTokenSource, type TokenSource } from './token-source.ts';
import type { AgentTracer } from './tracer.ts';
import { clientCertificate } from './transport/client-certificate.ts';
import type { ClientCertificate } from './transport/exchange.ts';
import { wait } from './waiting.ts';

export interface PublishOptions {
  /** Default 0. */
  qos?: QoS;
  /** Default false. */
  retain?: boolean;
}

/** A device's MQTT session that outlives its tokens and its connections. */
export interface Agent {
  /** Begins to connect. Not needed: the first `publish` or `subscribe` does. */
  start(): void;
  /**
   * Resolves when the broker acknowledged the message (QoS 1, 2) or it was written (QoS 0); offline it waits in
   * the queue, whatever its QoS. A rejection that nobody handles ends the process, as with any promise.
   * @throws FleetgateError `topic_malformed`, `payload_too_large`, `queue_full`, `stopped`; `broker_refused` when
   * the broker said that it is not granted, or closes the connection on it again and again; `broker_unreachable` for QoS 0 cut off while written
   */
  publish(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<void>;
  /**
   * Resolves when the broker granted the filter; offline it waits. The handler is in place at once, so a handler
   * given before the first connection also gets what the broker kept for this session. Messages are acknowledged
   * when the handler has been called, not when its promise has settled.
   * @throws FleetgateError `filter_malformed`, `too_many_subscriptions`, `stopped`; `broker_refused` (0x80)
   */
  subscribe(filter: string, options: { qos?: QoS }, handler: MessageHandler): Promise<Subscription>;
  on<Name extends keyof AgentEvents>(name: Name, listener: (...event: AgentEvents[Name]) => void): void;
  off<Name extends keyof AgentEvents>(name: Name, listener: (...event: AgentEvents[Name]) => void): void;
  readonly phase: AgentPhase;
  /**
   * When connected, waits for what is queued up to `drainTimeoutMs`, then disconnects; what is left rejects with
   * `stopped`. Afterwards nothing of the agent keeps the process alive.
   */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface AgentOptions {
  /** Broker's address, `mqtt:`, `mqtts:`, `ws:` or `wss:`. Default `broker.url` of the credentials. */
  brokerUrl?: string;
  /** MQTT client id. Default `client_id`; a broker with `client_id_binding: prefix` takes `<client_id>.x` too. */
  clientId?: string;
  /** Whether the broker forgets the session at each connection. Default false: subscriptions and QoS 1 stay. */
  clean?: boolean;
  /** Default 60, from 5 to 65 535. */
  keepaliveSeconds?: number;
  /** From opening the socket to CONNACK. Default 10 000. */
  connectTimeoutMs?: number;
  /** How long what is under way is waited for before an orderly end. Default 5000. */
  drainTimeoutMs?: number;
  /** Messages without acknowledgement, waiting and sent. Default 10 000. */
  maxQueuedMessages?: number;
  /** Bytes of their topics and payloads. Default 8 388 608. */
  maxQueuedBytes?: number;
  /**
   * Keeps messages of QoS 1 and 2 in this file, 0600, until they are acknowledged, so that they outlive the process: at
   * least once each, the last second before a kill excepted. What an earlier process left is sent first. One process
   * for each file. Default: none, in memory only.
   */
  queueFile?: string;
  /** What is given up for want of room: the message that comes (`newest`, the default), or the `oldest` not sent yet. */
  whenFull?: 'newest' | 'oldest';
  /** Of them under way at once. Default 100. */
  maxInFlight?: number;
  /** Published by the broker when the agent is cut off; not when it stops or renews. */
  will?: { topic: string; payload: string | Uint8Array; qos?: QoS; retain?: boolean };
  /** Keeps the token over restarts; see `openTokenCache`. Not with `tokens`, which have their own. Default: none. */
  tokenCache?: TokenCache;
  /** Shared with others who need the same token. Default: one of its own. */
  tokens?: TokenSource;
  /** Makes spans of connections, renewals and, without `tokens`, token requests; see `@fleetgate/agent/tracing`. Default: none. */
  tracer?: AgentTracer;
  /** Chance for jitter. Default `Math.random`. */
  random?: Random;
}

/** Size of the queue's file that is read whatever its limits: they may have been larger when it was written. */
const MIN_QUEUE_FILE_BYTES = 67_108_864;

const knownOptions = [
  'brokerUrl',
  'clientId',
  'clean',
  'keepaliveSeconds',
  'connectTimeoutMs',
  'drainTimeoutMs',
  'maxQueuedMessages',
  'maxQueuedBytes',
  'queueFile',
  'whenFull',
  'maxInFlight',
  'will',
  'tokenCache',
  'tokens',
  'tracer',
  'random',
] as const;

/**
 * An agent for this device. It connects at the first use, or at `start()`, and stays until `stop()`.
 *
 *     await using agent = createAgent(await readCredentialsFile('device.json'));
 *     await agent.subscribe('devices/d1/commands/#', { qos: 1 }, ({ topic, payload }) => obey(topic, payload));
 *     await agent.publish('devices/d1/telemetry/temperature', '21.5', { qos: 1 });
 *
 * @throws FleetgateError `credentials_invalid` without a usable broker address, `not_supported` for an unknown
 * authentication method; TypeError for a wrong option
 */
export function createAgent(credentials: Credentials, options: AgentOptions = {}): Agent {
  const checked = checkOptions(options, knownOptions);
  const stopping = new AbortController();
  const { signal } = stopping;
  const { random = Math.random, tokenCache, tracer } = checked;
  const own = { ...(tokenCache && { cache: tokenCache }), ...(tracer && { tracer }) };
  const { tokens = createTokenSource(credentials, { signal, random, ...own }) } = checked;
  const drainTimeoutMs = wholeNumber('drainTimeoutMs', checked.drainTimeoutMs, 5000, {
    min: 0,
    max: 600_000,
  });
  const events = new EventEmitter();
  let phase: AgentPhase = 'idle';
  let session: Promise<void> | undefined;
  let stopped: Promise<void> | undefined;

  const emit = <Name extends keyof AgentEvents>(name: Name, ...event: AgentEvents[Name]): void => {
    try {
      events.emit(name, ...event);
    } catch (error) {
      // The listener's fault is the process's to report, and must not end the session on its way.
      queueMicrotask(() => {
        throw error;
      });
    }
  };
  const limits = {
    maxMessages: wholeNumber('maxQueuedMessages', checked.maxQueuedMessages, 10_000, { min: 1, max: 1e7 }),
    maxBytes: wholeNumber('maxQueuedBytes', checked.maxQueuedBytes, 8_388_608, { min: 1, max: 2 ** 31 }),
    whenFull: oneOf('whenFull', checked.whenFull, ['newest', 'oldest']),
    // Message ids have 16 bits; half of them leaves room for SUBSCRIBE.
    maxInFlight: wholeNumber('maxInFlight', checked.maxInFlight, 100, { min: 1, max: 32_767 }),
  };
  const subscriptions = createSubscriptions({
    onLost: (filter) => emit('subscription_lost', { filter }),
    onHandlerFailed: (filter, error) => emit('handler_failed', { filter, error }),
    onUnhandled: (topic) => emit('unhandled', { topic }),
  });
  const brokerSession = createBrokerSession();
  const connection = createConnection({
    url: brokerUrl(credentials, checked),
    clientId: checked.clientId ?? credentials.client_id,
    username: credentials.client_id,
    clean: checked.clean ?? false,
    keepaliveSeconds: wholeNumber('keepaliveSeconds', checked.keepaliveSeconds, 60, { min: 5, max: 65_535 }),
    connectTimeoutMs: wholeNumber('connectTimeoutMs', checked.connectTimeoutMs, 10_000, {
      min: 1,
      max: 600_000,
    }),
    ca: readCa(credentials),
    certificate: certificateOf(credentials),
    will: checked.will && toMessage(checked.will.topic, checked.will.payload, checked.will),
    onMessage(message) {
      if (!brokerSession.take(message)) subscriptions.dispatch(message);
    },
  });
  // Last of what may throw: the file is held open.
  const queueFile =
    checked.queueFile === undefined
      ? undefined
      : openQueueFile(checked.queueFile, {
          clientId: credentials.client_id,
          // Not before somebody can listen.
          onProblem: (problem) => setImmediate(() => emit('queue_problem', { problem })),
          maxFileBytes: Math.max(MIN_QUEUE_FILE_BYTES, 4 * limits.maxBytes),
        });
  const outbox = createOutbox(limits, queueFile);
  const enter = (next: AgentPhase) => {
    phase = next;
  };

  function start(): void {
    if (stopped !== undefined) throw stoppedError();
    session ??= keepSession({
      connection,
      brokerSession,
      tokens,
      outbox,
      subscriptions,
      emit,
      enter,
      drainTimeoutMs,
      random,
      tracer,
      signal,
    }).catch((error: unknown) => end(error));
  }

  function end(error?: unknown): void {
    if (phase === 'stopped') return;
    phase = 'stopped';
    stopping.abort();
    stopped ??= Promise.resolve();
    outbox.rejectAll(stoppedError());
    subscriptions.rejectAll(stoppedError());
    emit('stopped', error === undefined ? {} : { error });
  }

  async function stopOrderly(): Promise<void> {
    if (phase === 'connected') {
      const over = new AbortController();
      await Promise.race([outbox.empty(), wait(drainTimeoutMs, over.signal)]);
      over.abort();
    }
    stopping.abort();
    await session;
    end();
    await queueFile?.close();
  }

  return Object.freeze({
    start,
    async publish(topic: string, payload: string | Uint8Array, publishOptions: PublishOptions = {}) {
      const message = toMessage(topic, payload, checkOptions(publishOptions, ['qos', 'retain']));
      start();
      await outbox.add(message);
    },
    async subscribe(filter: string, { qos = 0 }: { qos?: QoS }, handler: MessageHandler) {
      const problem = topicFilterProblem(filter);
      if (problem !== undefined) throw new FleetgateError('filter_malformed', `filter: ${problem}`);
      checkQos(qos);
      start();
      return await subscriptions.add(filter, qos, handler);
    },
    on<Name extends keyof AgentEvents>(name: Name, listener: (...event: AgentEvents[Name]) => void) {
      events.on(name, listener as (...event: unknown[]) => void);
    },
    off<Name extends keyof AgentEvents>(name: Name, listener: (...event: AgentEvents[Name]) => void) {
      events.off(name, listener as (...event: unknown[]) => void);
    },
    get phase() {
      return phase;
    },
    stop() {
      stopped ??= stopOrderly();
      return stopped;
    },
    [Symbol.asyncDispose]() {
      stopped ??= stopOrderly();
      return stopped;
    },
  });
}

function toMessage(
  topic: string,
  payload: string | Uint8Array,
  { qos = 0, retain = false }: PublishOptions,
): OutgoingMessage {
  const problem = topicNameProblem(topic);
  if (problem !== undefined) throw new FleetgateError('topic_malformed', `topic: ${problem}`);
  checkQos(qos);
  // A copy: the caller may use its buffer again while the message waits.
  return { topic, payload: Buffer.from(payload as Uint8Array), qos, retain };
}

function checkQos(qos: number): void {
  if (qos !== 0 && qos !== 1 && qos !== 2) throw new TypeError('qos must be 0, 1 or 2');
}

function brokerUrl(credentials: Credentials, options: AgentOptions): string {
  const text = options.brokerUrl ?? credentials.broker?.url;
  if (text === undefined) {
    throw new FleetgateError(
      'credentials_invalid',
      'no broker: name it with --broker URL (brokerUrl), or put broker.url into the credentials',
    );
  }
  const url = URL.parse(text);
  if (url === null || !['mqtt:', 'mqtts:', 'ws:', 'wss:'].includes(url.protocol)) {
    throw new FleetgateError(
      'credentials_invalid',
      'the broker URL must begin with mqtt://, mqtts://, ws:// or wss://',
    );
  }
  // mqtt.js would take user, password and client id from here, over the token.
  if (url.username !== '' || url.password !== '' || url.search !== '') {
    throw new FleetgateError(
      'credentials_invalid',
      'the broker URL must hold no user name, password or query',
    );
  }
  // RFC 8705 §3: the token is good only beside the certificate it was asked for with.
  if (credentials.auth.method === 'tls_client_auth' && !['mqtts:', 'wss:'].includes(url.protocol)) {
    throw new FleetgateError(
      'credentials_invalid',
      'the broker URL must begin with mqtts:// or wss:// with auth.method tls_client_auth: its tokens are bound to ' +
        'the certificate, which no other connection shows',
    );
  }
  return text;
}

function certificateOf({ auth }: Credentials): (() => Promise<ClientCertificate>) | undefined {
  return auth.method === 'tls_client_auth' ? () => clientCertificate(auth) : undefined;
}

function readCa({ broker }: Credentials): Buffer | undefined {
  if (broker?.ca_file === undefined) return undefined;
  try {
    return readFileSync(broker.ca_file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new FleetgateError(
      'credentials_invalid',
      `broker.ca_file ${broker.ca_file} cannot be read (${code})`,
    );
  }
}

function stoppedError(): FleetgateError {
  return new FleetgateError('stopped', 'the agent was stopped');
}
