import type { Bounds } from '../report.ts';

/** In this order: memory is that of a broker that did nothing yet. */
export const measureNames = ['memory', 'connect_first', 'connect_seen', 'qos0', 'qos1', 'fanout'] as const;
export type MeasureName = (typeof measureNames)[number];

export interface Goal extends Bounds {
  readonly measure: MeasureName;
  readonly against: 'bare' | 'rabbitmq';
}

/** What Fleetgate's figures are to be, as ratios within one run. */
export const goals: readonly Goal[] = [
  { measure: 'connect_first', against: 'bare', atLeast: 0.65 },
  { measure: 'connect_seen', against: 'bare', atLeast: 0.9 },
  { measure: 'qos0', against: 'bare', atLeast: 0.95 },
  { measure: 'qos1', against: 'bare', atLeast: 0.95 },
  { measure: 'memory', against: 'bare', atMost: 1.1 },
  { measure: 'connect_first', against: 'rabbitmq', atLeast: 4 },
];

export const units: Readonly<Record<MeasureName, string>> = {
  connect_first: 'connects/s',
  connect_seen: 'connects/s',
  qos0: 'messages/s',
  qos1: 'messages/s',
  fanout: 'deliveries/s',
  memory: 'bytes/connection',
};
