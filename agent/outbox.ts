import { FleetgateError } from '@fleetgate/shared';
import type { OutgoingMessage } from './connection.ts';

export interface OutboxLimits {
  /** Messages that may wait for delivery, sent ones without acknowledgement included. */
  maxMessages: number;
  /** Bytes of topic and payload they may have together. */
  maxBytes: number;
  /** Messages that may be under way at once: how much a reconnect has to wait for, or to repeat. */
  maxInFlight: number;
}

interface Entry extends PromiseWithResolvers<void> {
  message: OutgoingMessage;
  bytes: number;
  isSent: boolean;
}

/** Messages on their way to the broker, in order, from `publish` to acknowledgement. */
export interface Outbox {
  /**
   * Settles when the message is delivered as its QoS says.
   * @throws FleetgateError `queue_full` at once when there is no room, `payload_too_large` when there never will be
   */
  add(message: OutgoingMessage): Promise<void>;
  /** From now on messages go out by `send`, until `pause`. */
  resume(send: (message: OutgoingMessage) => Promise<void>): void;
  pause(): void;
  /** Resolves when nothing is under way; what waits may remain. */
  idle(): Promise<void>;
  /** Resolves when nothing waits either. */
  empty(): Promise<void>;
  /** Rejects all that is left. */
  rejectAll(error: FleetgateError): void;
}

export function createOutbox(limits: OutboxLimits): Outbox {
  const entries = new Set<Entry>();
  const watchers = new Set<() => void>();
  let bytes = 0;
  let inFlight = 0;
  let send: ((message: OutgoingMessage) => Promise<void>) | undefined;

  function add(message: OutgoingMessage): Promise<void> {
    const size = Buffer.byteLength(message.topic) + message.payload.byteLength;
    if (size > limits.maxBytes) {
      return refuse(
        'payload_too_large',
        `a message of ${size} bytes is more than the ${limits.maxBytes} of the queue`,
      );
    }
    if (entries.size >= limits.maxMessages || bytes + size > limits.maxBytes) {
      return refuse('queue_full', `${entries.size} messages (${bytes} bytes) wait for the broker already`);
    }
    const entry: Entry = { message, bytes: size, isSent: false, ...Promise.withResolvers<void>() };
    entries.add(entry);
    bytes += size;
    pump();
    return entry.promise;
  }

  function pump(): void {
    if (send === undefined || inFlight >= limits.maxInFlight) return;
    for (const entry of entries) {
      if (entry.isSent) continue;
      entry.isSent = true;
      inFlight += 1;
      deliver(entry, send(entry.message));
      if (inFlight >= limits.maxInFlight) return;
    }
  }

  function deliver(entry: Entry, sending: Promise<void>): void {
    const sentBy = send;
    sending
      .then(
        () => {
          remove(entry);
          entry.resolve();
        },
        (error: unknown) => {
          const isLost = error instanceof FleetgateError && error.code === 'broker_unreachable';
          // The connection is gone, and said so first here: nothing more by it.
          if (isLost && send === sentBy) send = undefined;
          // At least once: it keeps its place. QoS 0 may have arrived, so it is not repeated.
          if (isLost && entry.message.qos > 0 && entries.has(entry)) entry.isSent = false;
          else {
            remove(entry);
            entry.reject(error);
          }
        },
      )
      .finally(() => {
        inFlight -= 1;
        pump();
        for (const watcher of watchers) watcher();
      });
  }

  function remove(entry: Entry): void {
    if (entries.delete(entry)) bytes -= entry.bytes;
  }

  function until(isSo: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const watcher = () => {
        if (!isSo()) return;
        watchers.delete(watcher);
        resolve();
      };
      watchers.add(watcher);
      watcher();
    });
  }

  return Object.freeze({
    add,
    resume(by: (message: OutgoingMessage) => Promise<void>) {
      send = by;
      pump();
    },
    pause() {
      send = undefined;
    },
    idle: () => until(() => inFlight === 0),
    empty: () => until(() => entries.size === 0),
    rejectAll(error: FleetgateError) {
      for (const entry of entries) {
        remove(entry);
        entry.reject(error);
      }
      for (const watcher of watchers) watcher();
    },
  });
}

function refuse(code: 'queue_full' | 'payload_too_large', message: string): Promise<never> {
  return Promise.reject(new FleetgateError(code, message));
}
