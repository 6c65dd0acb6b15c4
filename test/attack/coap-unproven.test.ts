import { coapCode, coapOption, decodeMessage, encodeMessage, unprotectResponse } from '@fleetgate/shared';
import { expect, test } from 'vitest';
import { coapEndpoint } from '../../issuer/coap/endpoint.ts';
import { coapFixture, contextOf, peerOf, plainRequest, protectedDatagram } from '../support/coap-fixture.ts';

const nothing = new Uint8Array();

const withOscore = (value: Uint8Array, token = nothing, payload = nothing) =>
  encodeMessage({
    type: 'CON',
    code: coapCode.POST,
    messageId: 7,
    token,
    options: [{ number: 9, value }],
    payload,
  });

test.each<[string, Uint8Array]>([
  ['an empty OSCORE option', withOscore(nothing)],
  ['the same with a token', withOscore(nothing, Buffer.alloc(8, 1))],
  ['flags alone', withOscore(Buffer.of(0x08))],
  ['reserved flags alone', withOscore(Buffer.of(0xe0))],
])('%s is answered with no more bytes than it has', async (_what, bytes) => {
  const peer = await peerOf((await coapFixture()).port);
  peer.send(bytes);
  expect((await peer.next())?.length ?? 0).toBeLessThanOrEqual(bytes.length);
});

test('a challenge that is longer than what it answers is not sent; that of a request for a token is', async () => {
  const fixture = await coapFixture();
  const context = contextOf(await fixture.device('sensor-1'));
  const peer = await peerOf(fixture.port);
  const short = protectedDatagram(context, { code: coapCode.POST, options: [], payload: nothing }, 10);
  peer.send(short.bytes);
  expect(await peer.next()).toBeUndefined();
  const asked = protectedDatagram(context, plainRequest(), 11);
  peer.send(asked.bytes);
  const answer = await peer.next();
  expect(answer?.length).toBeLessThanOrEqual(asked.bytes.length);
  const inner = answer && unprotectResponse(context, decodeMessage(answer), asked.binding);
  expect(inner?.options.map(({ number }) => number)).toContain(coapOption.ECHO);
});

test('who replays a captured request and is challenged has no good standing, and is slowed down', async () => {
  const fixture = await coapFixture();
  const context = contextOf(await fixture.device('sensor-1'));
  const attacker = await peerOf(fixture.port);
  const { bytes } = protectedDatagram(context, plainRequest(), 10);
  attacker.send(bytes);
  expect(await attacker.next()).toBeDefined();
  let answers = 0;
  for (let i = 1; i <= 12; i += 1) {
    const forged = Buffer.from(bytes);
    forged.writeUInt16BE(1000 + i, 2);
    forged[forged.length - 1] = (forged.at(-1) as number) ^ i;
    attacker.send(forged);
    if ((await attacker.next(100)) !== undefined) answers += 1;
  }
  expect(answers).toBe(5);
});

test('kids longer than any are of nobody, and are looked up and remembered nowhere', async () => {
  let looked = 0;
  const endpoint = coapEndpoint({
    issuer: {
      issue: () => Promise.reject(new Error('not reached')),
      enroll: () => Promise.reject(new Error('not reached')),
      url: () => 'http://127.0.0.1',
      coapTokenEndpoint: () => undefined,
      defaultAudience: [],
    },
    contexts: {
      isShared: () => false,
      find: async () => {
        looked += 1;
        return undefined;
      },
      nextSequenceNumber: async () => 0,
    },
    monotonicMs: () => 0,
  });
  const ask = (kid: Uint8Array) => {
    const value = Buffer.concat([Buffer.of(0x09, 1), kid]);
    const options = [{ number: 9, value }];
    return endpoint({ code: coapCode.POST, options, payload: Buffer.alloc(20) }, '192.0.2.1');
  };
  // More often than one that fails may come: it is not counted.
  for (let i = 0; i < 60; i += 1) {
    expect(await ask(Buffer.alloc(8, i))).toMatchObject({ code: coapCode.UNAUTHORIZED });
  }
  expect(looked).toBe(0);
  await ask(Buffer.alloc(7, 1));
  expect(looked).toBe(1);
});

test('a master secret is no client secret, also when the method of its client was changed', async () => {
  const fixture = await coapFixture();
  const { auth } = await fixture.device('sensor-1');
  if (auth.method !== 'oscore') throw new Error('no context');
  const patched = await fixture.call('PATCH', '/v1/clients/sensor-1', { auth_method: 'client_secret_basic' });
  expect(patched.status).toBe(200);
  const answer = await fixture.tokenFor({ client_id: 'sensor-1', client_secret: auth.master_secret });
  expect(answer.status).toBe(401);
});
