import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { type IssuerOptions, reencryptSigningKeys, startIssuer } from '@fleetgate/issuer';
import { expect, onTestFinished, test } from 'vitest';
import {
  derivedKey,
  enroll,
  enrollingDevice,
  groupProof,
  keyProof,
  keyProofFor,
  type ProofClaims,
} from '../../support/enrolling-device.ts';
import { hasApps, issuerFixture, issuerOptions, temporaryDirectory } from '../../support/issuer-fixture.ts';

interface Enrollment {
  enrollment_id: string;
  claim_code: string;
  primary_key: string;
  secondary_key: string;
  [field: string]: unknown;
}

let nowMs: number;

async function factory(template: Record<string, unknown> = {}, options: Partial<IssuerOptions> = {}) {
  nowMs = Date.now();
  const fixture = await issuerFixture({ now: () => nowMs, ...options });
  const put = await fixture.call('PUT', '/v1/templates/sensor', {
    id: 'sensor-{serial}',
    scope: 'telemetry.write',
    ...template,
  });
  expect(put.status).toBe(201);
  const open = async (more: Record<string, unknown> = {}): Promise<Enrollment> => {
    const made = await fixture.call('POST', '/v1/enrollments', { template: 'sensor', ...more });
    if (made.status !== 201) throw new Error(await made.text());
    return (await made.json()) as Enrollment;
  };
  const { url } = fixture.issuer;
  const ask = (body: Record<string, unknown>) => enroll(url, body);
  const audit = async () => {
    const listed = await fixture.call('GET', '/v1/audit?action=device.enroll');
    const { events } = (await listed.json()) as {
      events: { actor: string; target?: string; result: string }[];
    };
    return events.map(({ actor, target, result }) => ({ actor, target, result }));
  };
  const waiting = async () => {
    const listed = await fixture.call('GET', '/v1/enrollment-requests?state=pending');
    return ((await listed.json()) as { requests: { request_id: string; client_id: string }[] }).requests;
  };
  const tokenStatus = async (credentials: { client_id: string; auth: Record<string, string> } | undefined) =>
    (
      await fixture.tokenFor({
        client_id: credentials?.client_id ?? '',
        client_secret: credentials?.auth['client_secret'] ?? '',
      })
    ).status;
  return { ...fixture, url, open, ask, audit, waiting, tokenStatus };
}

const device = { serial: 'A1' };

test('a claim code gives a device its identity, and its secret gets a token', async () => {
  const { open, ask, audit, tokenStatus, call } = await factory({ group: 'g-{line}' });
  const { claim_code, enrollment_id } = await open({ device: { line: '7' } });
  const { status, body } = await ask({ claim_code, device, nonce: enrollingDevice().nonce });
  expect(status).toBe(201);
  expect(body.credentials).toMatchObject({ version: 1, client_id: 'sensor-A1', audience: 'mqtt' });
  expect(await tokenStatus(body.credentials)).toBe(200);
  expect(await (await call('GET', '/v1/clients/sensor-A1')).json()).toMatchObject({
    group: 'g-7',
    template: 'sensor',
    enrollment: enrollment_id,
  });
  expect(await audit()).toEqual([
    { actor: `enrollment:${enrollment_id}`, target: 'sensor-A1', result: 'ok' },
  ]);
});

test('it may be typed in lower case, without its hyphens and with letters for digits', async () => {
  const { open, ask } = await factory();
  const { claim_code } = await open();
  const typed = claim_code.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o').replaceAll('1', 'l');
  expect((await ask({ claim_code: typed, device, nonce: enrollingDevice().nonce })).status).toBe(201);
});

test('a device whose answer was lost asks again and gets the same; another device with the code gets nothing', async () => {
  const { open, ask, tokenStatus } = await factory();
  const { claim_code } = await open();
  const { nonce } = enrollingDevice();
  const first = await ask({ claim_code, device, nonce });
  const again = await ask({ claim_code, device, nonce });
  expect(again.body).toEqual(first.body);
  const other = await ask({ claim_code, device: { serial: 'B2' }, nonce: enrollingDevice().nonce });
  expect([other.status, other.body.error]).toEqual([403, 'enrollment_exhausted']);
  nowMs += 86_400_000;
  const late = await ask({ claim_code, device, nonce });
  expect([late.status, late.body.error]).toEqual([403, 'enrollment_exhausted']);
  expect(await tokenStatus(first.body.credentials)).toBe(200);
});

test('of many devices that come at once with a code for two, two are let in', async () => {
  const { open, ask, call } = await factory();
  const { claim_code, enrollment_id } = await open({ max_uses: 2 });
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, i) =>
      ask({ claim_code, device: { serial: `S${i}` }, nonce: enrollingDevice().nonce }),
    ),
  );
  expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, ...Array(8).fill(403)]);
  expect(await (await call('GET', `/v1/enrollments/${enrollment_id}`)).json()).toMatchObject({
    state: 'exhausted',
    uses: 2,
  });
});

test('one device that asks many times at once is one client', async () => {
  const { open, ask, call } = await factory();
  const { claim_code } = await open({ max_uses: 5 });
  const { nonce } = enrollingDevice();
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask({ claim_code, device, nonce })));
  expect(new Set(answers.map(({ status, body }) => JSON.stringify([status, body.credentials]))).size).toBe(1);
  expect(answers[0]?.status).toBe(201);
  expect(await (await call('GET', '/v1/clients')).json()).toMatchObject({
    clients: [{ client_id: 'sensor-A1' }],
  });
});

test.each([
  ['unknown', 401, 'enrollment_credential_invalid', async () => 'AAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAA'],
  ['no code at all', 401, 'enrollment_credential_invalid', async () => 'x'],
])('a claim code that is %s is refused, and recorded', async (_what, status, error, code) => {
  const { ask, audit } = await factory();
  const answer = await ask({ claim_code: await code(), device, nonce: enrollingDevice().nonce });
  expect([answer.status, answer.body.error]).toEqual([status, error]);
  expect(await audit()).toEqual([{ actor: 'anonymous', result: error }]);
});

test('an expired code and a revoked one are refused, each with its reason, and recorded', async () => {
  const { open, ask, call, audit } = await factory();
  const expired = await open({ expires_at: Math.floor(nowMs / 1000) + 60 });
  const revoked = await open();
  await call('POST', `/v1/enrollments/${revoked.enrollment_id}/revoke`);
  nowMs += 61_000;
  for (const [{ claim_code, enrollment_id }, error] of [
    [expired, 'enrollment_expired'],
    [revoked, 'enrollment_revoked'],
  ] as const) {
    const answer = await ask({ claim_code, device, nonce: enrollingDevice().nonce });
    expect([answer.status, answer.body.error]).toEqual([403, error]);
    expect(await audit()).toContainEqual({
      actor: `enrollment:${enrollment_id}`,
      target: enrollment_id,
      result: error,
    });
  }
});

test.runIf(hasApps)('a code of one app opens nothing in another', async () => {
  const { open, call, url } = await factory();
  await call('POST', '/v1/apps', { app_id: 'shop' });
  const { claim_code } = await open();
  const body = { claim_code, device, nonce: enrollingDevice().nonce };
  expect((await enroll(`${url}/appid-shop`, body)).body.error).toBe('enrollment_credential_invalid');
  expect((await enroll(url, body)).status).toBe(201);
});

test.each(['client_id', 'name', 'group', 'labels', 'labels.hw', 'jwks', 'public_jwk', 'registration_id'])(
  'a device cannot say its %s',
  async (name) => {
    const { open, ask } = await factory();
    const { claim_code } = await open();
    const said = { ...device, [name]: 'admin' };
    const answer = await ask({ claim_code, device: said, nonce: enrollingDevice().nonce });
    expect([answer.status, answer.body.error_description]).toEqual([400, expect.stringContaining(name)]);
  },
);

test('a code that is bound to one device is refused to one that says to be another, and is not used up by that', async () => {
  const { open, ask } = await factory();
  const { claim_code } = await open({ device: { serial: '07' } });
  const { nonce } = enrollingDevice();
  const refused = await ask({ claim_code, device: { serial: '7' }, nonce });
  expect(refused).toMatchObject({
    status: 409,
    body: {
      error: 'enrollment_conflict',
      error_description:
        'the enrollment is for another serial than the device says; use the one that was made for this device',
    },
  });
  for (const device of [{ serial: '07' }, { serial: null }, { serial: '' }, {}]) {
    expect((await ask({ claim_code, device, nonce })).body.credentials?.client_id).toBe('sensor-07');
  }
});

test.each([
  [{}, /claim_code, or an enrollment/],
  [{ claim_code: 'c', enrollment: 'e' }, /claim_code, or an enrollment/],
  [{ claim_code: 'c', extra: 1 }, /unknown field 'extra'/],
])('a body with %j is refused', async (body, message) => {
  const { ask } = await factory();
  const answer = await ask(body);
  expect([answer.status, answer.body.error_description]).toEqual([400, expect.stringMatching(message)]);
});

test('a weak nonce is refused, and so is none', async () => {
  const { open, ask } = await factory();
  const { claim_code } = await open();
  for (const nonce of [undefined, 'short', 'x'.repeat(44)]) {
    expect((await ask({ claim_code, device, ...(nonce && { nonce }) })).body.error).toBe('invalid_request');
  }
});

test('the id of a client that is there already is not taken, whoever made it', async () => {
  const { open, ask, call, register } = await factory();
  await register({ client_id: 'sensor-A1' });
  const { claim_code } = await open({ replace: true, device });
  const answer = await ask({ claim_code, device, nonce: enrollingDevice().nonce });
  expect([answer.status, answer.body.error]).toEqual([409, 'enrollment_conflict']);
  expect(await (await call('GET', '/v1/clients/sensor-A1')).json()).not.toHaveProperty('template');
});

test('a device that lost its credentials gets new ones where that is allowed, and the old ones end', async () => {
  const { open, ask, tokenStatus, call } = await factory();
  const first = await ask({ claim_code: (await open()).claim_code, device, nonce: enrollingDevice().nonce });
  const strict = await ask({ claim_code: (await open()).claim_code, device, nonce: enrollingDevice().nonce });
  expect(strict.body.error).toBe('enrollment_conflict');
  await call('PATCH', '/v1/clients/sensor-A1', { labels: { kept: 'yes' } });
  const { claim_code } = await open({ replace: true, device });
  const second = await ask({ claim_code, device, nonce: enrollingDevice().nonce });
  expect(second.status).toBe(201);
  expect(await tokenStatus(first.body.credentials)).toBe(401);
  expect(await tokenStatus(second.body.credentials)).toBe(200);
  expect(await (await call('GET', '/v1/clients/sensor-A1')).json()).toMatchObject({
    labels: { kept: 'yes' },
  });
});

test.each([
  [{ replace: true }, 'sensor-{serial}', /give serial in device/],
  [{ replace: true, device: { plant: '7' } }, '{plant}-{serial}', /give serial in device/],
])('a claim code that replaces says whose: %j is refused', async (asked, id, message) => {
  const { open } = await factory({ id });
  await expect(open(asked)).rejects.toThrow(message);
});

test('one that was to replace is refused when the template asks the device for its id since', async () => {
  const { open, ask, call } = await factory();
  const { claim_code } = await open({ replace: true, device });
  await call('PUT', '/v1/templates/sensor', { id: 'sensor-{serial}-{slot}' });
  const answer = await ask({ claim_code, device: { slot: '1' }, nonce: enrollingDevice().nonce });
  expect([answer.status, answer.body.error_description]).toEqual([400, expect.stringContaining('slot')]);
});

test('one in quarantine does not come back by enrolling again', async () => {
  const { open, ask, call, tokenStatus } = await factory();
  await ask({ claim_code: (await open()).claim_code, device, nonce: enrollingDevice().nonce });
  await call('POST', '/v1/clients/sensor-A1/quarantine', { reason: 'stolen' });
  const again = await ask({
    claim_code: (await open({ replace: true, device })).claim_code,
    device,
    nonce: enrollingDevice().nonce,
  });
  expect(again.body.error).toBe('enrollment_conflict');
  expect(await tokenStatus(again.body.credentials)).not.toBe(200);
});

test('with approval a device waits, and gets its credentials when it is approved', async () => {
  const { open, ask, call, waiting, tokenStatus, audit } = await factory();
  const { claim_code } = await open({ approval: true });
  const body = { claim_code, device, nonce: enrollingDevice().nonce };
  const first = await ask(body);
  expect(first).toMatchObject({
    status: 202,
    retryAfter: '30',
    body: { status: 'pending', client_id: 'sensor-A1' },
  });
  expect((await call('GET', '/v1/clients/sensor-A1')).status).toBe(404);
  expect((await ask(body)).status).toBe(202);
  const [request] = await waiting();
  await call('POST', `/v1/enrollment-requests/${request?.request_id}/approve`);
  expect((await call('GET', '/v1/clients/sensor-A1')).status).toBe(404);
  const { status, body: answer } = await ask(body);
  expect(status).toBe(201);
  expect(await tokenStatus(answer.credentials)).toBe(200);
  expect((await audit()).map(({ result }) => result)).toEqual(['pending', 'ok']);
  const reject = await call('POST', `/v1/enrollment-requests/${request?.request_id}/reject`, {
    reason: 'late',
  });
  expect(reject.status).toBe(409);
});

test('one that was rejected is told, and gets nothing; approved after all, it gets in', async () => {
  const { open, ask, call, waiting } = await factory();
  const { claim_code } = await open({ approval: true });
  const body = { claim_code, device, nonce: enrollingDevice().nonce };
  await ask(body);
  const [request] = await waiting();
  await call('POST', `/v1/enrollment-requests/${request?.request_id}/reject`, { reason: 'not ours' });
  const rejected = await ask(body);
  expect(rejected).toMatchObject({ status: 403, body: { error: 'enrollment_refused' } });
  expect(rejected.body.error_description).toContain('not ours');
  await call('POST', `/v1/enrollment-requests/${request?.request_id}/approve`);
  expect((await ask(body)).status).toBe(201);
});

test('one whose client id is on the list does not wait, also when it came before it was put there', async () => {
  const { open, ask, call } = await factory();
  const { claim_code, enrollment_id } = await open({ approval: true, max_uses: 3 });
  const allow = (...client_ids: string[]) =>
    call('POST', `/v1/enrollments/${enrollment_id}/allow`, { client_ids });
  await allow('sensor-A1');
  expect((await ask({ claim_code, device, nonce: enrollingDevice().nonce })).status).toBe(201);
  const late = { claim_code, device: { serial: 'B2' }, nonce: enrollingDevice().nonce };
  expect((await ask(late)).status).toBe(202);
  await allow('sensor-B2');
  expect((await ask(late)).status).toBe(201);
});

test('a device that waits when the enrollment is revoked is refused', async () => {
  const { open, ask, call } = await factory();
  const { claim_code, enrollment_id } = await open({ approval: true });
  const body = { claim_code, device, nonce: enrollingDevice().nonce };
  await ask(body);
  await call('POST', `/v1/enrollments/${enrollment_id}/revoke`);
  expect((await ask(body)).body.error).toBe('enrollment_revoked');
});

const ownKey = { auth_method: 'private_key_jwt' };

test('a device brings its own key, and no secret travels', async () => {
  const { open, ask, url, call } = await factory(ownKey);
  const { claim_code } = await open();
  const one = enrollingDevice();
  const send = () =>
    ask({ claim_code, device, public_jwk: one.publicJwk, key_proof: keyProof(one, url, claim_code) });
  const { status, body } = await send();
  expect(status).toBe(201);
  expect(body.credentials?.auth).toEqual({ method: 'private_key_jwt' });
  expect(await (await call('GET', '/v1/clients/sensor-A1')).json()).toMatchObject({
    jwks: { keys: [{ x: one.publicJwk['x'] }] },
  });
  expect((await send()).body).toEqual(body);
});

test.each<[string, (one: ReturnType<typeof enrollingDevice>, url: string, code: string) => string]>([
  ['of another key', (_one, url, code) => keyProof(enrollingDevice(), url, code)],
  ['for another code', (one, url) => keyProof(one, url, '0000-0000-0000-0000-0000-0000-0000')],
  ['for another issuer', (one, _url, code) => keyProof(one, 'https://other.example', code)],
  [
    'for another as well',
    (one, url, code) => keyProof(one, url, code, { aud: [url, 'https://other.example'] }),
  ],
  ['that has expired', (one, url, code) => keyProof(one, url, code, { exp: 1 })],
  [
    'that lasts for an hour',
    (one, url, code) => keyProof(one, url, code, { exp: Math.floor(Date.now() / 1000) + 3600 }),
  ],
  ['of another subject', (one, url, code) => keyProof(one, url, code, { sub: 'x' })],
  ['without jti', (one, url, code) => keyProof(one, url, code, { jti: undefined } as unknown as ProofClaims)],
  ['that is none', () => 'a.b.c'],
])('a proof %s is refused', async (_what, proof) => {
  const { open, ask, url, call } = await factory(ownKey);
  const { claim_code } = await open();
  const one = enrollingDevice();
  const answer = await ask({
    claim_code,
    device,
    public_jwk: one.publicJwk,
    key_proof: proof(one, url, claim_code),
  });
  expect([answer.status, answer.body.error]).toEqual([401, 'enrollment_credential_invalid']);
  expect((await call('GET', '/v1/clients/sensor-A1')).status).toBe(404);
});

test('a proof is taken once', async () => {
  const { open, ask, url } = await factory(ownKey);
  const { claim_code } = await open({ max_uses: 2 });
  const one = enrollingDevice();
  const body = { claim_code, device, public_jwk: one.publicJwk, key_proof: keyProof(one, url, claim_code) };
  expect((await ask(body)).status).toBe(201);
  expect((await ask(body)).body.error).toBe('enrollment_credential_invalid');
});

test('a private key that is sent by mistake, and a key where none is wanted, are refused', async () => {
  const { open, ask, url } = await factory(ownKey);
  const { claim_code } = await open();
  const one = enrollingDevice();
  const { d } = one.privateKey.export({ format: 'jwk' });
  const sent = await ask({
    claim_code,
    device,
    public_jwk: { ...one.publicJwk, d },
    key_proof: keyProof(one, url, claim_code),
  });
  expect(sent.status).toBeGreaterThanOrEqual(400);
  expect((await ask({ claim_code, device, nonce: one.nonce })).body.error_description).toContain(
    'public_jwk',
  );
});

const grouped = { id: 'sensor-{registration_id}' };

test('a device of a group proves the key that was derived for it', async () => {
  const { open, ask, url, tokenStatus } = await factory(grouped);
  const { enrollment_id, primary_key, secondary_key } = await open({ kind: 'group_key' });
  for (const [id, groupKey] of [
    ['A1', primary_key],
    ['B2', secondary_key],
  ] as const) {
    const proof = groupProof(derivedKey(groupKey, id), id, url);
    const { status, body } = await ask({ enrollment: enrollment_id, proof, nonce: enrollingDevice().nonce });
    expect([status, body.credentials?.client_id]).toEqual([201, `sensor-${id}`]);
    expect(await tokenStatus(body.credentials)).toBe(200);
  }
});

test.each<[string, (key: string, url: string) => string]>([
  ['by the key of another device', (key, url) => groupProof(derivedKey(key, 'B2'), 'A1', url)],
  ['by another group', (_key, url) => groupProof(derivedKey('AAAA', 'A1'), 'A1', url)],
  ['unsigned', (key, url) => groupProof(derivedKey(key, 'A1'), 'A1', url, {}, { alg: 'none' })],
  ['of another algorithm', (key, url) => groupProof(derivedKey(key, 'A1'), 'A1', url, {}, { alg: 'HS512' })],
  ['for another issuer', (key) => groupProof(derivedKey(key, 'A1'), 'A1', 'https://other.example')],
  ['of an id with a slash', (key, url) => groupProof(derivedKey(key, 'A/1'), 'A/1', url)],
])('a proof %s is refused', async (_what, proof) => {
  const { open, ask, url } = await factory(grouped);
  const { enrollment_id, primary_key } = await open({ kind: 'group_key' });
  const answer = await ask({
    enrollment: enrollment_id,
    proof: proof(primary_key, url),
    nonce: enrollingDevice().nonce,
  });
  expect([answer.status, answer.body.error]).toEqual([401, 'enrollment_credential_invalid']);
});

test('a device of a group is one, whatever it brings, so that it fills no list', async () => {
  const { open, ask, url, call } = await factory(grouped);
  const { enrollment_id, primary_key } = await open({ kind: 'group_key' });
  const come = () =>
    ask({
      enrollment: enrollment_id,
      proof: groupProof(derivedKey(primary_key, 'A1'), 'A1', url),
      nonce: enrollingDevice().nonce,
    });
  const [first, second] = [await come(), await come()];
  expect(second.body).toEqual(first.body);
  const listed = await call('GET', '/v1/enrollment-requests');
  expect(((await listed.json()) as { requests: unknown[] }).requests).toHaveLength(1);
});

test('a device of a group that comes after a day gets new credentials where that is allowed, and else none', async () => {
  const { open, ask, url, tokenStatus, call } = await factory(grouped);
  const come = ({ enrollment_id, primary_key }: Enrollment, id: string) => {
    const times = { iat: Math.floor(nowMs / 1000), exp: Math.floor(nowMs / 1000) + 60 };
    return ask({ enrollment: enrollment_id, proof: groupProof(derivedKey(primary_key, id), id, url, times) });
  };
  const [strict, lenient] = [
    await open({ kind: 'group_key' }),
    await open({ kind: 'group_key', replace: true }),
  ];
  await come(strict, 'A1');
  const first = await come(lenient, 'B2');
  nowMs += 86_400_000;
  expect((await come(strict, 'A1')).body.error).toBe('enrollment_exhausted');
  const again = await come(lenient, 'B2');
  expect(again.status).toBe(201);
  expect([await tokenStatus(first.body.credentials), await tokenStatus(again.body.credentials)]).toEqual([
    401, 200,
  ]);
  await call('POST', '/v1/clients/sensor-B2/quarantine', { reason: 'stolen' });
  nowMs += 86_400_000;
  expect((await come(lenient, 'B2')).body.error).toBe('enrollment_conflict');
});

test('another key for a device of a group is taken while nothing is in its place, and not beside it', async () => {
  const { open, ask, url, call } = await factory({ ...grouped, ...ownKey });
  const come = ({ enrollment_id, primary_key }: Enrollment, one = enrollingDevice()) =>
    ask({
      enrollment: enrollment_id,
      proof: groupProof(derivedKey(primary_key, 'A1'), 'A1', url),
      public_jwk: one.publicJwk,
      key_proof: keyProofFor(one.privateKey, url, 'A1'),
    });
  const waiting = await open({ kind: 'group_key', approval: true });
  const one = enrollingDevice();
  expect([(await come(waiting, one)).status, (await come(waiting, one)).status]).toEqual([202, 202]);
  expect((await come(waiting)).body.error).toBe('enrollment_conflict');
  const strict = await open({ kind: 'group_key' });
  expect((await come(strict, one)).status).toBe(201);
  expect((await come(strict)).body.error).toBe('enrollment_exhausted');
  const lenient = await open({ kind: 'group_key', replace: true });
  await come(lenient, one);
  const other = enrollingDevice();
  expect((await come(lenient, other)).status).toBe(201);
  expect(await (await call('GET', '/v1/clients/sensor-A1')).json()).toMatchObject({
    jwks: { keys: [{ x: other.publicJwk['x'] }] },
  });
});

test('a key that was rolled lets nobody in any more, and the other one does', async () => {
  const { open, ask, url, call } = await factory(grouped);
  const { enrollment_id, primary_key, secondary_key } = await open({ kind: 'group_key' });
  const rolled = await call('POST', `/v1/enrollments/${enrollment_id}/keys`, { key: 'primary' });
  const { primary_key: next } = (await rolled.json()) as Enrollment;
  const come = async (id: string, groupKey: string) =>
    (
      await ask({
        enrollment: enrollment_id,
        proof: groupProof(derivedKey(groupKey, id), id, url),
        nonce: enrollingDevice().nonce,
      })
    ).status;
  expect([await come('A1', primary_key), await come('B2', secondary_key), await come('C3', next)]).toEqual([
    401, 201, 201,
  ]);
});

test('a device of a group brings its own key too, and the proof of it names the device', async () => {
  const { open, ask, url } = await factory({ ...grouped, ...ownKey });
  const { enrollment_id, primary_key } = await open({ kind: 'group_key' });
  const one = enrollingDevice();
  const send = (subject: string) =>
    ask({
      enrollment: enrollment_id,
      proof: groupProof(derivedKey(primary_key, 'A1'), 'A1', url),
      public_jwk: one.publicJwk,
      key_proof: keyProofFor(one.privateKey, url, subject),
    });
  expect((await send('B2')).status).toBe(401);
  expect((await send('A1')).status).toBe(201);
});

test.each([
  [{ kind: 'group_key' }, /registration_id/],
  [{ template: 'ghost' }, /no such template/],
  [{ expires_at: 1 }, /expires_at/],
  [{ max_uses: 0 }, /max_uses/],
])('an enrollment with %j is not made', async (asked, message) => {
  const { open } = await factory();
  await expect(open(asked)).rejects.toThrow(message);
});

test('a template that numbers its devices is for jobs alone', async () => {
  const { open } = await factory({ id: 'box-{n}' });
  await expect(open()).rejects.toThrow(/\{n\}/);
});

test('group keys and claim codes are in no list and no row of the audit trail', async () => {
  const { open, call } = await factory(grouped);
  const group = await open({ kind: 'group_key' });
  const code = await open();
  const shown = await Promise.all(
    ['/v1/enrollments', `/v1/enrollments/${group.enrollment_id}`, '/v1/audit'].map(async (path) =>
      (await call('GET', path)).text(),
    ),
  );
  for (const secret of [group.primary_key, group.secondary_key, code.claim_code]) {
    expect(shown.join('')).not.toContain(secret);
  }
});

async function hookCommand(source: string) {
  const file = join(await temporaryDirectory(), 'hook.mjs');
  await writeFile(file, source);
  return { enrollmentHook: { command: [process.execPath, file], timeoutSeconds: 5 } };
}

const readStdin =
  "let text = ''; for await (const part of process.stdin) text += part; const asked = JSON.parse(text);";

test('a hook is asked what the device says and would be, and amends it', async () => {
  const hook = await hookCommand(
    `${readStdin} console.log(JSON.stringify({ allow: true, group: 'plant-' + asked.device.line, labels: { seen: asked.client_id } }));`,
  );
  const { open, ask, call } = await factory({ labels: { hw: 'a' } }, hook);
  const { claim_code } = await open();
  const said = { serial: 'A1', line: '7' };
  expect((await ask({ claim_code, device: said, nonce: enrollingDevice().nonce })).status).toBe(201);
  expect(await (await call('GET', '/v1/clients/sensor-A1')).json()).toMatchObject({
    group: 'plant-7',
    labels: { hw: 'a', seen: 'sensor-A1' },
  });
});

test('a hook refuses, with its reason, and the code is not used up by that', async () => {
  const hook = await hookCommand(
    `${readStdin} console.log(JSON.stringify(asked.device.serial === 'A1' ? { allow: false, reason: 'not on the list' } : { allow: true }));`,
  );
  const { open, ask } = await factory({}, hook);
  const { claim_code } = await open();
  const answer = await ask({ claim_code, device, nonce: enrollingDevice().nonce });
  expect(answer).toMatchObject({ status: 403, body: { error: 'enrollment_refused' } });
  expect(answer.body.error_description).toContain('not on the list');
  expect((await ask({ claim_code, device: { serial: 'B2' }, nonce: enrollingDevice().nonce })).status).toBe(
    201,
  );
});

test.each([
  ['fails', 'process.exit(1)'],
  ['says nothing', ''],
  ['says nonsense', "console.log('yes')"],
  ['does not say allow', 'console.log(JSON.stringify({ ok: true }))'],
  ['amends the scope', "console.log(JSON.stringify({ allow: true, scope: '#' }))"],
  ['takes too long', 'setInterval(() => {}, 1000)'],
  ['says too much', "console.log(JSON.stringify({ allow: true, name: 'x'.repeat(1e6) }))"],
])('a hook that %s keeps the device out, which may come again', async (_what, source) => {
  const hook = await hookCommand(source);
  const { open, ask, call } = await factory(
    {},
    { enrollmentHook: { ...hook.enrollmentHook, timeoutSeconds: 1 } },
  );
  const { claim_code } = await open();
  const answer = await ask({ claim_code, device, nonce: enrollingDevice().nonce });
  expect([answer.status, answer.body.error]).toEqual([503, 'temporarily_unavailable']);
  expect((await call('GET', '/v1/clients/sensor-A1')).status).toBe(404);
});

test('a webhook is asked as a command is', async () => {
  const server = createServer((request, response) => {
    request.resume().once('end', () => response.end(JSON.stringify({ allow: request.url === '/yes' })));
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address() as { port: number };
  for (const [path, status] of [
    ['/yes', 201],
    ['/no', 403],
  ] as const) {
    const { open, ask } = await factory({}, { enrollmentHook: { url: `http://127.0.0.1:${port}${path}` } });
    const { claim_code } = await open();
    expect((await ask({ claim_code, device, nonce: enrollingDevice().nonce })).status).toBe(status);
  }
});

test('a webhook over http to another host, and one with no program, are refused at the start', async () => {
  await expect(factory({}, { enrollmentHook: { url: 'http://hook.example' } })).rejects.toThrow(/https/);
  await expect(factory({}, { enrollmentHook: { command: [] } })).rejects.toThrow(/program/);
});

test('an OSCORE context comes by enrolling, and again when the answer was lost', async () => {
  const { open, ask } = await factory({ auth_method: 'oscore' }, { coap: { host: '127.0.0.1', port: 0 } });
  const { claim_code } = await open();
  const { nonce } = enrollingDevice();
  const first = await ask({ claim_code, device, nonce });
  expect(first.body.credentials).toMatchObject({
    token_endpoint: expect.stringMatching(/^coap:/),
    auth: { method: 'oscore', master_secret: expect.stringMatching(/^[0-9a-f]{32}$/) },
  });
  expect((await ask({ claim_code, device, nonce })).body).toEqual(first.body);
});

test('a key of a kind that signs nothing here is refused', async () => {
  const { open, ask, url } = await factory(ownKey);
  const { claim_code } = await open();
  const { publicKey } = generateKeyPairSync('x25519');
  const answer = await ask({
    claim_code,
    device,
    public_jwk: publicKey.export({ format: 'jwk' }),
    key_proof: keyProof(enrollingDevice(), url, claim_code),
  });
  expect(answer.body.error).toBe('enrollment_credential_invalid');
});

test('group keys are encrypted under another key with the signing keys, and let devices in as before', async () => {
  const { open, url, issuer, directory, database, keyFile } = await factory(grouped);
  const { enrollment_id, primary_key, secondary_key } = await open({ kind: 'group_key' });
  await issuer.close();
  const newKeyFile = join(directory, 'new.key');
  const keys = { database, from: { file: keyFile }, to: { file: newKeyFile } };
  // Two signing keys and two group keys; and none again.
  expect([await reencryptSigningKeys(keys), await reencryptSigningKeys(keys)]).toEqual([4, 0]);
  const again = await startIssuer(issuerOptions(directory, { url, keyEncryptionKeyFile: newKeyFile }));
  onTestFinished(() => again.close());
  const at = `http://127.0.0.1:${again.port}`;
  for (const [id, key] of [
    ['A1', primary_key],
    ['B2', secondary_key],
  ] as const) {
    const proof = groupProof(derivedKey(key, id), id, url);
    expect(
      (await enroll(at, { enrollment: enrollment_id, proof, nonce: enrollingDevice().nonce })).status,
    ).toBe(201);
  }
});
