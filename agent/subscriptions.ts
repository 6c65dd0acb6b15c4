import { FleetgateError, matches } from '@fleetgate/shared';
import type { Connection, IncomingMessage, QoS } from './connection.ts';

/** Called for each message a subscription's filter matches. What it throws or rejects with is reported, not raised. */
export type MessageHandler = (message: IncomingMessage) => void | Promise<void>;

export interface Subscription {
  readonly filter: string;
  /** Takes this handler away, and the subscription at the broker with its last handler. */
  unsubscribe(): Promise<void>;
}

/** Filters one agent may subscribe to; brokers allow fewer (ours 100 by default). */
export const MAX_SUBSCRIPTIONS = 1000;

interface Entry {
  qos: QoS;
  handlers: Set<MessageHandler>;
  /** Whether the broker's session has it, as far as is known. */
  isActive: boolean;
  waiting: PromiseWithResolvers<void>[];
}

export interface Subscriptions {
  add(filter: string, qos: QoS, handler: MessageHandler): Promise<Subscription>;
  /** The broker is there: what it does not have yet is sent; without a session that is everything. */
  online(connection: Connection, sessionPresent: boolean): void;
  offline(): void;
  dispatch(message: IncomingMessage): void;
  rejectAll(error: FleetgateError): void;
}

export interface SubscriptionReports {
  /** A filter that had been granted was refused when it was sent again. */
  onLost: (filter: string) => void;
  onHandlerFailed: (filter: string, error: unknown) => void;
  /** A message came that no handler is there for: from a subscription of an earlier run. */
  onUnhandled: (topic: string) => void;
}

/** What the agent subscribes to, kept over connections and sessions. */
export function createSubscriptions(reports: SubscriptionReports): Subscriptions {
  const entries = new Map<string, Entry>();
  /** Given up while offline: a persistent session still has them. */
  const abandoned = new Set<string>();
  let connection: Connection | undefined;

  function add(filter: string, qos: QoS, handler: MessageHandler): Promise<Subscription> {
    const entry = entries.get(filter) ?? { qos, handlers: new Set(), isActive: false, waiting: [] };
    if (!entries.has(filter) && entries.size >= MAX_SUBSCRIPTIONS) {
      return Promise.reject(
        new FleetgateError('too_many_subscriptions', `more than ${MAX_SUBSCRIPTIONS} filters`),
      );
    }
    // Before anything is sent: retained and queued messages come with SUBACK, or ahead of it.
    entry.handlers.add(handler);
    entries.set(filter, entry);
    abandoned.delete(filter);
    const subscription = Object.freeze({ filter, unsubscribe: () => remove(filter, handler) });
    if (entry.isActive && qos <= entry.qos) return Promise.resolve(subscription);
    if (qos > entry.qos) Object.assign(entry, { qos, isActive: false });
    const waiting = Promise.withResolvers<void>();
    entry.waiting.push(waiting);
    if (connection !== undefined) void send(connection, filter, entry);
    return waiting.promise.then(() => subscription);
  }

  async function send(to: Connection, filter: string, entry: Entry): Promise<void> {
    const { qos } = entry;
    // Rejected: the connection was closed, and the next one sends it again.
    const code = await to.subscribe(filter, qos).catch(() => undefined);
    if (code === undefined || entries.get(filter) !== entry || entry.qos !== qos) return;
    const waiting = entry.waiting.splice(0);
    if (code < 128) {
      entry.isActive = true;
      for (const { resolve } of waiting) resolve();
      return;
    }
    entries.delete(filter);
    if (waiting.length === 0) reports.onLost(filter);
    const error = new FleetgateError(
      'broker_refused',
      `the broker refused the filter '${filter}'; is it within the token's grants?`,
    );
    for (const { reject } of waiting) reject(error);
  }

  async function remove(filter: string, handler: MessageHandler): Promise<void> {
    const entry = entries.get(filter);
    if (entry === undefined || !entry.handlers.delete(handler) || entry.handlers.size > 0) return;
    entries.delete(filter);
    abandoned.add(filter);
    if (connection !== undefined) await giveUp(connection, filter);
  }

  async function giveUp(to: Connection, filter: string): Promise<void> {
    await to.unsubscribe(filter).then(
      () => abandoned.delete(filter),
      () => undefined,
    );
  }

  async function handle(filter: string, handler: MessageHandler, message: IncomingMessage): Promise<void> {
    try {
      await handler(message);
    } catch (error) {
      reports.onHandlerFailed(filter, error);
    }
  }

  return Object.freeze({
    add,
    online(to: Connection, sessionPresent: boolean) {
      connection = to;
      if (!sessionPresent) abandoned.clear();
      for (const filter of abandoned) void giveUp(to, filter);
      for (const [filter, entry] of entries) {
        if (!sessionPresent) entry.isActive = false;
        if (!entry.isActive) void send(to, filter, entry);
      }
    },
    offline() {
      connection = undefined;
    },
    dispatch(message: IncomingMessage) {
      let isHandled = false;
      for (const [filter, { handlers }] of entries) {
        if (!matches(filter, message.topic)) continue;
        isHandled = true;
        for (const handler of handlers) void handle(filter, handler, message);
      }
      if (!isHandled) reports.onUnhandled(message.topic);
    },
    rejectAll(error: FleetgateError) {
      for (const { waiting } of entries.values()) {
        for (const { reject } of waiting.splice(0)) reject(error);
      }
    },
  });
}
