import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocketServer } from 'ws';
import type { Limits } from '../options.ts';
import type { Arrival, Step } from './arrival.ts';

/** Takes a connection; the request is that of the WebSocket handshake. */
export type TakeConnection = (stream: Duplex, request?: IncomingMessage) => void;

/** Beyond the largest packet: a WebSocket message may hold several. */
const MESSAGE_SLACK_BYTES = 65_536;

/** MQTT 3.1.1 §6: the name a client offers; the second is of clients older than the standard. */
const subprotocols = ['mqtt', 'mqttv3.1'];

const badRequest = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';

/** The WebSocket handshake of HTTP/1.1 (RFC 6455 §4), on any socket. How long it may take is the arrival's business. */
export function webSocketStep(limits: Limits, take: TakeConnection): Step {
  const arrivals = new WeakMap<Duplex, Arrival>();
  const server = createServer((_request, response) => {
    response.writeHead(426, { upgrade: 'websocket', connection: 'close' }).end();
  });
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: limits.maxPacketBytes + MESSAGE_SLACK_BYTES,
    // Compression would let a small message unfold into a large one.
    perMessageDeflate: false,
    handleProtocols: (offered) => subprotocols.find((name) => offered.has(name)) ?? false,
  });
  sockets.on('wsClientError', (_error, socket) => arrivals.get(socket)?.refuse('protocol_refused'));
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    const arrival = arrivals.get(socket);
    if (!offersMqtt(request)) {
      // [MQTT-6.0.0-3]
      arrival?.refuse('protocol_refused', badRequest);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      // [MQTT-6.0.0-1]
      webSocket.on('message', (_data, isBinary) => {
        if (!isBinary) webSocket.terminate();
      });
      const stream = createWebSocketStream(webSocket);
      // Else it would wait half a minute for the answer to its close frame.
      webSocket.on('error', () => webSocket.terminate());
      arrival?.arrive(socket);
      take(stream, request);
    });
  });
  return (socket, arrival) => {
    arrivals.set(socket, arrival);
    server.emit('connection', socket);
  };
}

function offersMqtt(request: IncomingMessage): boolean {
  const offered = request.headers['sec-websocket-protocol'] ?? '';
  return offered.split(',').some((name) => subprotocols.includes(name.trim()));
}
