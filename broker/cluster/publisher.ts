import type { ReasonCode } from '@fleetgate/shared';
import type { Limits } from '../options.ts';
import type { Report } from '../refusal.ts';
import type { Directory } from './directory.ts';
import { CLUSTER_ID, type NumberedPacket } from './emitter.ts';
import type { Link } from './link.ts';
import type { Outbox } from './outbox.ts';
import { encodeMessage } from './wire.ts';

/** Each behind one more change of filters that came over the bus: more of them in a row is a bus that stands still. */
const MAX_TRIES = 1_000;

export interface Outgoing extends NumberedPacket {
  readonly topic: string;
  readonly payload?: Uint8Array | string | null;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly messageId?: number;
}

interface Context {
  readonly prefix: string;
  readonly link: Link;
  readonly directory: Directory;
  readonly limits: Limits;
  readonly mayReceive: (mqttClientId: string, topic: string) => boolean;
  readonly report: Report;
}

/** The will of a session here. */
export interface OwnWill {
  /** What its connection is in Redis. */
  readonly owner: string;
}

/** A will that a broker left when it died. */
export interface LeftWill {
  readonly broker: string;
  /** MQTT client id of its owner. */
  readonly id: string;
}

/**
 * Stores a message for all who are to have it and sends it to all brokers. When this resolves with nothing, it may be
 * acknowledged. `from` is the publisher's, or whose will it is; `keeper` who answers for what is retained.
 * @throws LinkAway, or what Redis answered: then it is not known whether it was done
 */
export async function publish(
  { prefix, link, directory, limits, mayReceive, report }: Context,
  packet: Outgoing,
  from: Outbox | OwnWill | LeftWill,
  keeper: string,
): Promise<ReasonCode | undefined> {
  const { topic, qos, retain } = packet;
  const box = 'byPacketId' in from ? from : undefined;
  const dead = 'broker' in from ? from.broker : '';
  const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload;
  const body = encodeMessage(topic, payload ?? nothing, qos, retain);
  const retained = retain ? ((payload?.length ?? 0) === 0 ? 'clear' : 'set') : '';
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const receivers: string[] = [];
    const { applied } = directory;
    if (qos > 0) for (const id of directory.match(topic)) if (mayReceive(id, topic)) receivers.push(id);
    const [answer, ...full] = (await link
      .store()
      .publishMessage(
        prefix,
        applied,
        topic,
        qos,
        retained,
        keeper,
        limits.maxRetainedMessagesPerClient,
        limits.maxRetainedBytesPerClient,
        limits.maxRetainedMessages,
        'id' in from ? from.id : '',
        'owner' in from ? from.owner : '',
        qos === 2 && box !== undefined ? (packet.messageId as number) : '',
        limits.maxQueuedMessagesPerClient,
        limits.maxQueuedBytesPerClient,
        body,
        dead,
        ...receivers,
      )) as [string, ...string[]];
    switch (answer) {
      case 'stale':
        // What was missing may have come before the answer did.
        while (directory.applied <= applied) await directory.next();
        continue;
      case 'fenced':
        return 'session_moved';
      case 'too_many_retained':
        return answer;
      case 'too_many_inbound':
        return 'too_many_unreleased';
      case 'repeated':
        number(packet, 1);
        return undefined;
      default:
        for (const clientId of full) report({ action: 'receive', reason: 'queue_full', clientId });
        number(packet, Number(answer));
        return undefined;
    }
  }
  throw new Error('the bus stands still');
}

const nothing = new Uint8Array(0);

/** What the host copies from it when it goes on: by that it is known to have been sent. */
function number(packet: NumberedPacket, seq: number): void {
  packet.brokerId = CLUSTER_ID;
  packet.brokerCounter = seq;
}
