import { Readable } from 'node:stream';
import { matches } from '@fleetgate/shared';
import type { Subscription } from 'aedes';
import { grantedOf } from '../guard/granted-qos.ts';
import type { HostClient, HostPersistence, QueuedPacket } from '../guard/host.ts';
import type { BusWindow } from './bus-window.ts';
import type { Directory } from './directory.ts';
import { CLUSTER_ID, isNumbered } from './emitter.ts';
import type { Link } from './link.ts';
import { allArrived, createOutbox, MAX_PACKET_ID, noteArrived, type Outbox, takePacketId } from './outbox.ts';
import { decodeMessage } from './wire.ts';

/** Messages of a queue that are read at once. */
const PAGE = 100;

/** Rejected, the host closes the connection. */
class SessionMoved extends Error {}
class TooManyUnderWay extends Error {}

interface Context {
  readonly prefix: string;
  readonly link: Link;
  readonly directory: Directory;
  readonly busWindow: BusWindow;
  /** Of the connections that have claimed their session. */
  readonly outboxes: WeakMap<object, Outbox>;
  /** Packet identifiers under way to one session: of what is queued, and of QoS 2 messages without a PUBCOMP. */
  readonly maxUnderWay: number;
  /** Ends a session that has as many. */
  readonly full: (client: object) => void;
}

/**
 * What the host asks of a persistence, in Redis. Messages are stored, retained and sent when they are authorized, in
 * one step; what the host asks afterwards for each of them has been done by then. Wills are in the claim of a session.
 */
export function createPersistence(context: Context) {
  const { prefix, link, directory, busWindow, outboxes, maxUnderWay, full } = context;
  const boxOf = (client: object): Outbox => {
    const box = outboxes.get(client);
    if (box === undefined) throw new SessionMoved('this connection has no session');
    return box;
  };
  async function own(done: Promise<unknown>): Promise<void> {
    if ((await done) !== 1) throw new SessionMoved('another connection has the session');
  }

  /** Changes filters, which all brokers are told: who changes long ones again and again waits until they are read. */
  async function change(filters: readonly string[], act: () => Promise<unknown>): Promise<unknown> {
    // As JSON a character may be two.
    const bytes = 2 * filters.reduce((sum, filter) => sum + Buffer.byteLength(filter), 0);
    await busWindow.enter(bytes);
    let seq: number | undefined;
    try {
      const answer = await act();
      if (answer === 0) throw new SessionMoved('another connection has the session');
      if (answer !== 1) seq = Number(answer);
      return answer;
    } finally {
      busWindow.published(bytes, seq, directory.applied);
    }
  }

  /** The packet identifier of each message, noted in one step for all; none where there are too few. */
  async function identify(client: HostClient, box: Outbox, numbers: readonly number[]) {
    const fresh: number[] = [];
    const packetIds = numbers.map((seq) => {
      const before = box.sentBefore.get(seq);
      if (before !== undefined || box.byPacketId.size >= maxUnderWay) return before;
      const packetId = takePacketId(box, seq, client._nextId);
      client._nextId = packetId >= MAX_PACKET_ID ? 1 : packetId + 1;
      fresh.push(packetId, seq);
      return packetId;
    });
    if (fresh.length > 0) await own(link.store().noteSent(prefix, box.id, box.owner, ...fresh));
    return packetIds;
  }

  async function* queueOf(client: HostClient, box: Outbox): AsyncGenerator<object> {
    const store = link.store();
    for (const [messageId, state] of box.byPacketId) {
      if (state === 'released') yield { cmd: 'pubrel', messageId };
    }
    const lost = new Set(box.sentBefore.keys());
    for (let from = '-'; ; ) {
      const { leftToQueue } = box;
      const page = await store.xrangeBuffer(`${prefix}queue:${box.id}`, from, '+', 'COUNT', PAGE);
      const numbers = page.map(([entry]) => Number.parseInt(entry.toString(), 10));
      const packetIds = await identify(client, box, numbers);
      for (const [at, [entry, fields]] of page.entries()) {
        from = `(${entry.toString()}`;
        const seq = numbers[at] as number;
        lost.delete(seq);
        if (seq > box.claimedAt && seq > box.leftToQueue) box.fromQueue.add(seq);
        box.onTheWay.add(seq);
        const { topic, payload, qos } = decodeMessage(fields[1] as Buffer);
        const dup = box.sentBefore.has(seq);
        // What was sent before is sent again as it was.
        const sentQos = dup ? qos : grantedOf(client, { topic, qos });
        const messageId = packetIds[at];
        const numbered = { brokerId: CLUSTER_ID, brokerCounter: seq };
        yield { cmd: 'publish', ...numbered, topic, payload, qos: sentQos, retain: false, dup, messageId };
      }
      if (page.length === PAGE) continue;
      await allArrived(box);
      if (box.leftToQueue === leftToQueue) break;
    }
    box.isReading = false;
    // Delivered without a place in the queue, to a connection that did not acknowledge.
    for (const seq of lost) {
      const messageId = box.sentBefore.get(seq) as number;
      box.byPacketId.delete(messageId);
      await store.acknowledge(prefix, box.id, box.owner, messageId);
    }
  }

  /** What was queued behind the number `from`, up to `to`, while the host did not listen yet. */
  async function deliverMissed(client: HostClient, box: Outbox, from: number, to: number): Promise<void> {
    // What another filter took is under way when the host has come to it.
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    const before = new Set(box.byPacketId.values());
    const queue = `${prefix}queue:${box.id}`;
    const missed = await link.store().xrangeBuffer(queue, `(${from}-1`, `${to}-1`);
    const after = new Set(box.byPacketId.values());
    for (const [entry, fields] of missed) {
      const seq = Number.parseInt(entry.toString(), 10);
      if (before.has(seq) || after.has(seq)) continue;
      const [messageId] = await identify(client, box, [seq]);
      if (messageId === undefined) return full(client);
      const { topic, payload, qos } = decodeMessage(fields[1] as Buffer);
      // Without a number: newer ones may have gone before it.
      const packet = { cmd: 'publish', topic, payload, qos, retain: false, dup: false, messageId };
      client.deliverQoS(packet, () => {});
    }
  }

  function retainedOf(filters: readonly string[]): Readable {
    const found = directory.retained
      .entries()
      .filter(([topic]) => filters.some((one) => matches(one, topic)));
    return Readable.from(found.map(([, packet]) => packet));
  }

  const nothing = async () => {};
  const persistence = {
    setup: nothing,
    destroy: nothing,
    retained: directory.retained,

    async addSubscriptions(client: HostClient, subscriptions: readonly Subscription[]) {
      if (subscriptions.length === 0) return;
      const box = boxOf(client);
      const pairs = subscriptions.flatMap(({ topic, qos }) => [topic, qos]);
      const filters = subscriptions.map(({ topic }) => topic);
      const answer = await change(filters, () =>
        link.store().addFilters(prefix, box.id, box.owner, ...pairs),
      );
      // The host listens once this resolves, and what came over the bus by now is in the queue alone.
      const from = Number(answer);
      const { applied } = directory;
      if (answer === 1 || applied <= from) return;
      if (box.isReading) box.leftToQueue = Math.max(box.leftToQueue, applied);
      else deliverMissed(client, box, from, applied).catch(() => client.conn.destroy());
    },
    async removeSubscriptions(client: object, topics: readonly string[]) {
      if (topics.length === 0) return;
      const { id, owner } = boxOf(client);
      await change(topics, () => link.store().removeFilters(prefix, id, owner, ...topics));
    },
    async subscriptionsByClient({ id }: { readonly id: string }): Promise<Subscription[]> {
      const filters = await link.store().hgetall(`${prefix}subs:${id}`);
      return Object.entries(filters).map(([topic, qos]) => ({ topic, qos: Number(qos) as 0 | 1 | 2 }));
    },
    /** A clean session has none: its claim took them away. */
    cleanSubscriptions: nothing,
    subscriptionsByTopic: async () => [],

    outgoingEnqueue: nothing,
    outgoingEnqueueCombi: nothing,
    outgoingStream(client: HostClient): Readable {
      if (client.clean) return Readable.from([]);
      return Readable.from(queueOf(client, outboxes.get(client) ?? createOutbox(client.id, '')));
    },
    async outgoingUpdate(client: object, packet: QueuedPacket) {
      const box = boxOf(client);
      const messageId = packet.messageId as number;
      if (packet.cmd === 'pubrel') {
        const state = box.byPacketId.get(messageId);
        // Of a message that is in no queue, or once more.
        if (state === undefined || state === 'released') return;
        box.byPacketId.set(messageId, 'released');
        await own(link.store().noteReceived(prefix, box.id, box.owner, messageId));
        return;
      }
      if (!isNumbered(packet)) return;
      const seq = packet.brokerCounter as number;
      if (box.byPacketId.get(messageId) === seq) {
        noteArrived(box, seq);
        return;
      }
      if (box.byPacketId.size >= maxUnderWay && !box.sentBefore.has(seq)) {
        full(client);
        throw new TooManyUnderWay('the client completes none of what it was sent');
      }
      packet.messageId = takePacketId(box, seq, messageId);
      await own(link.store().noteSent(prefix, box.id, box.owner, packet.messageId, seq));
      noteArrived(box, seq);
    },
    async outgoingClearMessageId(client: object, { messageId }: QueuedPacket) {
      const box = boxOf(client);
      // One held back has none: what its session may not receive was taken out when that was decided.
      if (messageId === undefined || !box.byPacketId.delete(messageId)) return undefined;
      await link.store().acknowledge(prefix, box.id, box.owner, messageId);
      return undefined;
    },

    /** Whether a message is a repetition was found when it was stored. */
    async incomingGetPacket(_client: object, packet: { readonly cmd?: string }) {
      if (packet.cmd === 'publish') throw new Error('no such packet');
      return packet;
    },
    incomingStorePacket: nothing,
    async incomingDelPacket(client: HostClient, { messageId }: QueuedPacket) {
      const { id, owner } = boxOf(client);
      try {
        await own(link.store().noteReleased(prefix, id, owner, messageId as number));
      } catch (error) {
        // The host answers a PUBREL whatever came of it, and another message under this identifier would be taken for
        // a repetition.
        client.conn.destroy();
        throw error;
      }
    },
    cleanIncoming: nothing,

    storeRetained: nothing,
    createRetainedStream: (filter: string): Readable => retainedOf([filter]),
    createRetainedStreamCombi: retainedOf,

    putWill: nothing,
    delWill: async () => undefined,
    streamWill: () => Readable.from([]),
  };
  return persistence satisfies Omit<HostPersistence, never>;
}
