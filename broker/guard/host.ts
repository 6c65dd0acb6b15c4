import type { EventEmitter } from 'node:events';
import type { Duplex, Readable } from 'node:stream';
import type { Aedes, AedesPublishPacket, Client, Subscription } from 'aedes';

/** What the guards use of Aedes 1.2 beyond its type declarations. Checked at `attach` by {@link missingOfHost}. */
export interface HostBroker extends Aedes {
  readonly persistence: HostPersistence;
  readonly mq: { readonly concurrency: number };
  /** As given, with defaults filled in; without a persistence it made one in memory. */
  readonly opts: { readonly persistence?: unknown };
  handle: Aedes['handle'];
  registerClient: (client: HostClient) => void;
  on(event: 'error', listener: (error: Error) => void): this;
  on(...parameters: Parameters<Aedes['on']>): this;
  on(event: string, listener: (...parameters: never[]) => void): this;
}

export interface HostClient extends Client {
  readonly connackSent: boolean;
  clean: boolean;
  conn: Duplex;
  /** The will of the registered session. */
  will?: HostWill | null;
  /** The will of the CONNECT being worked on. */
  _will?: HostWill | null;
  /** What it subscribed to, by filter. */
  readonly subscriptions: Readonly<Record<string, { readonly qos: 0 | 1 | 2 } | undefined>>;
  readonly _parser: HostParser;
  /** Sends one packet at QoS 0. */
  deliver0(packet: object, done: () => void): void;
  /** Sends one packet at its QoS. */
  deliverQoS(packet: object, done: () => void): void;
  /** Sends one packet at its QoS. */
  deliverQoS(packet: object, done: () => void): void;
  pause(): void;
  /** Packet identifier of the next message to it. */
  _nextId: number;
}

/** Emits `packet`. */
export interface HostParser extends EventEmitter {
  readonly client: HostClient;
  /** Packets that came before CONNACK. */
  readonly _queue: unknown[] | null;
}

/** A packet as the parser makes it: of these, what its kind has. */
export interface WirePacket {
  cmd: string;
  topic?: unknown;
  qos?: number;
  messageId?: number;
  subscriptions?: { topic: string }[];
  unsubscriptions?: unknown[];
}

export interface HostWill {
  topic: string;
  payload?: Uint8Array | null;
  qos: 0 | 1 | 2;
  retain: boolean;
}

type ById = { readonly id: string };

/** The part of a persistence that is stood in front of; each method gives a promise (aedes-persistence 11). */
export interface HostPersistence {
  addSubscriptions(client: ById, subscriptions: readonly Subscription[]): Promise<void>;
  removeSubscriptions(client: ById, topics: readonly string[]): Promise<void>;
  subscriptionsByClient(client: ById): Promise<Subscription[]>;
  outgoingEnqueue(subscription: { clientId: string }, packet: AedesPublishPacket): Promise<void>;
  outgoingEnqueueCombi(subscriptions: QueuedFor[], packet: AedesPublishPacket): Promise<void>;
  outgoingStream(client: HostClient): Readable;
  outgoingUpdate(client: ById, packet: QueuedPacket): Promise<void>;
  outgoingClearMessageId(client: ById, packet: QueuedPacket): Promise<unknown>;
  incomingStorePacket(client: HostClient, packet: AedesPublishPacket): Promise<void>;
  incomingDelPacket(client: ById, packet: QueuedPacket): Promise<void>;
  cleanIncoming(client: ById): Promise<void>;
  storeRetained(packet: AedesPublishPacket): Promise<void>;
  createRetainedStreamCombi(filters: readonly string[]): Readable;
  /** What is retained, by topic, where it is all in memory. */
  readonly retained?: ReadonlyMap<string, AedesPublishPacket>;
  delWill(will: { id: string; brokerId: string }): Promise<unknown>;
}

/** A stored subscription that matched a message. */
export interface QueuedFor {
  readonly clientId: string;
  readonly topic: string;
}

export interface QueuedPacket {
  cmd?: string;
  qos?: number;
  messageId?: number | undefined;
  brokerId?: string;
  brokerCounter?: number;
}

const neededOfBroker = ['handle', 'registerClient', 'unsubscribe', 'on', 'close'];
const neededOfPersistence = [
  'addSubscriptions',
  'removeSubscriptions',
  'subscriptionsByClient',
  'outgoingEnqueue',
  'outgoingEnqueueCombi',
  'outgoingStream',
  'outgoingUpdate',
  'outgoingClearMessageId',
  'incomingStorePacket',
  'incomingDelPacket',
  'cleanIncoming',
  'storeRetained',
  'createRetainedStreamCombi',
  'delWill',
];

/** What a broker lacks of the above; a guard that silently does nothing is worse than none. */
export function missingOfHost(broker: unknown): string[] {
  const lacks = (object: unknown, names: string[], prefix: string) =>
    names
      .filter((name) => typeof (object as Record<string, unknown> | undefined)?.[name] !== 'function')
      .map((name) => prefix + name);
  const { persistence } = broker as { persistence?: unknown };
  return [
    ...lacks(broker, neededOfBroker, 'broker.'),
    ...lacks(persistence, neededOfPersistence, 'persistence.'),
  ];
}
