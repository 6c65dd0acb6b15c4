import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Peer, VerifiedToken } from '@fleetgate/verifier';
import type { ConnectPacket } from 'aedes';
import type { Place } from './admission.ts';
import type { Principal } from './authorization/decide.ts';
import type { Deadline } from './deadlines.ts';
import type { HostClient } from './guard/host.ts';
import { createKeptSessions, type KeptSessions } from './kept-sessions.ts';
import type { MessageBuckets } from './message-rate.ts';
import type { Protocol } from './protocol.ts';

/** One socket that was let in, from its first byte to its end. */
export interface Connection {
  readonly stream: Duplex;
  /** Under a WebSocket, the socket that carries it. */
  readonly socket: Socket | undefined;
  readonly protocol: Protocol;
  /** Of the client, also behind a proxy that says so; `undefined` for streams that have none, as in tests. */
  readonly address: string | undefined;
  /** When its socket was accepted, on the clock that cannot be set. */
  readonly openedAtMs: number;
  /** What it can prove of itself. */
  readonly peer: Peer;
  /** What it counts as; `over_limit`: let in only to be told to come back later. */
  readonly place: Place;
  /** It had no session by the deadline, and was closed for that. */
  isTimedOut: boolean;
  /** CONNACK 0 was sent. */
  isEstablished: boolean;
  /** By which it must have a session. */
  deadline: Deadline | undefined;
  /** What the host made of it. */
  client: HostClient | undefined;
  /** The CONNECT packet, from when it came to when it was answered. */
  connect: ConnectPacket | undefined;
  /** Of its token, once that has verified; it may still be refused. */
  session: Session | undefined;
}

/** One connection whose token was verified. It exists only then: no session, no rights. */
export interface Session {
  readonly client: HostClient;
  readonly connection: Connection;
  /** What its token says; a renewal replaces both. */
  token: VerifiedToken;
  /** What that grants under the policy in force. */
  principal: Principal;
  /** Moment of CONNECT, in milliseconds since 1970; a will is judged by it. */
  readonly startedAtMs: number;
  /** Filters it was granted and has not given up. */
  readonly filters: Set<string>;
  /** When it is warned, or ends. */
  deadline?: Deadline;
  /** Ends the questions to the issuer about its token. */
  unwatch?: () => void;
  /** The last of its renewals, that the next one waits for. */
  renewing: Promise<void>;
  /** How many have not been acknowledged. */
  renewals: number;
  /** Bytes of events of its own that the host has not written yet. */
  untoldBytes: number;
  /** What is left of the rates it publishes under; made at its first publish under one. A renewal keeps it. */
  messageBuckets?: MessageBuckets;
}

/** A session of what was admitted, before anything was subscribed to. */
export function createSession(
  client: HostClient,
  connection: Connection,
  { token, principal }: { token: VerifiedToken; principal: Principal },
  startedAtMs: number,
): Session {
  const filters = new Set<string>();
  return {
    client,
    connection,
    token,
    principal,
    startedAtMs,
    filters,
    renewing: settled,
    renewals: 0,
    untoldBytes: 0,
  };
}

const settled: Promise<void> = Promise.resolve();

/**
 * What we know of connections and sessions. Keyed by the host's client objects, never by what they say of
 * themselves; the only thing keyed by a client id is who owns it now.
 */
export interface Sessions {
  readonly connections: WeakMap<object, Connection>;
  readonly byClient: WeakMap<object, Session>;
  /** Every open socket, also those the host has lost sight of. */
  readonly open: Set<Connection>;
  /** Verified and about to be registered by the host, by MQTT client id; at most one each. */
  readonly entering: Map<string, Session>;
  /** Registered by the host and not yet gone, by MQTT client id. */
  readonly live: Map<string, Session>;
  readonly kept: KeptSessions;
}

export function createSessions(kept: KeptSessions = createKeptSessions()): Sessions {
  return {
    connections: new WeakMap(),
    byClient: new WeakMap(),
    open: new Set(),
    entering: new Map(),
    live: new Map(),
    kept,
  };
}
