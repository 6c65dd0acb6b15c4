import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { coapTransport } from '@fleetgate/agent';
import {
  CBOR,
  type CborItem,
  coapCode,
  coapOption,
  decodeCbor,
  deriveContext,
  encodeCbor,
  encodeMessage,
  enrollmentContext,
  enrollmentKid,
  protectRequest,
  uintOption,
  unprotectResponse,
} from '@fleetgate/shared';
import { beforeEach, expect, test } from 'vitest';
import { openSequenceNumbers } from '../../agent/sequence-numbers.ts';
import { enrollOverCoap } from '../../agent/transport/coap-enroll.ts';
import { type CoapFixture, coapFixture, peerOf } from '../support/coap-fixture.ts';
import { derivedKey } from '../support/enrolling-device.ts';

const timing = { ackTimeoutMs: 300, ackRandomFactor: 1.5, maxRetransmit: 2 };

interface Enrollment {
  enrollment_id: string;
  primary_key: string;
  secondary_key: string;
}

let fixture: CoapFixture;
beforeEach(async () => {
  fixture = await coapFixture();
  await keep({
    id: 'valve-{registration_id}',
    auth_method: 'oscore',
    scope: 'telemetry.write',
    labels: { hw: '{hw}' },
  });
});

const keep = (template: Record<string, unknown>) => fixture.call('PUT', '/v1/templates/valve', template);

async function open(more: Record<string, unknown> = {}): Promise<Enrollment> {
  const made = await fixture.call('POST', '/v1/enrollments', {
    template: 'valve',
    kind: 'group_key',
    ...more,
  });
  if (made.status !== 201) throw new Error(await made.text());
  return (await made.json()) as Enrollment;
}

function enrolling(enrollment: Enrollment, registrationId: string, deviceKey: string) {
  const sequenceNumbers = openSequenceNumbers(join(fixture.directory, `${registrationId}.enrolling`));
  return (device: Record<string, string> = { hw: 'rev-a' }) =>
    enrollOverCoap({
      issuer: `coap://127.0.0.1:${fixture.port}`,
      key: { enrollmentId: enrollment.enrollment_id, registrationId, deviceKey },
      device,
      sequenceNumbers,
      signal: AbortSignal.timeout(15_000),
      timing,
    });
}

const never = new AbortController().signal;

test('a device of a group gets a context of its own, and a token with it', async () => {
  const enrollment = await open();
  const answer = await enrolling(enrollment, 'V1', derivedKey(enrollment.primary_key, 'V1'))();
  if (answer.status !== 'enrolled') throw new Error(answer.status);
  const { credentials } = answer;
  expect(credentials).toMatchObject({ client_id: 'valve-V1', issuer: fixture.issuer.url, audience: 'mqtt' });
  const auth = {
    ...credentials.auth,
    sequence_file: join(fixture.directory, 'v1.sequence'),
  } as typeof credentials.auth;
  expect(await coapTransport({ ...credentials, auth }, { timing })({}, never)).toMatchObject({
    expires_in: 900,
  });
  expect(await (await fixture.call('GET', '/v1/clients/valve-V1')).json()).toMatchObject({
    labels: { hw: 'rev-a' },
    enrollment: enrollment.enrollment_id,
  });
});

test('a key that was made of the secondary one is good too', async () => {
  const enrollment = await open();
  const answer = await enrolling(enrollment, 'V2', derivedKey(enrollment.secondary_key, 'V2'))();
  expect(answer).toMatchObject({ status: 'enrolled', credentials: { client_id: 'valve-V2' } });
});

test('a device that asks again is answered with the same context', async () => {
  const enrollment = await open();
  const ask = enrolling(enrollment, 'V1', derivedKey(enrollment.primary_key, 'V1'));
  expect(await ask()).toEqual(await ask());
});

test('with approval it waits as long as it takes', async () => {
  const enrollment = await open({ approval: true });
  const ask = enrolling(enrollment, 'V1', derivedKey(enrollment.primary_key, 'V1'));
  expect(await ask()).toEqual({ status: 'pending', clientId: 'valve-V1', retryAfterSeconds: 30 });
  expect((await fixture.call('GET', '/v1/clients/valve-V1')).status).toBe(404);
  await fixture.call('POST', `/v1/enrollments/${enrollment.enrollment_id}/allow`, {
    client_ids: ['valve-V1'],
  });
  expect(await ask()).toMatchObject({ status: 'enrolled' });
});

test.each<[string, (enrollment: Enrollment) => string]>([
  ['the key of another device', ({ primary_key }) => derivedKey(primary_key, 'V9')],
  ['a key of another group', () => randomBytes(32).toString('base64')],
])('with %s nothing is decrypted, and nobody gets in', { timeout: 30_000 }, async (_what, keyOf) => {
  const enrollment = await open();
  await expect(enrolling(enrollment, 'V1', keyOf(enrollment))()).rejects.toMatchObject({
    code: 'token_request_failed',
    message: expect.stringContaining('registration id'),
  });
  expect((await fixture.call('GET', '/v1/clients/valve-V1')).status).toBe(404);
});

test('a refusal is told inside, with its reason', async () => {
  const enrollment = await open();
  await fixture.call('POST', `/v1/enrollments/${enrollment.enrollment_id}/revoke`);
  const ask = enrolling(enrollment, 'V1', derivedKey(enrollment.primary_key, 'V1'));
  await expect(ask()).rejects.toThrow(/enrollment_revoked/);
  const other = await open();
  const missing = enrolling(other, 'V1', derivedKey(other.primary_key, 'V1'));
  await expect(missing({})).rejects.toThrow(/'hw'.*invalid_request/);
  await expect(missing({ group: 'admins' })).rejects.toThrow(/cannot say its group/);
});

test('a template of another method lets nobody in over CoAP', async () => {
  await keep({ id: 'valve-{registration_id}' });
  const enrollment = await open();
  const ask = enrolling(enrollment, 'V1', derivedKey(enrollment.primary_key, 'V1'));
  await expect(ask({})).rejects.toThrow(/another auth_method/);
});

/** A device that makes its own datagrams. */
async function rawDevice(enrollment: Enrollment, registrationId: string) {
  const peer = await peerOf(fixture.port);
  const kid = enrollmentKid(enrollment.enrollment_id, 'primary');
  const key = Buffer.from(derivedKey(enrollment.primary_key, registrationId), 'base64');
  const context = deriveContext(enrollmentContext(kid, key, registrationId).device);
  let number = 1000;
  function datagram(path: string, payload: CborItem, echo?: Uint8Array) {
    number += 1;
    const plain = {
      code: coapCode.POST,
      options: [
        { number: coapOption.URI_PATH, value: Buffer.from(path) },
        uintOption(coapOption.CONTENT_FORMAT, CBOR),
        ...(echo === undefined ? [] : [{ number: coapOption.ECHO, value: echo }]),
      ],
      payload: encodeCbor(payload),
    };
    const { message, binding } = protectRequest(context, plain, number, { sendsIdContext: true });
    const token = Buffer.from([9]);
    return { bytes: encodeMessage({ type: 'CON', messageId: number, token, ...message }), binding };
  }
  async function send({ bytes, binding }: ReturnType<typeof datagram>) {
    peer.send(bytes);
    const answer = await peer.nextMessage(2000);
    return answer && unprotectResponse(context, answer, binding);
  }
  return { peer, datagram, send };
}

const echoIn = (answer: { options: readonly { number: number; value: Uint8Array }[] } | undefined) =>
  answer?.options.find(({ number }) => number === coapOption.ECHO)?.value;

test('the first request is sent back for an Echo, and a replay of one that was served makes nothing', async () => {
  const enrollment = await open();
  const { peer, datagram, send } = await rawDevice(enrollment, 'V1');
  const device = new Map([['hw', 'rev-a']]);
  const challenge = await send(datagram('enroll', device));
  expect([challenge?.code, (await fixture.call('GET', '/v1/clients/valve-V1')).status]).toEqual([
    coapCode.UNAUTHORIZED,
    404,
  ]);
  const request = datagram('enroll', device, echoIn(challenge));
  const served = await send(request);
  expect(served?.code).toBe(coapCode.CREATED);
  const map = decodeCbor(served?.payload ?? Buffer.alloc(0)) as Map<string, CborItem>;
  expect([map.get('status'), map.get('client_id')]).toEqual(['enrolled', 'valve-V1']);
  await fixture.call('DELETE', '/v1/clients/valve-V1');
  const replayed = Buffer.from(request.bytes);
  replayed.writeUInt16BE(7, 2);
  peer.send(replayed);
  expect((await peer.nextMessage(500))?.code).toBe(coapCode.UNAUTHORIZED);
  expect((await fixture.call('GET', '/v1/clients/valve-V1')).status).toBe(404);
});

test('a context for enrolling gets no token', async () => {
  const enrollment = await open();
  const { datagram, send } = await rawDevice(enrollment, 'V1');
  const challenge = await send(datagram('token', new Map()));
  expect((await send(datagram('token', new Map(), echoIn(challenge))))?.code).toBe(coapCode.NOT_FOUND);
});

test.each<[string, CborItem]>([
  ['no map', 'text'],
  ['a map of numbers', new Map([[1, 'x']])],
  ['a value that is no text', new Map<string, CborItem>([['hw', 5]])],
])('a payload that is %s is refused', async (_what, payload) => {
  const enrollment = await open();
  const { datagram, send } = await rawDevice(enrollment, 'V1');
  const challenge = await send(datagram('enroll', payload));
  expect((await send(datagram('enroll', payload, echoIn(challenge))))?.code).toBe(coapCode.FORBIDDEN);
});
