import { FleetgateError } from '@fleetgate/shared';
import type { OutgoingMessage } from './connection.ts';
import type { QueueFile } from './queue-file.ts';

export interface OutboxLimits {
  /** Messages that may wait for delivery, sent ones without acknowledgement included. */
  maxMessages: number;
  /** Bytes of topic and payload they may have together. */
  maxBytes: number;
  /** Which message is given up for want of room: the one that comes, or the oldest that has not been sent. */
  whenFull: 'newest' | 'oldest';
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
   * @throws FleetgateError `queue_full` when there is no room, for this message or later for one that is given up for
   * a newer one; `payload_too_large` when there never will be
   */
  add(message: OutgoingMessage): Promise<void>;
  /** From now on messages go out by `send`, until `pause`. */
  resume(send: (message: OutgoingMessage) => Promise<void>): void;
  pause(): void;
  /** Resolves when nothing is under way; what waits may remain. */
  idle(): Promise<void>;
  /** Resolves when nothing waits either. */
  empty(): Promise<void>;
  /** Rejects all that is left; what is in the file stays there. */
  rejectAll(error: FleetgateError): void;
}

/** @param file keeps what is sent with QoS 1 or 2 over restarts; what it holds is sent first */
export function createOutbox(limits: OutboxLimits, file?: QueueFile): Outbox {
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
    const isFull = () => entries.size >= limits.maxMessages || bytes + size > limits.maxBytes;
    while (limits.whenFull === 'oldest' && isFull()) {
      const oldest = entries.values().find(({ isSent }) => !isSent);
      if (oldest === undefined) break;
      remove(oldest);
      oldest.reject(new FleetgateError('queue_full', 'the message was given up for a newer one'));
    }
    if (isFull()) {
      return refuse('queue_full', `${entries.size} messages (${bytes} bytes) wait for the broker already`);
    }
    if (message.qos > 0) file?.put(message);
    const entry = enter(message, size);
    pump();
    return entry.promise;
  }

  function enter(message: OutgoingMessage, size: number): Entry {
    const entry: Entry = { message, bytes: size, isSent: false, ...Promise.withResolvers<void>() };
    entries.add(entry);
    bytes += size;
    return entry;
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
    if (!entries.delete(entry)) return;
    bytes -= entry.bytes;
    file?.remove(entry.message);
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

  for (const message of file?.recovered ?? []) {
    const { promise } = enter(message, Buffer.byteLength(message.topic) + message.payload.byteLength);
    // Whoever published it is gone.
    promise.catch(() => undefined);
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
      for (const entry of entries) entry.reject(error);
      entries.clear();
      bytes = 0;
      for (const watcher of watchers) watcher();
    },
  });
}

function refuse(code: 'queue_full' | 'payload_too_large', message: string): Promise<never> {
  return Promise.reject(new FleetgateError(code, message));
}
