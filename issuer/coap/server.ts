import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { FleetgateError, OSCORE_OPTION } from '@fleetgate/shared';
import { createServer, type IncomingMessage, type OutgoingMessage } from 'coap';
import { type CoapEndpoint, type CoapEndpointOptions, coapEndpoint } from './endpoint.ts';
import { asPayload, guardDatagrams } from './guard.ts';

export interface CoapServer {
  /** Actual port. */
  readonly port: number;
  /** Takes nothing more, and settles when what was being served is answered. */
  close(): Promise<void>;
}

export interface CoapServerOptions extends CoapEndpointOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
}

/** Of the answers that the library keeps for repetitions, which the guard has kept before it: one. Each holds a timer. */
const LIBRARY_CACHE_BYTES = 2_048;

/** How long a close waits for what is being served. */
const CLOSE_TIMEOUT_MS = 5_000;

/**
 * Serves the token endpoint over CoAP.
 * @throws FleetgateError `address_in_use`, and what binding to the address throws
 */
export async function startCoapServer(options: CoapServerOptions): Promise<CoapServer> {
  const { host, port, log } = options;
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
  socket.bind(port, host);
  await once(socket, 'listening').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EADDRINUSE') throw error;
    throw new FleetgateError(
      'address_in_use',
      `port ${port} (UDP) on ${host} is in use; stop what holds it, or set issuer.coap.port to another (0 picks a free one)`,
    );
  });
  const endpoint = coapEndpoint(options);
  const serving = new Set<Promise<void>>();
  const server = createServer({
    // As the guard hands them on none is confirmable, and each is to be answered.
    sendAcksForNonConfirmablePackets: true,
    cacheSize: LIBRARY_CACHE_BYTES,
    // The guard gives each an id of its own, whoever it is of.
    clientIdentifier: () => '',
  });
  server.on('request', (request: IncomingMessage, response: OutgoingMessage) => {
    const served = serve(endpoint, request, response).finally(() => serving.delete(served));
    serving.add(served);
  });
  server.on('error', (error: Error) => {
    log?.warn({ event: 'coap_socket_error', err: error }, 'an error of the CoAP socket');
  });
  server.listen(guardDatagrams(socket) as unknown as number);

  async function close(): Promise<void> {
    socket.removeAllListeners('message');
    const { promise: tooLong, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
    await Promise.race([Promise.all(serving), tooLong]);
    clearTimeout(timer);
    server.close();
    socket.close();
    await once(socket, 'close');
  }
  let closing: Promise<void> | undefined;

  return {
    port: socket.address().port,
    close() {
      closing ??= close();
      return closing;
    },
  };
}

async function serve(
  endpoint: CoapEndpoint,
  { payload, _packet: { options = [] }, rsinfo }: IncomingMessage,
  response: OutgoingMessage,
): Promise<void> {
  const oscore = options.flatMap(({ name, value }) =>
    name === 'OSCORE' ? [{ number: OSCORE_OPTION, value: value as Buffer }] : [],
  );
  const answer = await endpoint({ code: 2, options: oscore, payload }, rsinfo.address);
  if (answer === undefined) return void response.reset();
  response.code = `${answer.code >> 5}.${String(answer.code & 31).padStart(2, '0')}`;
  // By the text of its payload the library sees whether there is one; of a kilobyte that is no text, for nothing.
  response.toString = () => 'payload';
  response.end(asPayload(answer));
}
