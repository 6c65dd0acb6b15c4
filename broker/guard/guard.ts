import type { ReasonCode } from '@fleetgate/shared';
import type { VerifiedToken } from '@fleetgate/verifier';
import type { AedesPublishPacket, ConnectPacket, PublishPacket, Subscription } from 'aedes';
import type { Decision, Principal } from '../authorization/decide.ts';
import type { ConnectRefusal } from '../connect.ts';
import type { Deadlines } from '../deadlines.ts';
import type { Limits, Logger } from '../options.ts';
import type { Report } from '../refusal.ts';
import type { Connection, Session, Sessions } from '../session.ts';
import type { HostBroker, HostClient, WirePacket } from './host.ts';

/** What guards work with. */
export interface GuardContext {
  readonly broker: HostBroker;
  readonly limits: Limits;
  readonly sessions: Sessions;
  /** On the clock that cannot be set. */
  readonly connectDeadlines: Deadlines;
  /** Milliseconds on that clock. */
  readonly monotonicMs: () => number;
  /** The decision on one subscription of a client, its limit counted. Asking twice changes nothing. */
  readonly judgeSubscription: (client: object, subscription: Subscription) => Decision;
  /** Whether the session of this MQTT client id, live or kept, may receive a topic; true when nothing is known of it. */
  readonly mayReceive: (mqttClientId: string, topic: string) => boolean;
  /** What a token that verified grants now. */
  readonly principalOf: (token: VerifiedToken) => Principal;
  readonly report: Report;
  readonly log: Logger;
}

/** A message that is to be kept for its topic. */
export interface RetainedMessage {
  readonly topic: string;
  /** The very object that the store is given later. */
  readonly payload?: Uint8Array | string | null;
}

/** What a guard does for each message, of one plugin. */
export interface Installed {
  /** For each message that is to be delivered, before it is judged. False holds it back. */
  readonly deliver?: (client: HostClient, packet: AedesPublishPacket) => boolean;
  /** For each message that was judged and may not be received. */
  readonly withheld?: (client: HostClient, packet: AedesPublishPacket) => void;
  /**
   * For each message that may be published, before it is acknowledged. A reason refuses it. One guard at most has it.
   */
  readonly publish?: (
    client: HostClient,
    packet: PublishPacket,
    isWill: boolean,
  ) => Promise<ReasonCode | undefined>;
  /** For each retained message that may be published. A reason refuses it. */
  readonly retain?: (client: HostClient, message: RetainedMessage) => ReasonCode | undefined;
}

export type Proceed = (refusal?: ConnectRefusal) => void;

/**
 * A stand in front of one defect of the host, in one file, complete in itself: taken out of the list, that defect
 * and no other is back. Each part is called at its time, in the order of the list.
 */
export interface Guard {
  /** The rule it holds, in a few words. */
  readonly name: string;
  /** Once, when the plugin is attached. */
  readonly install?: (context: GuardContext) => Installed | undefined;
  /** For each connection before the host sees it. */
  readonly accept?: (connection: Connection, context: GuardContext) => void;
  /** For each packet the host's parser has made, before the host sees it. */
  readonly packet?: (packet: WirePacket, client: HostClient, context: GuardContext) => void;
  /** On CONNECT before all else. A reason closes the connection without an answer. */
  readonly connect?: (client: HostClient, packet: ConnectPacket) => ReasonCode | undefined;
  /** On entering authentication; what it returns is called just before it succeeds. */
  readonly authenticating?: (client: HostClient) => () => void;
  /**
   * When a session is about to enter; it waits until `proceed` is called, and is refused with what that is given. To be
   * called also when its connection closes, which is known by then.
   */
  readonly enter?: (session: Session, context: GuardContext, proceed: Proceed) => void;
  /** When its session has another token. */
  readonly renewed?: (session: Session, context: GuardContext) => void;
  /** When CONNACK 0 was sent. */
  readonly established?: (connection: Connection, context: GuardContext) => void;
  /** When its stream has closed. */
  readonly closed?: (connection: Connection, context: GuardContext) => void;
}

/** The guards that have a part, by part, in their order. */
export type GuardsByPart = {
  readonly [Part in Exclude<keyof Guard, 'name'>]-?: readonly (Guard & Required<Pick<Guard, Part>>)[];
};

export function guardsByPart(guards: readonly Guard[]): GuardsByPart {
  const having = <Part extends keyof Guard>(part: Part) =>
    guards.filter((guard): guard is Guard & Required<Pick<Guard, Part>> => guard[part] !== undefined);
  return Object.freeze({
    install: having('install'),
    accept: having('accept'),
    packet: having('packet'),
    connect: having('connect'),
    authenticating: having('authenticating'),
    enter: having('enter'),
    renewed: having('renewed'),
    established: having('established'),
    closed: having('closed'),
  });
}
