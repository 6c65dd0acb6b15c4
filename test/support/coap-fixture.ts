import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import type { IssuerOptions } from '@fleetgate/issuer';
import {
  ACE_CBOR,
  type CoapContent,
  type CoapMessage,
  type Credentials,
  checkCredentials,
  coapCode,
  coapOption,
  decodeMessage,
  deriveContext,
  encodeAceRequest,
  encodeMessage,
  protectRequest,
  type SecurityContext,
  uintOption,
} from '@fleetgate/shared';
import { onTestFinished } from 'vitest';
import { type IssuerFixture, issuerFixture } from './issuer-fixture.ts';

export interface CoapFixture extends IssuerFixture {
  readonly port: number;
  /** Registers a device with a context; its credentials, as the file of it has them. */
  device(clientId: string, more?: Record<string, unknown>): Promise<Credentials>;
}

/** An issuer whose token endpoint is served over CoAP as well. */
export async function coapFixture(options: Partial<IssuerOptions> = {}): Promise<CoapFixture> {
  const fixture = await issuerFixture({ coap: { host: '127.0.0.1', port: 0 }, ...options });
  const endpoint = `${fixture.issuer.coapUrl}/token`;
  return {
    ...fixture,
    port: Number(new URL(endpoint).port),
    async device(clientId, more = {}) {
      const body = { client_id: clientId, scope: 'telemetry.write', auth_method: 'oscore', ...more };
      const answer = await fixture.call('POST', '/v1/clients', body);
      if (answer.status !== 201) throw new Error(await answer.text());
      const { oscore } = (await answer.json()) as { oscore: object };
      return credentialsOf(fixture, clientId, oscore, endpoint);
    },
  };
}

export function credentialsOf(
  { issuer, directory }: IssuerFixture,
  clientId: string,
  oscore: object,
  endpoint: string,
): Credentials {
  return checkCredentials({
    version: 1,
    client_id: clientId,
    issuer: issuer.url,
    token_endpoint: endpoint,
    auth: { method: 'oscore', ...oscore, sequence_file: join(directory, `${clientId}.sequence`) },
  });
}

/** The context as the device has it. */
export function contextOf({ auth }: Credentials): SecurityContext {
  if (auth.method !== 'oscore') throw new Error('no context');
  return deriveContext({
    masterSecret: Buffer.from(auth.master_secret, 'hex'),
    masterSalt: Buffer.from(auth.master_salt ?? '', 'hex'),
    senderId: Buffer.from(auth.sender_id, 'hex'),
    recipientId: Buffer.from(auth.recipient_id, 'hex'),
  });
}

/** A request for a token, before it is protected. */
export function plainRequest(more: Partial<CoapContent> = {}, echo?: Uint8Array): CoapContent {
  const options = more.options ?? [
    { number: coapOption.URI_PATH, value: Buffer.from('token') },
    uintOption(coapOption.CONTENT_FORMAT, ACE_CBOR),
  ];
  return {
    code: coapCode.POST,
    payload: encodeAceRequest({}),
    ...more,
    options: [...options, ...(echo === undefined ? [] : [{ number: coapOption.ECHO, value: echo }])],
  };
}

/** A protected request as a datagram, and what its answer is read with. */
export function protectedDatagram(
  context: SecurityContext,
  plain: CoapContent,
  sequenceNumber: number,
  { messageId = sequenceNumber & 0xffff, type = 'CON' as CoapMessage['type'] } = {},
) {
  const { message, binding } = protectRequest(context, plain, sequenceNumber);
  const token = Buffer.from([1, 2, 3, 4]);
  return { bytes: encodeMessage({ type, messageId, token, ...message }), binding };
}

/** A UDP socket that sends what it is told to. */
export interface Peer {
  readonly socket: Socket;
  send(bytes: Uint8Array): void;
  /** The next datagram; unset when none comes within `waitMs`, by default 300. */
  next(waitMs?: number): Promise<Buffer | undefined>;
  nextMessage(waitMs?: number): Promise<CoapMessage | undefined>;
}

export async function peerOf(port: number): Promise<Peer> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  onTestFinished(() => {
    socket.close();
  });
  const received: Buffer[] = [];
  let wake = () => {};
  socket.on('message', (bytes: Buffer) => {
    received.push(bytes);
    wake();
  });
  const next = async (waitMs = 300) => {
    if (received.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waitMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return received.shift();
  };
  return {
    socket,
    send: (bytes) => socket.send(bytes, port, '127.0.0.1'),
    next,
    async nextMessage(waitMs) {
      const bytes = await next(waitMs);
      return bytes && decodeMessage(bytes);
    },
  };
}

/** What becomes of a datagram on its way; several are several copies, none is a loss. */
export type Fate = (datagram: Buffer) => readonly { readonly delayMs: number }[];

/** A UDP relay to `port`: where to send to instead. Each sender is one sender behind it, too. */
export async function relayTo(port: number, fate: Fate): Promise<number> {
  const front = createSocket('udp4');
  front.bind(0, '127.0.0.1');
  await once(front, 'listening');
  const behind = new Map<string, Socket>();
  const pass = (datagram: Buffer, send: (datagram: Buffer) => void) => {
    for (const { delayMs } of fate(datagram)) setTimeout(() => send(datagram), delayMs);
  };
  let isClosed = false;
  front.on('message', (datagram: Buffer, from: RemoteInfo) => {
    const key = `${from.address}:${from.port}`;
    let socket = behind.get(key);
    if (socket === undefined) {
      socket = createSocket('udp4');
      socket.on('message', (answer: Buffer) =>
        pass(answer, (bytes) => isClosed || front.send(bytes, from.port, from.address)),
      );
      behind.set(key, socket);
    }
    const to = socket;
    pass(datagram, (bytes) => isClosed || to.send(bytes, port, '127.0.0.1'));
  });
  onTestFinished(() => {
    isClosed = true;
    front.close();
    for (const socket of behind.values()) socket.close();
  });
  return front.address().port;
}
