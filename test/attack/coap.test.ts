import { randomBytes } from 'node:crypto';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import { startIssuer } from '@fleetgate/issuer';
import {
  coapCode,
  coapOption,
  decodeMessage,
  encodeAceRequest,
  encodeMessage,
  unprotectResponse,
} from '@fleetgate/shared';
import Sqlite from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { coapTransport } from '../../agent/index.ts';
import { MAX_EXCHANGES, rememberExchanges } from '../../issuer/coap/exchanges.ts';
import { guardDatagrams } from '../../issuer/coap/guard.ts';
import {
  type CoapFixture,
  coapFixture,
  contextOf,
  type Peer,
  peerOf,
  plainRequest,
  protectedDatagram,
  relayTo,
} from '../support/coap-fixture.ts';
import { issuerOptions } from '../support/issuer-fixture.ts';

const never = new AbortController().signal;
const nothing = Buffer.alloc(0);

/** Tokens issued so far, by the trail. */
function issued({ database: file }: CoapFixture): number {
  const database = new Sqlite(file, { readonly: true });
  try {
    const sql = "SELECT count(*) FROM audit WHERE action = 'token.issue' AND result = 'ok'";
    return database.prepare<[], number>(sql).pluck().get() ?? 0;
  } finally {
    database.close();
  }
}

/** Fails unless a device gets a token. */
async function servesOthers(fixture: CoapFixture): Promise<void> {
  const id = `other-${randomBytes(4).toString('hex')}`;
  await coapTransport(await fixture.device(id))({}, never);
}

const message = (more: Partial<Parameters<typeof encodeMessage>[0]>) =>
  encodeMessage({
    type: 'CON',
    code: coapCode.POST,
    messageId: 7,
    token: Buffer.of(1, 2),
    options: [],
    payload: nothing,
    ...more,
  });
const path = { number: coapOption.URI_PATH, value: Buffer.from('token') };
const oscore = { number: 9, value: Buffer.from('0901', 'hex') };

describe('what is no protected request', () => {
  test.each<[string, Buffer, [type: string, code: number] | undefined]>([
    [
      'a plain token request',
      message({ options: [path], payload: Buffer.from(encodeAceRequest({})) }),
      ['ACK', 0x81],
    ],
    ['the same, not confirmable', message({ type: 'NON', options: [path], payload: nothing }), ['NON', 0x81]],
    ['a GET', message({ code: 1, options: [path] }), ['ACK', 0x81]],
    [
      'discovery',
      message({ code: 1, options: [{ ...path, value: Buffer.from('.well-known') }] }),
      ['ACK', 0x81],
    ],
    ['a ping', message({ code: 0, token: nothing }), ['RST', 0]],
    [
      'an empty message that is not confirmable',
      message({ type: 'NON', code: 0, token: nothing }),
      undefined,
    ],
    ['a stray ACK', message({ type: 'ACK', code: 0, token: nothing }), undefined],
    ['an ACK with a response', message({ type: 'ACK', code: 0x45, payload: Buffer.from('x') }), undefined],
    ['a stray reset', message({ type: 'RST', code: 0, token: nothing }), undefined],
    ['a response', message({ code: 0x45 }), ['RST', 0]],
    ['an empty datagram', nothing, undefined],
    ['half a header', Buffer.of(0x40, 2, 0), undefined],
    ['version 0', Buffer.of(0x00, 2, 0, 7), undefined],
    ['version 3', Buffer.of(0xc0, 2, 0, 7), undefined],
    ['a token of 15 bytes', Buffer.concat([Buffer.of(0x4f, 2, 0, 7), Buffer.alloc(15)]), undefined],
    ['an empty message with bytes behind it', Buffer.of(0x40, 0, 0, 7, 1), undefined],
    ['an option that is cut off', Buffer.of(0x40, 2, 0, 7, 0x95, 1), undefined],
    ['a payload marker alone', Buffer.of(0x40, 2, 0, 7, 0xff), undefined],
    ['1281 bytes', message({ options: [oscore], payload: Buffer.alloc(1281) }), undefined],
    [
      'a first part of a request',
      message({ options: [oscore, { number: 27, value: Buffer.of(0x0e) }] }),
      ['ACK', 0x82],
    ],
    [
      'a part that announces a gigabyte',
      message({
        options: [oscore, { number: 27, value: Buffer.from('fffff6', 'hex') }],
        payload: Buffer.from('x'),
      }),
      ['ACK', 0x82],
    ],
    [
      'an unknown critical option',
      message({ options: [oscore, { number: 2049, value: nothing }] }),
      ['ACK', 0x82],
    ],
    [
      'a proxy request',
      message({ options: [oscore, { number: 35, value: Buffer.from('coap://x/') }] }),
      ['ACK', 0x82],
    ],
    ['a protected PUT', message({ code: 3, options: [oscore], payload: Buffer.alloc(20) }), ['ACK', 0x85]],
    ['two OSCORE options', message({ options: [oscore, oscore], payload: Buffer.alloc(20) }), ['ACK', 0x82]],
    [
      'an OSCORE option with reserved bits',
      message({ options: [{ number: 9, value: Buffer.of(0xff, 1, 2, 3) }], payload: Buffer.alloc(20) }),
      ['ACK', 0x82],
    ],
    [
      'no kid',
      message({ options: [{ number: 9, value: Buffer.of(1, 5) }], payload: Buffer.alloc(20) }),
      ['ACK', 0x81],
    ],
    ['a context of nobody', message({ options: [oscore], payload: Buffer.alloc(20) }), ['ACK', 0x81]],
  ])('%s gets no more than a hint, smaller than itself, and no token', async (_what, bytes, expected) => {
    const fixture = await coapFixture();
    const peer = await peerOf(fixture.port);
    peer.send(bytes);
    const answer = await peer.next(expected === undefined ? 150 : 2000);
    expect(await peer.next(50)).toBeUndefined();
    if (expected === undefined) expect(answer).toBeUndefined();
    else {
      if (answer === undefined) throw new Error('no answer');
      expect(answer.length).toBeLessThanOrEqual(bytes.length);
      const { type, code, payload } = decodeMessage(answer);
      expect([type, code, payload.length]).toEqual([...expected, 0]);
    }
    expect(issued(fixture)).toBe(0);
    await servesOthers(fixture);
  });
});

test('source port 0, which no answer can go to, is passed over', () => {
  const socket = new EventEmitter() as Socket;
  const sent: unknown[] = [];
  socket.send = ((...args: unknown[]) => sent.push(args)) as Socket['send'];
  const reasons: string[] = [];
  const guarded = guardDatagrams(socket, { onRefused: (reason) => reasons.push(reason) });
  const handed: unknown[] = [];
  guarded.on('message', (bytes) => handed.push(bytes));
  socket.emit('message', message({ options: [oscore] }), { address: '127.0.0.1', port: 0 });
  expect([sent, handed, reasons]).toEqual([[], [], ['source_port_0']]);
});

test('an answer that the system does not send is an error of the socket, and the server is not told', async () => {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const guarded = guardDatagrams(socket);
  const told: unknown[] = [];
  guarded.on('message', (request: Buffer, { port, address }: RemoteInfo) => {
    guarded.send(request, 0, request.length, port, address, (error) => told.push(error));
  });
  const failed = once(guarded, 'error');
  // No socket sends there that was not made to.
  socket.emit('message', message({ options: [oscore] }), { address: '255.255.255.255', port: 5683 });
  expect(await failed).toEqual([expect.objectContaining({ code: 'EACCES' })]);
  expect(told).toEqual([null]);
  socket.close();
});

/** A device that has answered its challenge, with the datagrams it sends. */
async function provenDevice(fixture: CoapFixture, port = fixture.port) {
  const context = contextOf(await fixture.device('sensor-1'));
  const peer = await peerOf(port);
  const ask = async (number: number, echo?: Uint8Array, from: Peer = peer) => {
    const { bytes, binding } = protectedDatagram(context, plainRequest({}, echo), number);
    from.send(bytes);
    const answer = await from.nextMessage(2000);
    if (answer === undefined) throw new Error('no answer');
    return { bytes, answer, inner: () => unprotectResponse(context, answer, binding) };
  };
  const challenge = await ask(0);
  const echo = challenge.inner().options.find(({ number }) => number === coapOption.ECHO)
    ?.value as Uint8Array;
  const first = await ask(1, echo);
  expect(first.inner().code).toBe(coapCode.CREATED);
  return { context, peer, ask, echo, challenge, first };
}

describe('a datagram that comes again', () => {
  test('from the same place is answered the same, and issues nothing', async () => {
    const fixture = await coapFixture();
    const { peer, first } = await provenDevice(fixture);
    for (let i = 0; i < 4; i += 1) {
      peer.send(first.bytes);
      expect(await peer.nextMessage(2000)).toEqual(first.answer);
    }
    // A device stops after four; who goes on is told nothing.
    peer.send(first.bytes);
    expect(await peer.next(150)).toBeUndefined();
    expect(issued(fixture)).toBe(1);
  });

  test('while it is being served is served once', async () => {
    const fixture = await coapFixture();
    const { context, peer, echo } = await provenDevice(fixture);
    const { bytes } = protectedDatagram(context, plainRequest({}, echo), 2);
    for (let i = 0; i < 50; i += 1) peer.send(bytes);
    await peer.next(2000);
    await peer.next(200);
    expect(issued(fixture)).toBe(2);
  });

  test('from elsewhere, captured, is a replay: a hint, and nothing is run', async () => {
    const fixture = await coapFixture();
    const { first, challenge } = await provenDevice(fixture);
    const attacker = await peerOf(fixture.port);
    for (const bytes of [first.bytes, challenge.bytes]) {
      for (let i = 0; i < 3; i += 1) {
        attacker.send(bytes);
        const answer = await attacker.nextMessage(2000);
        expect(answer).toMatchObject({ code: coapCode.UNAUTHORIZED });
        expect(answer?.options.some(({ number }) => number === 9)).toBe(false);
        expect(answer?.payload.length).toBe(0);
      }
    }
    expect(issued(fixture)).toBe(1);
  });

  test('after a restart of the issuer, captured, is challenged, under a number of its own each time', async () => {
    const fixture = await coapFixture();
    const { context, first } = await provenDevice(fixture);
    await fixture.issuer.close();
    const numbers = new Set<string>();
    for (let round = 0; round < 2; round += 1) {
      const again = await startIssuer(
        issuerOptions(fixture.directory, { coap: { host: '127.0.0.1', port: 0 }, url: 'http://127.0.0.1:1' }),
      );
      const attacker = await peerOf(Number(new URL(again.coapUrl as string).port));
      for (let i = 0; i < 2; i += 1) {
        // With another message id it is another message, to who does not look inside.
        const bytes = Buffer.from(first.bytes);
        bytes.writeUInt16BE(100 + i, 2);
        attacker.send(bytes);
        const answer = await attacker.nextMessage(2000);
        const option = answer?.options.find(({ number }) => number === 9)?.value as Buffer;
        numbers.add(Buffer.from(option).toString('hex'));
        const binding = { kid: context.senderId, partialIv: Buffer.of(1) };
        const inner = answer && unprotectResponse(context, answer, binding);
        expect(inner).toMatchObject({ code: coapCode.UNAUTHORIZED });
        expect((answer && encodeMessage(answer).length) ?? 0).toBeLessThanOrEqual(bytes.length);
      }
      await again.close();
    }
    expect(numbers.size).toBe(4);
    expect(issued(fixture)).toBe(1);
  });

  test('with the message id of another, of that address, disturbs no exchange', async () => {
    const fixture = await coapFixture();
    const { context, peer, echo } = await provenDevice(fixture);
    const { bytes, binding } = protectedDatagram(context, plainRequest({}, echo), 2, { messageId: 9 });
    const forged = Buffer.from(bytes);
    forged[forged.length - 1] = (forged.at(-1) as number) ^ 1;
    peer.send(forged);
    expect(await peer.nextMessage(2000)).toMatchObject({ code: coapCode.BAD_REQUEST });
    peer.send(bytes);
    const answer = await peer.nextMessage(2000);
    expect(answer && unprotectResponse(context, answer, binding).code).toBe(coapCode.CREATED);
  });
});

describe('who guesses', () => {
  test('at a context is slowed down, and its device is not', async () => {
    const fixture = await coapFixture();
    const { context, ask, peer } = await provenDevice(fixture);
    const attacker = await peerOf(fixture.port);
    const hints: number[] = [];
    for (let i = 0; i < 12; i += 1) {
      const { bytes } = protectedDatagram(context, plainRequest(), 5000 + i);
      bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
      attacker.send(bytes);
      const answer = await attacker.nextMessage(100);
      if (answer !== undefined) hints.push(answer.code);
    }
    // They share an address, and the device is in good standing there: so the guesses cost a look each.
    expect(hints.every((code) => code === coapCode.BAD_REQUEST)).toBe(true);
    expect((await ask(3, undefined, peer)).inner().code).toBe(coapCode.CREATED);
  });

  test('at contexts of nobody is told nothing after some', async () => {
    const fixture = await coapFixture();
    const attacker = await peerOf(fixture.port);
    const wave = async (number: number) => {
      for (let i = 0; i < 60; i += 1) {
        const value = Buffer.concat([Buffer.of(0x09, 1), Buffer.from([i, number, 2, 3, 4, 5, 6])]);
        const options = [{ number: 9, value }];
        attacker.send(message({ messageId: number * 100 + i, options, payload: Buffer.alloc(20) }));
      }
      let answers = 0;
      while ((await attacker.next(100)) !== undefined) answers += 1;
      return answers;
    };
    // What comes at once is looked at at once; then the address waits for the rest of the second.
    expect(await wave(1)).toBeGreaterThan(10);
    expect(await wave(2)).toBe(0);
  });
});

test('random datagrams end nothing, are answered with no more than they are, and leave memory as it was', async () => {
  const fixture = await coapFixture();
  const device = await provenDevice(fixture);
  const attacker = await peerOf(fixture.port);
  const templates = [device.first.bytes, device.challenge.bytes, message({ options: [path] })];
  globalThis.gc?.();
  const before = process.memoryUsage().rss;
  let longestAnswer = 0;
  const untilMs = performance.now() + 3000;
  for (let i = 0; performance.now() < untilMs; i += 1) {
    const template = Buffer.from(templates[i % 3] as Buffer);
    const bytes = i % 2 === 0 ? randomBytes(Math.floor(Math.random() * 80)) : template;
    for (let n = 0; n < 1 + (i % 4) && bytes.length > 0; n += 1) {
      bytes[Math.floor(Math.random() * bytes.length)] = Math.floor(Math.random() * 256);
    }
    attacker.send(bytes);
    if (i % 20 === 0) {
      for (let answer = await attacker.next(1); answer !== undefined; answer = await attacker.next(1)) {
        longestAnswer = Math.max(longestAnswer, answer.length);
      }
    }
  }
  // Hints alone: header, token, Max-Age; or a challenge to what was a replay in a new datagram.
  expect(longestAnswer).toBeLessThan(60);
  expect(process.memoryUsage().rss - before).toBeLessThan(150_000_000);
  await servesOthers(fixture);
});

test('exchanges are remembered for as long as an id may come again, and not beyond their number', () => {
  let nowMs = 0;
  const exchanges = rememberExchanges(() => nowMs);
  expect(exchanges.begin('a')).toBe('new');
  expect(exchanges.begin('a')).toBe('under_way');
  exchanges.answered('a', Buffer.of(1));
  expect(exchanges.begin('a')).toEqual(Buffer.of(1));
  nowMs = 247_000;
  expect(exchanges.begin('a')).toBe('new');
  for (let i = 0; i < MAX_EXCHANGES + 5; i += 1) exchanges.begin(`${i}`);
  expect(exchanges.count()).toBeLessThanOrEqual(MAX_EXCHANGES);
  expect(exchanges.count()).toBeGreaterThan(MAX_EXCHANGES * 0.98);
  expect(exchanges.begin('a')).toBe('new');
});

test('over a link that loses 30 %, doubles 10 % and reorders 10 %, each of 1,000 fetches gets its token, and no request two', {
  timeout: 120_000,
}, async () => {
  const fixture = await coapFixture({
    limits: { maxClientTokensPerSecond: 100_000, maxAddressRequestsPerSecond: 100_000 },
  });
  const port = await relayTo(fixture.port, () => {
    const chance = Math.random();
    if (chance < 0.3) return [];
    const delayMs = Math.random() < 0.1 ? 30 : 1;
    return chance < 0.4 ? [{ delayMs }, { delayMs: delayMs + 5 }] : [{ delayMs }];
  });
  // The times of RFC 7252 a hundredth as long, as this link is.
  const timing = { ackTimeoutMs: 60, ackRandomFactor: 1.5, maxRetransmit: 4 };
  let fetched = 0;
  let requests = 0;
  let retries = 0;
  const fetchAll = async (worker: number) => {
    const credentials = await fixture.device(`sensor-${worker}`);
    const transport = coapTransport(
      { ...credentials, token_endpoint: `coap://127.0.0.1:${port}/token` },
      { timing },
    );
    for (let i = 0; i < 50; i += 1) {
      for (let tries = 0; ; tries += 1) {
        requests += 1;
        const answer = await transport({}, never).catch(() => undefined);
        if (answer !== undefined) break;
        retries += 1;
        expect(tries).toBeLessThan(8);
      }
      fetched += 1;
    }
  };
  await Promise.all(Array.from({ length: 20 }, (_, worker) => fetchAll(worker)));
  process.stderr.write(`${fetched} tokens by ${requests} requests, ${retries} of them in vain\n`);
  expect(fetched).toBe(1000);
  // A request whose answer was lost for good may have been issued one; none was issued two.
  expect(issued(fixture)).toBeGreaterThanOrEqual(1000);
  expect(issued(fixture)).toBeLessThanOrEqual(requests);
});
