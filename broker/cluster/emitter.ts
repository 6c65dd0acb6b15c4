import mqemitter from 'mqemitter';
import type { Message } from './wire.ts';

/** Stands where the host has the id of the broker that a message came through: numbers are of all brokers. */
export const CLUSTER_ID = 'fleetgate';

/** A message as the host hands it to its subscribers. */
export interface NumberedPacket {
  brokerId?: string | null;
  brokerCounter?: number;
}

export const isNumbered = (packet: NumberedPacket) => packet.brokerId === CLUSTER_ID;

/**
 * The host's emitter: it delivers what comes over the bus, each message once and in one order for all brokers. What the
 * host emits has been sent by then, or is of itself (`$SYS`), which nobody may subscribe to.
 */
export function createEmitter() {
  const local = mqemitter({ concurrency: 0, matchEmptyLevels: true });
  const { emit } = local;
  local.emit = (_message, done) => {
    done?.();
  };
  return {
    mq: local,
    deliver(seq: number, { topic, payload, qos, retain }: Message): void {
      const packet = {
        cmd: 'publish',
        brokerId: CLUSTER_ID,
        brokerCounter: seq,
        topic,
        payload,
        qos,
        retain,
      };
      emit.call(local, packet, () => {});
    },
  };
}
