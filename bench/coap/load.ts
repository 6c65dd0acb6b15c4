/** Makes the load over CoAP, in a process of its own: a task comes by IPC and is answered with what was measured. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  ACE_CBOR,
  coapCode,
  coapOption,
  decodeMessage,
  deriveContext,
  encodeAceRequest,
  encodeMessage,
  protectRequest,
  type RequestBinding,
  uintOption,
  unprotectResponse,
} from '@fleetgate/shared';
import type { Measured } from '../issuer/load.ts';

/** A context in hexadecimal, as the device has it. */
export interface BenchDevice {
  readonly masterSecret: string;
  readonly masterSalt: string;
  readonly senderId: string;
  readonly recipientId: string;
}

export interface CoapTask {
  readonly port: number;
  readonly seconds: number;
  readonly atLeast: number;
  /** Each has one request under way. */
  readonly devices: readonly BenchDevice[];
  /** Sequence number that was not used yet. */
  readonly firstNumber: number;
}

/** Requests of a device made beforehand for a second: more than are used in one. */
const PREPARED_PER_SECOND = 400;

/** Of so many answers one is decrypted; the others are known by their length. Reading them is the client's work. */
const READ_EVERY = 50;

/** Bytes of an answer with a token, at least; a refusal has a tenth. */
const MIN_ANSWER_BYTES = 400;

/** Nothing is lost on loopback but where the system has no room. */
const ANSWER_TIMEOUT_MS = 2000;

process.on('message', async (task: CoapTask) => {
  try {
    process.send?.({ measured: await measure(task) });
  } catch (error) {
    process.send?.({ failed: String(error) });
  }
});

async function measure({ port, seconds, atLeast, devices, firstNumber }: CoapTask): Promise<Measured> {
  const count = Math.ceil(seconds * PREPARED_PER_SECOND) + Math.ceil(atLeast / devices.length) + 2;
  const clients = await Promise.all(devices.map((device) => prepare(device, port, firstNumber, count)));
  const latenciesMs: number[] = [];
  const startMs = performance.now();
  const endMs = startMs + seconds * 1000;
  await Promise.all(
    clients.map(async (client) => {
      for (let sentMs = performance.now(); sentMs < endMs || latenciesMs.length < atLeast; ) {
        await client.ask();
        const nowMs = performance.now();
        latenciesMs.push(nowMs - sentMs);
        sentMs = nowMs;
      }
      client.close();
    }),
  );
  const tookSeconds = (performance.now() - startMs) / 1000;
  latenciesMs.sort((a, b) => a - b);
  return {
    tokens: latenciesMs.length,
    perSecond: latenciesMs.length / tookSeconds,
    p99Ms: latenciesMs[Math.floor(latenciesMs.length * 0.99)] ?? Number.NaN,
  };
}

/** A device that has answered its challenge, with its requests made beforehand: making them is the client's work. */
async function prepare(device: BenchDevice, port: number, firstNumber: number, count: number) {
  const bytes = (hex: string) => Buffer.from(hex, 'hex');
  const context = deriveContext({
    masterSecret: bytes(device.masterSecret),
    masterSalt: bytes(device.masterSalt),
    senderId: bytes(device.senderId),
    recipientId: bytes(device.recipientId),
  });
  const socket = createSocket('udp4');
  socket.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  let answered = Promise.withResolvers<Buffer>();
  socket.on('message', (answer: Buffer) => answered.resolve(answer));
  socket.on('error', (error) => answered.reject(error));
  const token = Buffer.alloc(4);
  let number = firstNumber;

  function request(echo?: Uint8Array) {
    const options = [
      { number: coapOption.URI_PATH, value: Buffer.from('token') },
      uintOption(coapOption.CONTENT_FORMAT, ACE_CBOR),
      ...(echo === undefined ? [] : [{ number: coapOption.ECHO, value: echo }]),
    ];
    const plain = { code: coapCode.POST, options, payload: encodeAceRequest({}) };
    const { message, binding } = protectRequest(context, plain, number);
    const datagram = encodeMessage({ type: 'CON', messageId: number & 0xffff, token, ...message });
    number += 1;
    return { datagram, binding };
  }

  async function exchange(datagram: Buffer): Promise<Buffer> {
    answered = Promise.withResolvers<Buffer>();
    const timer = setTimeout(() => answered.reject(new Error('an answer was lost')), ANSWER_TIMEOUT_MS);
    socket.send(datagram);
    const answer = await answered.promise;
    clearTimeout(timer);
    return answer;
  }

  const read = (answer: Buffer, binding: RequestBinding) =>
    unprotectResponse(context, decodeMessage(answer), binding);
  const first = request();
  const challenge = read(await exchange(first.datagram), first.binding);
  const echo = challenge.options.find((option) => option.number === coapOption.ECHO)?.value;
  if (echo !== undefined) {
    const second = request(echo);
    if (read(await exchange(second.datagram), second.binding).code !== coapCode.CREATED) {
      throw new Error('no token after the challenge');
    }
  }
  const prepared = Array.from({ length: count }, () => request()).reverse();
  let asked = 0;

  return {
    async ask() {
      const next = prepared.pop();
      if (next === undefined)
        throw new Error('more requests were used than were made; make more for a second');
      const answer = await exchange(next.datagram);
      asked += 1;
      const isToken =
        asked % READ_EVERY === 0
          ? read(answer, next.binding).code === coapCode.CREATED
          : answer.length >= MIN_ANSWER_BYTES;
      if (!isToken) throw new Error(`not a token: ${answer.length} bytes`);
    },
    close: () => socket.close(),
  };
}
