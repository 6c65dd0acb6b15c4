import type { Duplex } from 'node:stream';

/** What a listener knows of a connection that its socket does not say. */
export interface Origin {
  /** Behind a proxy that tells, the client's and not the proxy's. */
  readonly address: string | undefined;
  /** When the socket was accepted, on the clock of `performance.now()`. */
  readonly openedAtMs: number;
}

const origins = new WeakMap<Duplex, Origin>();

/** `carrier` is the stream given to the broker, or the socket under a WebSocket. */
export function setOrigin(carrier: Duplex, origin: Origin): void {
  origins.set(carrier, origin);
}

/** Of connections that came through a listener of ours. */
export function originOf(carrier: Duplex): Origin | undefined {
  return origins.get(carrier);
}
