import type { AddressInfo, Server } from 'node:net';
import { createServer, isIPv6 } from 'node:net';
import { checkNames, FleetgateError } from '@fleetgate/shared';
import type { Gate } from '../admission.ts';
import type { Limits, Logger } from '../options.ts';
import type { Protocol } from '../protocol.ts';
import type { Report } from '../refusal.ts';
import { parseAddressRanges } from './address-ranges.ts';
import { createArrivals, type Step } from './arrival.ts';
import { proxyStep } from './proxy-protocol.ts';
import { type TlsStep, tlsStep } from './tls.ts';
import { loadTlsFiles, type TlsFiles, type TlsMaterial } from './tls-files.ts';
import { type TakeConnection, webSocketStep } from './websocket.ts';

export interface ListenerOptions {
  readonly protocol: Protocol;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Of `mqtts` and `wss`, which need it. TLS is 1.2 or newer. */
  readonly tls?: TlsFiles | undefined;
  /**
   * A load balancer says in a PROXY header (version 1 or 2) who the client is, and `proxyFrom` says which load
   * balancer. A connection without such a header, or from elsewhere, is closed. Default false.
   */
  readonly proxyProtocol?: boolean | undefined;
  /** IP addresses, and networks in CIDR notation. */
  readonly proxyFrom?: readonly string[] | undefined;
}

export interface Listener {
  readonly protocol: Protocol;
  /** With the actual port. */
  readonly url: string;
  /**
   * Reads the certificates again; what it answers puts them to use for connections from then on.
   * @throws FleetgateError `tls_file_invalid`
   */
  reloadCertificates(): Promise<() => void>;
  /** Accepts nothing more, drops what has not come to MQTT; resolves when the last connection is gone. */
  close(): Promise<void>;
}

export interface ListenerContext {
  readonly limits: Limits;
  /** Counts connections that have not come to MQTT yet. */
  readonly gate: Gate;
  readonly report: Report;
  readonly log: Logger;
  readonly take: TakeConnection;
}

const optionNames = ['protocol', 'host', 'port', 'tls', 'proxyProtocol', 'proxyFrom'];
const tlsNames = ['certFile', 'keyFile', 'clientCaFile', 'requireClientCert'];
const protocols: readonly string[] = ['mqtt', 'mqtts', 'ws', 'wss'];

/** @throws TypeError for a mistake in the options */
export function checkListener(options: ListenerOptions): void {
  const { protocol, tls, proxyProtocol = false, proxyFrom } = options;
  checkNames(options, optionNames, 'listeners.');
  if (!protocols.includes(protocol)) throw new TypeError(`unknown protocol ${String(protocol)}`);
  const isTls = protocol === 'mqtts' || protocol === 'wss';
  if (isTls !== (tls !== undefined)) {
    throw new TypeError(
      isTls ? `a listener of ${protocol} needs tls` : `${protocol} is not TLS; leave tls out`,
    );
  }
  if (tls !== undefined) {
    checkNames(tls, tlsNames, 'listeners.tls.');
    if (typeof tls.certFile !== 'string' || typeof tls.keyFile !== 'string') {
      throw new TypeError('listeners.tls needs certFile and keyFile');
    }
    if (tls.requireClientCert === true && tls.clientCaFile === undefined) {
      throw new TypeError('listeners.tls.requireClientCert needs clientCaFile');
    }
  }
  if (proxyProtocol !== (proxyFrom !== undefined && proxyFrom.length > 0)) {
    throw new TypeError('listeners.proxyProtocol and proxyFrom, not empty, go together');
  }
  parseAddressRanges(proxyFrom ?? []);
}

/**
 * Accepts connections at one address. What a connection goes through before MQTT is a chain of steps: PROXY header,
 * TLS, WebSocket, each where it is asked for.
 * @throws TypeError; FleetgateError `tls_file_invalid`, `address_in_use`; whatever else keeps it from listening as it is
 */
export async function openListener(options: ListenerOptions, context: ListenerContext): Promise<Listener> {
  checkListener(options);
  const { protocol, host, port, tls } = options;
  const material = tls === undefined ? undefined : await loadTlsFiles(tls, context.log);
  const arrivals = createArrivals(context);
  const { first, secure } = steps(options, material, context);
  const isProxied = options.proxyProtocol === true;
  const server = createServer({ noDelay: true }, (socket) => {
    const arrival = arrivals.begin(socket, isProxied);
    if (arrival !== undefined) first(socket, arrival);
  });
  await listen(server, host, port);
  const { port: actual } = server.address() as AddressInfo;
  return {
    protocol,
    url: `${protocol}://${isIPv6(host) ? `[${host}]` : host}:${actual}`,
    async reloadCertificates() {
      if (tls === undefined || secure === undefined) return () => {};
      const renewed = await loadTlsFiles(tls, context.log);
      return () => secure.use(renewed);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        arrivals.close();
      }),
  };
}

function steps(
  { protocol, tls, proxyProtocol, proxyFrom = [] }: ListenerOptions,
  material: TlsMaterial | undefined,
  context: ListenerContext,
): { first: Step; secure: TlsStep | undefined } {
  const { limits, take } = context;
  const last: Step =
    protocol === 'ws' || protocol === 'wss'
      ? webSocketStep(limits, take)
      : (socket, arrival) => {
          arrival.arrive(socket);
          take(socket);
        };
  const secure =
    tls === undefined || material === undefined ? undefined : tlsStep(tls, material, context, last);
  const unwrapped = secure?.step ?? last;
  const first = proxyProtocol === true ? proxyStep(parseAddressRanges(proxyFrom), unwrapped) : unwrapped;
  return { first, secure };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'EADDRINUSE'
          ? new FleetgateError('address_in_use', `port ${port} of ${host} is in use by another process`)
          : error,
      );
    });
    server.listen({ host, port }, () => {
      server.removeAllListeners('error');
      // Of single connections that could not be accepted, as when there are too many open files.
      server.on('error', () => {});
      resolve();
    });
  });
}
