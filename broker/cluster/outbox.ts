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
  /** Messages that went past the queue while it was read; until all of it was. */
  passed: Set<number> | undefined;
  /** Messages newer than the session that it got from the queue, and not from the bus yet. */
  readonly fromQueue: Set<number>;
}

export function createOutbox(id: string, owner: string): Outbox {
  return {
    id,
    owner,
    claimedAt: Number.POSITIVE_INFINITY,
    takenAt: 0,
    byPacketId: new Map(),
    sentBefore: new Map(),
    passed: new Set(),
    fromQueue: new Set(),
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
