import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { addressKey, type ReasonCode } from '@fleetgate/shared';
import type { Gate } from '../admission.ts';
import { createDeadlines } from '../deadlines.ts';
import type { Limits, Logger } from '../options.ts';
import { logQuietly, type Report } from '../refusal.ts';
import { setOrigin } from './origin.ts';

/** A socket on its way to MQTT: a PROXY header, a TLS handshake and a WebSocket upgrade may come first. */
export interface Arrival {
  /**
   * What it is read by: the socket as it was accepted, then the TLS one over it. Only the topmost may be destroyed:
   * Node (20 to 24) crashes when, while a handshake ends, the one below is destroyed and then the one above.
   */
  carrier: Socket;
  /** Says that the client is not who the socket says; whether that address may have one more. */
  comeFrom(address: string): boolean;
  /** Ends it, after `answer` if there is one; only the first reason is reported. */
  refuse(reason: ReasonCode, answer?: string): void;
  /** It is MQTT's from here on, carried by `carrier`. */
  arrive(carrier: Duplex): void;
}

/** One step on the way; it ends by calling the next one with the socket that is read from there. */
export type Step = (socket: Socket, arrival: Arrival) => void;

export interface Arrivals {
  /** `isProxied`: who it is will be known later. `undefined` for one that was closed at once. */
  begin(socket: Socket, isProxied: boolean): Arrival | undefined;
  /** Closes all that are still on their way. */
  close(): void;
}

export interface ArrivalsOptions {
  readonly limits: Limits;
  /** Counts those on their way; shared by the listeners of a broker. */
  readonly gate: Gate;
  readonly report: Report;
  readonly log: Logger;
}

/**
 * Bounds what has not come to MQTT yet: `limits.connectTimeoutSeconds` from the opening of the socket, which go on
 * counting until CONNACK, and the limits of connections.
 */
export function createArrivals({ limits, gate, report, log }: ArrivalsOptions): Arrivals {
  const deadlines = createDeadlines({
    now: () => performance.now(),
    onError: (error) => logQuietly(log, error),
  });
  const open = new Set<Arrival>();

  function begin(socket: Socket, isProxied: boolean): Arrival | undefined {
    const openedAtMs = performance.now();
    let address = socket.remoteAddress;
    let place = gate.admit(isProxied ? undefined : keyOf(address));
    let isReported = false;
    const deadline = deadlines.add(
      openedAtMs + limits.connectTimeoutSeconds * 1000,
      () => refuse('connect_timeout'),
      undefined,
    );
    const leave = () => {
      if (!open.delete(arrival)) return;
      deadlines.cancel(deadline);
      gate.release(place);
    };
    const refuse = (reason: ReasonCode, answer?: string) => {
      // Why the TLS handshake failed is known only when the socket has closed already.
      if (!isReported) report({ action: 'connect', reason, address });
      isReported = true;
      if (answer === undefined) {
        leave();
        arrival.carrier.destroy();
      } else {
        // The deadline is kept for one who does not take the answer.
        arrival.carrier.end(answer);
      }
    };
    // Said by the `close` that follows.
    socket.on('error', () => {});
    socket.once('close', leave);
    const arrival: Arrival = {
      carrier: socket,
      comeFrom(told) {
        address = told;
        gate.release(place);
        place = gate.admit(keyOf(told));
        if (place.verdict === 'admitted') return true;
        refuse('too_many_connections');
        return false;
      },
      refuse,
      arrive(carrier) {
        leave();
        setOrigin(carrier, { address, openedAtMs });
      },
    };
    open.add(arrival);
    if (place.verdict === 'admitted') return arrival;
    refuse('too_many_connections');
    return undefined;
  }

  return {
    begin,
    close() {
      for (const { carrier } of open) carrier.destroy();
      deadlines.close();
    },
  };
}

const keyOf = (address: string | undefined) => (address === undefined ? undefined : addressKey(address));
