import type { HostClient } from '../guard/host.ts';

export const MAX_PACKET_ID = 65_535;

/** What is under way to one connection of a session. */
export interface Outbox {
  readonly id: string;
  /** What the connection is in Redis. */
  readonly owner: string;
  /** Number on the bus when it took the session: what is older reaches it only by the queue. */
  claimedAt: number;
  /** Highest number at which somebody else took the session. */
  takenAt: number;
  /** Packet identifiers under way, each with the number of its message, or `released` when its PUBREL is. */
  readonly byPacketId: Map<number, number | 'released'>;
  /** Of those that an earlier connection was sent: the identifier of each message. */
  readonly sentBefore: Map<number, number>;
  /** Until its queue was read: what comes over the bus is left to that, so that it comes behind what waits there. */
  isReading: boolean;
  /** Number of the last message that was left to it. */
  leftToQueue: number;
  /** Messages newer than the session that it got from the queue, and not from the bus yet. */
  readonly fromQueue: Set<number>;
  /** Messages from the queue that the host has not come to yet, and what waits for the last of them. */
  readonly onTheWay: Set<number>;
  arrived: (() => void) | undefined;
}

export function createOutbox(id: string, owner: string): Outbox {
  return {
    id,
    owner,
    claimedAt: Number.POSITIVE_INFINITY,
    takenAt: 0,
    byPacketId: new Map(),
    sentBefore: new Map(),
    isReading: true,
    leftToQueue: 0,
    fromQueue: new Set(),
    onTheWay: new Set(),
    arrived: undefined,
  };
}

/** Takes in what `claim` answered: the number, and pairs of packet identifiers and numbers. */
export function openOutbox(box: Outbox, client: HostClient, [seq, ...underWay]: readonly string[]): void {
  box.claimedAt = Number(seq);
  for (let at = 0; at + 1 < underWay.length; at += 2) {
    const packetId = Number(underWay[at]);
    const number = underWay[at + 1] as string;
    if (number.startsWith('r')) {
      box.byPacketId.set(packetId, 'released');
    } else {
      box.byPacketId.set(packetId, Number(number));
      box.sentBefore.set(Number(number), packetId);
    }
  }
  // The host numbers packets from here on, also those that are in no queue.
  if (box.byPacketId.size > 0) client._nextId = startOfLargestGap(box.byPacketId.keys());
}

/** The packet identifier for a message: the one it had, or the first from `wanted` on that is free; there must be one. */
export function takePacketId(box: Outbox, seq: number, wanted: number): number {
  const before = box.sentBefore.get(seq);
  if (before !== undefined) return before;
  let packetId = wanted;
  while (box.byPacketId.has(packetId)) packetId = packetId >= MAX_PACKET_ID ? 1 : packetId + 1;
  box.byPacketId.set(packetId, seq);
  return packetId;
}

/** Resolves when the host has come to all it was given from the queue. It does not when the connection is lost. */
export function allArrived(box: Outbox): Promise<void> {
  if (box.onTheWay.size === 0) return Promise.resolve();
  return new Promise((resolve) => {
    box.arrived = resolve;
  });
}

export function noteArrived(box: Outbox, seq: number): void {
  if (box.onTheWay.delete(seq) && box.onTheWay.size === 0) box.arrived?.();
}

function startOfLargestGap(taken: Iterable<number>): number {
  const sorted = Array.from(taken).sort((a, b) => a - b);
  let start = 1;
  let largest = 0;
  for (const [at, packetId] of sorted.entries()) {
    const next = sorted[at + 1] ?? (sorted[0] as number) + MAX_PACKET_ID;
    if (next - packetId > largest) {
      largest = next - packetId;
      start = packetId + 1;
    }
  }
  return start > MAX_PACKET_ID ? 1 : start;
}
