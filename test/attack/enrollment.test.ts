import { createServer } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { askToEnroll, makeSeed } from '../../agent/enrollment.ts';
import { openIssuer } from '../../issuer/open-issuer.ts';
import { resolveOptions } from '../../issuer/options.ts';
import { derivedKey, enroll, enrollingDevice, groupProof } from '../support/enrolling-device.ts';
import {
  type IssuerFixture,
  issuerFixture,
  issuerOptions,
  temporaryDirectory,
} from '../support/issuer-fixture.ts';

interface Enrollment {
  enrollment_id: string;
  claim_code: string;
  primary_key: string;
}

async function line(template: Record<string, unknown>): Promise<IssuerFixture & { url: string }> {
  const fixture = await issuerFixture();
  const put = await fixture.call('PUT', '/v1/templates/meter', { scope: 'telemetry.write', ...template });
  expect(put.status).toBe(201);
  return { ...fixture, url: fixture.issuer.url };
}

const open = async ({ call }: IssuerFixture, more: Record<string, unknown>) => {
  const answer = await call('POST', '/v1/enrollments', { template: 'meter', ...more });
  return { status: answer.status, made: (await answer.json()) as Enrollment };
};

async function auditOf({ call }: IssuerFixture): Promise<{ target?: string; result: string }[]> {
  const listed = await call('GET', '/v1/audit?action=device.enroll');
  return ((await listed.json()) as { events: { target?: string; result: string }[] }).events;
}

// Who holds the key of one device, or a code that is not bound, would choose the rest.
test.each([
  ['a place of the id beside the registration id', { id: '{plant}-{registration_id}' }, {}],
  ['the same, and one replaces', { id: '{plant}-{registration_id}' }, { replace: true }],
  ['a place of the group', { id: 'm-{registration_id}', group: '{plant}' }, {}],
  ['one client id for all of a group', { id: 'm-{registration_id}' }, { device: { client_id: 'm-1' } }],
  ['an empty value of a place', { id: '{plant}-{registration_id}' }, { device: { plant: '' } }],
])('a group key lets no device choose what another has: %s', async (_what, template, more) => {
  const fixture = await line(template);
  const { status } = await open(fixture, { kind: 'group_key', ...more });
  expect(status).toBe(400);
});

test.each([
  ['the group', { id: 'm-{serial}', group: '{plant}' }, { device: { serial: '1' } }],
  ['the group by its id', { id: '{serial}', group: '{client_id}' }, {}],
  [
    'whose credentials it gets, by an empty cell',
    { id: 'm-{serial}' },
    { replace: true, device: { client_id: '' } },
  ],
  ['the same by null', { id: 'm-{serial}' }, { replace: true, device: { client_id: null } }],
])('a claim code lets no device choose %s', async (_what, template, more) => {
  const fixture = await line(template);
  expect((await open(fixture, more)).status).toBe(400);
});

test('a place that the enrollment fills is not for the device to fill', async () => {
  const fixture = await line({ id: '{plant}-{registration_id}', group: '{plant}', scope: '' });
  const { made } = await open(fixture, { kind: 'group_key', device: { plant: 'p7' } });
  const ask = (device: object) => {
    const proof = groupProof(derivedKey(made.primary_key, '1'), '1', fixture.url);
    return enroll(fixture.url, { enrollment: made.enrollment_id, proof, device });
  };
  for (const plant of ['p8', 7, { a: 1 }, ['p7', 'p8'], { toString: 1 }, { toString: null }]) {
    const { status, body } = await ask({ plant });
    expect([status, body]).toEqual([409, expect.objectContaining({ error: 'enrollment_conflict' })]);
    // Who has the key of a group is not told what is said of its devices.
    expect(JSON.stringify(body)).not.toContain('p7');
  }
  const { body } = await ask({ plant: 'p7' });
  expect(body.credentials?.client_id).toBe('p7-1');
  expect(await (await fixture.call('GET', '/v1/clients/p7-1')).json()).toMatchObject({ group: 'p7' });
});

test('a template that asks the device for its group since lets nobody in', async () => {
  const fixture = await line({ id: 'm-{registration_id}' });
  const { made } = await open(fixture, { kind: 'group_key' });
  await fixture.call('PUT', '/v1/templates/meter', { id: 'm-{registration_id}', group: '{plant}' });
  const proof = groupProof(derivedKey(made.primary_key, '1'), '1', fixture.url);
  const { status } = await enroll(fixture.url, {
    enrollment: made.enrollment_id,
    proof,
    device: { plant: 'p8' },
  });
  expect(status).toBe(400);
});

test('both keys of a group that are rolled at once are both replaced', async () => {
  const directory = await temporaryDirectory();
  const issuer = await openIssuer(resolveOptions(issuerOptions(directory)), () => 'http://127.0.0.1');
  onTestFinished(() => issuer.close());
  const by = { keyName: 'admin', address: undefined, requestId: undefined };
  await issuer.templates.put('meter', { id: 'm-{registration_id}' }, by);
  const asked = { kind: 'group_key', template: 'meter' } as const;
  const { enrollment: before } = await issuer.enrollments.create(asked, by);
  const { id } = before;
  await Promise.all([
    issuer.enrollments.rollKey(id, 'primary', by),
    issuer.enrollments.rollKey(id, 'secondary', by),
  ]);
  const after = await issuer.enrollments.find(id);
  for (const which of ['primary', 'secondary'] as const) {
    expect(after.groupKeys?.[which]).not.toEqual(before.groupKeys?.[which]);
  }
});

test('a secret that is shown again is in the audit trail again', async () => {
  const fixture = await line({ id: 'm-{serial}' });
  const { made } = await open(fixture, {});
  const asked = { claim_code: made.claim_code, device: { serial: '1' }, nonce: enrollingDevice().nonce };
  for (let time = 0; time < 2; time += 1) expect((await enroll(fixture.url, asked)).status).toBe(201);
  expect((await auditOf(fixture)).map(({ result }) => result).sort()).toEqual(['ok', 'repeated']);
});

test.each([
  ['its client id', { client_id: 'victim' }],
  ['its group', { group: 'admins' }],
  ['a label', { 'labels.role': 'admin' }],
  ['labels', { labels: { role: 'admin' } }],
  ['its registration id', { registration_id: 'victim' }],
  ['a key', { jwks: { keys: [] } }],
  ['a number of its row', { n: '1' }],
  ['its UUID', { uuid: '1' }],
  ['a path', { serial: '../../etc/passwd' }],
  ['a filter', { serial: '#' }],
  ['an escape', { serial: '\x1b[2J' }],
  ['too much', { serial: 'x'.repeat(1025) }],
  ['no text', { serial: {} }],
  ['more than a row holds', Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`v${i}`, 'x']))],
])('a device that says %s is refused, and its code is not used', async (_what, device) => {
  const fixture = await line({ id: 'm-{serial}' });
  const { made } = await open(fixture, {});
  const asked = { claim_code: made.claim_code, nonce: enrollingDevice().nonce };
  expect((await enroll(fixture.url, { ...asked, device })).status).toBe(400);
  expect((await enroll(fixture.url, { ...asked, device: { serial: '1' } })).status).toBe(201);
});

test.each([
  ['__proto__', '{"claim_code":"x","device":{"__proto__":{"serial":"1"}}}'],
  ['a name twice', '{"claim_code":"x","claim_code":"y"}'],
  ['a thousand levels', `{"device":${'['.repeat(1000)}${']'.repeat(1000)}}`],
  ['no object', '[]'],
])('a body with %s is refused', async (_what, body) => {
  const { url } = await line({ id: 'm-{serial}' });
  const answer = await fetch(`${url}/enroll`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  expect(answer.status).toBe(400);
});

test('a credential of one kind opens no door of another', async () => {
  const fixture = await line({ id: 'm-{serial}' });
  const client = await fixture.register({ client_id: 'other', scope: 'telemetry.write' });
  const { access_token } = (await (await fixture.tokenFor(client)).json()) as { access_token: string };
  const { made } = await open(fixture, {});
  for (const secret of [access_token, client.client_secret, made.claim_code]) {
    for (const headers of [{ authorization: `Bearer ${secret}` }, { 'api-key': secret }]) {
      expect((await fixture.call('GET', '/v1/enrollments', undefined, headers)).status).toBe(401);
    }
  }
  const { nonce } = enrollingDevice();
  for (const claim_code of [access_token, client.client_secret]) {
    expect((await enroll(fixture.url, { claim_code, device: { serial: '1' }, nonce })).status).toBe(401);
  }
});

test('an auditor acts on nothing of a fleet', async () => {
  const fixture = await line({ id: 'm-{serial}' });
  const made = await fixture.call('POST', '/v1/api-keys', { name: 'reader', role: 'auditor' });
  const { api_key = '' } = (await made.json()) as Record<string, string>;
  const acts = fixture.adminRoutes.filter(
    ({ method, url }) =>
      ['POST', 'PUT', 'PATCH', 'DELETE'].includes(String(method)) &&
      /enrollment|provisioning|campaign|template|clients/.test(url) &&
      // It writes nothing.
      !url.endsWith('/preview'),
  );
  expect(acts.length).toBeGreaterThan(12);
  for (const { method, url } of acts) {
    const path = url.replace(/:(?:[a-z_]+)/g, 'x');
    const answer = await fixture.call(String(method), path, {}, { 'api-key': api_key });
    expect([url, answer.status]).toEqual([url, 403]);
  }
});

async function answering(body: unknown): Promise<string> {
  const server = createServer((_request, response) => {
    response.writeHead(202, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => void server.close());
  const { port } = server.address() as { port: number };
  return `http://127.0.0.1:${port}`;
}

const asks = async (body: unknown) =>
  askToEnroll({ issuer: await answering(body), key: { claimCode: 'x' }, seed: makeSeed(false), device: {} });

test.each([
  [-1, 1],
  [0, 1],
  [1e12, 3600],
  ['soon', 30],
])('an answer to come again after %s seconds makes no device ask without a pause', async (said, waits) => {
  const answer = await asks({ client_id: 'm-1', retry_after_seconds: said });
  expect(answer).toMatchObject({ status: 'pending', retryAfterSeconds: waits });
});

test('a client id with escapes in an answer gets onto no terminal', async () => {
  await expect(asks({ client_id: '\x1b]0;x\x07' })).rejects.toMatchObject({ code: 'token_response_invalid' });
});
