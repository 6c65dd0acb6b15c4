/**
 * What devices saw of brokers, and what was done to these, for `history-checker.ts`. Times are of one clock, in
 * milliseconds.
 */
export type HistoryEvent =
  | Connected
  | SessionForgotten
  | Subscribed
  | Sent
  | Acknowledged
  | Completed
  | Received;

interface OfDevice {
  readonly atMs: number;
  readonly device: string;
}

export interface Connected extends OfDevice {
  readonly kind: 'connected';
  readonly broker: number;
  /** Topic filters of what its token lets it receive. */
  readonly grants: readonly string[];
}

/** A broker said that it knows no session, though it has acknowledged a subscription of it. */
export interface SessionForgotten extends OfDevice {
  readonly kind: 'session_forgotten';
  readonly broker: number;
}

/** One return code of a SUBACK. */
export interface Subscribed extends OfDevice {
  readonly kind: 'subscribed';
  readonly filter: string;
  /** 128 is a refusal. */
  readonly code: number;
  /** Whether the token covers the filter. */
  readonly isGranted: boolean;
}

/** A PUBLISH as it is sent for the first time; it is sent again until it is acknowledged. */
export interface Sent extends OfDevice {
  readonly kind: 'sent';
  readonly message: string;
  readonly topic: string;
  readonly qos: 1 | 2;
}

/** The PUBACK, or the first PUBREC. */
export interface Acknowledged extends OfDevice {
  readonly kind: 'acknowledged';
  readonly message: string;
  readonly broker: number;
}

/** The PUBCOMP. */
export interface Completed extends OfDevice {
  readonly kind: 'completed';
  readonly message: string;
}

/** A PUBLISH as the device takes it: one of QoS 2 is taken once for a packet id that is not released. */
export interface Received extends OfDevice {
  readonly kind: 'received';
  readonly message: string;
  readonly topic: string;
  readonly qos: number;
  readonly broker: number;
}

/** Something that was done to the brokers, or that one did by itself. */
export interface Fault {
  readonly kind: FaultKind;
  /** Whose link or process it is; none, where it is Redis itself. */
  readonly broker?: number;
  readonly beganMs: number;
  readonly endedMs: number;
}

export type FaultKind =
  | 'broker_killed'
  /** A broker ended by itself; it is started again. */
  | 'broker_ended'
  /** A broker that stands still, with its connections open, and then goes on as if nothing had been. */
  | 'broker_frozen'
  | 'device_link_cut'
  | 'device_link_silent'
  | 'redis_link_cut'
  | 'redis_link_silent'
  | 'redis_frozen'
  | 'redis_killed';

export interface History {
  readonly events: readonly HistoryEvent[];
  readonly faults: readonly Fault[];
}
