import type { Server as HttpServer, IncomingMessage } from 'node:http';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer, isIPv6 } from 'node:net';
import type { Duplex } from 'node:stream';
import { FleetgateError } from '@fleetgate/shared';
import { createWebSocketStream, WebSocketServer } from 'ws';
import type { Limits } from './options.ts';

export interface ListenerOptions {
  /** `mqtts` and `wss` are not built yet and refused. */
  readonly protocol: 'mqtt' | 'mqtts' | 'ws' | 'wss';
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
}

export interface Listener {
  readonly protocol: ListenerOptions['protocol'];
  /** With the actual port. */
  readonly url: string;
  /** Accepts nothing more; resolves when the last connection is gone. */
  close(): Promise<void>;
}

/** Takes a connection; the request is that of the WebSocket handshake. */
export type TakeConnection = (stream: Duplex, request?: IncomingMessage) => void;

/** Beyond the largest packet: a WebSocket message may hold several. */
const MESSAGE_SLACK_BYTES = 65_536;

/** MQTT 3.1.1 §6: the name a client offers; the second is of clients older than the standard. */
const subprotocols = ['mqtt', 'mqttv3.1'];

/**
 * Accepts connections at one address.
 * @throws FleetgateError `not_supported` for TLS, `address_in_use`; whatever else keeps it from listening as it is
 */
export async function openListener(
  options: ListenerOptions,
  limits: Limits,
  take: TakeConnection,
): Promise<Listener> {
  const { protocol, host, port } = options;
  refuseUnsupported(options);
  const server = protocol === 'mqtt' ? mqttServer(take) : webSocketServer(limits, take);
  await listen(server, host, port);
  const { port: actual } = server.address() as AddressInfo;
  return {
    protocol,
    url: `${protocol}://${isIPv6(host) ? `[${host}]` : host}:${actual}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        if ('closeIdleConnections' in server) server.closeIdleConnections();
      }),
  };
}

/** @throws FleetgateError `not_supported`, TypeError */
export function refuseUnsupported({ protocol }: ListenerOptions): void {
  if (protocol === 'mqtts' || protocol === 'wss') {
    throw new FleetgateError('not_supported', `listeners of protocol ${protocol} are not supported yet`);
  }
  if (protocol !== 'mqtt' && protocol !== 'ws') throw new TypeError(`unknown protocol ${String(protocol)}`);
}

function mqttServer(take: TakeConnection): Server {
  return createServer({ noDelay: true }, (socket) => take(socket));
}

function webSocketServer(limits: Limits, take: TakeConnection): HttpServer {
  const timeoutMs = limits.connectTimeoutSeconds * 1000;
  const server = createHttpServer(
    {
      noDelay: true,
      headersTimeout: timeoutMs,
      requestTimeout: timeoutMs,
      keepAliveTimeout: 1_000,
      connectionsCheckingInterval: Math.min(timeoutMs, 1_000),
    },
    (_request, response) => {
      response.writeHead(426, { upgrade: 'websocket', connection: 'close' }).end();
    },
  );
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: limits.maxPacketBytes + MESSAGE_SLACK_BYTES,
    // Compression would let a small message unfold into a large one.
    perMessageDeflate: false,
    handleProtocols: (offered) => subprotocols.find((name) => offered.has(name)) ?? false,
  });
  sockets.on('wsClientError', (_error, socket) => socket.destroy());
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    if (!offersMqtt(request)) {
      // [MQTT-6.0.0-3]
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      // [MQTT-6.0.0-1]
      webSocket.on('message', (_data, isBinary) => {
        if (!isBinary) webSocket.terminate();
      });
      take(createWebSocketStream(webSocket), request);
    });
  });
  return server;
}

function offersMqtt(request: IncomingMessage): boolean {
  const offered = request.headers['sec-websocket-protocol'] ?? '';
  return offered.split(',').some((name) => subprotocols.includes(name.trim()));
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
