import { generateKeyPairSync } from 'node:crypto';
import type { IssuerOptions } from '@fleetgate/issuer';
import { expect, test } from 'vitest';
import { type IssuerFixture, issuerFixture } from '../../support/issuer-fixture.ts';

interface Result {
  row: number;
  outcome: string;
  client_id: string;
  client_secret?: string;
  oscore?: Record<string, string>;
  error?: string;
  error_description?: string;
  notice?: string;
}

interface Job {
  job_id: string;
  job_key: string;
}

async function fleet(template: Record<string, unknown>, options: Partial<IssuerOptions> = {}) {
  const fixture = await issuerFixture(options);
  const put = await fixture.call('PUT', '/v1/templates/sensor', template);
  expect(put.status).toBe(201);
  return { ...fixture, ...driver(fixture) };
}

function driver({ call }: IssuerFixture) {
  const read = async <T>(answer: Response): Promise<T> => {
    if (!answer.ok) throw Object.assign(new Error(await answer.text()), { status: answer.status });
    return (await answer.json()) as T;
  };
  return {
    begin: async (total: number, more: Record<string, unknown> = {}) =>
      read<Job>(await call('POST', '/v1/provisioning-jobs', { template: 'sensor', total, ...more })),
    send: async (job: Job, firstRow: number, ...rows: Record<string, unknown>[]) =>
      read<{ job: Record<string, unknown>; results: Result[] }>(
        await call('POST', `/v1/provisioning-jobs/${job.job_id}/rows`, {
          job_key: job.job_key,
          first_row: firstRow,
          rows,
        }),
      ),
    show: async (job: Job) =>
      read<Record<string, unknown>>(await call('GET', `/v1/provisioning-jobs/${job.job_id}`)),
  };
}

const serials = (...all: string[]) => all.map((serial) => ({ serial }));

test('each row is registered, and its secret gets a token', async () => {
  const { begin, send, tokenFor, call } = await fleet({
    id: 'sensor-{serial}',
    scope: 'telemetry.write',
    group: '{plant}',
    labels: { hw: '{hw}' },
  });
  const job = await begin(2);
  const { results, job: after } = await send(
    job,
    1,
    { serial: 'A1', plant: 'p7', hw: 'rev-a' },
    { serial: 'A2', plant: 'p7', 'labels.hw': 'rev-b', unused: 'x' },
  );
  expect(after).toMatchObject({ state: 'done', created: 2, failed: 0, next_row: 3 });
  for (const { client_id, client_secret = '' } of results) {
    expect((await tokenFor({ client_id, client_secret })).status).toBe(200);
  }
  expect(await (await call('GET', '/v1/clients/sensor-A2')).json()).toMatchObject({
    group: 'p7',
    labels: { hw: 'rev-b' },
    template: 'sensor',
    template_version: 1,
    job: job.job_id,
  });
});

test('rows sent again are answered again with the same secrets, and make nothing', async () => {
  const { begin, send, call } = await fleet({ id: 'sensor-{serial}' });
  const job = await begin(3);
  const first = await send(job, 1, ...serials('1', '2'));
  const again = await send(job, 1, ...serials('1', '2', '3'));
  expect(again.results.map(({ outcome }) => outcome)).toEqual(['repeated', 'repeated', 'created']);
  expect(again.results.slice(0, 2).map(({ client_secret }) => client_secret)).toEqual(
    first.results.map(({ client_secret }) => client_secret),
  );
  expect(new Set(again.results.map(({ client_secret }) => client_secret)).size).toBe(3);
  const { clients } = (await (await call('GET', '/v1/clients')).json()) as { clients: unknown[] };
  expect(clients).toHaveLength(3);
});

test('an OSCORE context comes again as it was', async () => {
  const { begin, send } = await fleet(
    { id: 'valve-{n:03}', auth_method: 'oscore' },
    { coap: { host: '127.0.0.1', port: 0 } },
  );
  const job = await begin(2, { start: 40 });
  const first = await send(job, 1, {}, {});
  expect(first.results.map(({ client_id }) => client_id)).toEqual(['valve-040', 'valve-041']);
  const contexts = first.results.map(({ oscore }) => JSON.stringify(oscore));
  expect(new Set(contexts).size).toBe(2);
  const again = await send(job, 1, {}, {});
  expect(again.results.map(({ oscore }) => JSON.stringify(oscore))).toEqual(contexts);
});

test('a secret that was rotated since is not shown again', async () => {
  const { begin, send, call } = await fleet({ id: 'sensor-{serial}' });
  const job = await begin(1);
  await send(job, 1, { serial: '1' });
  await call('POST', '/v1/clients/sensor-1/secrets', { overlap_seconds: 0 });
  const [result] = (await send(job, 1, { serial: '1' })).results;
  expect(result).toMatchObject({ outcome: 'repeated', notice: expect.stringContaining('rotate') });
  expect(result).not.toHaveProperty('client_secret');
});

test('two jobs of one template share no secret, also for the same rows', async () => {
  const { begin, send, call } = await fleet({ id: 'sensor-{serial}' });
  const [first] = (await send(await begin(1), 1, { serial: '1' })).results;
  await call('DELETE', '/v1/clients/sensor-1');
  const [second] = (await send(await begin(1), 1, { serial: '1' })).results;
  expect(second?.outcome).toBe('created');
  expect(second?.client_secret).not.toBe(first?.client_secret);
});

test('a row that fails is told with the reason, and the rest is made', async () => {
  const { begin, send, call } = await fleet({ id: 'sensor-{serial}' });
  await call('POST', '/v1/clients', { client_id: 'sensor-taken' });
  const job = await begin(4);
  const { results } = await send(job, 1, { serial: 'a/b' }, {}, { serial: 'taken' }, { serial: 'ok' });
  expect(results.map(({ error }) => error)).toEqual([
    'invalid_request',
    'invalid_request',
    'registry_conflict',
    undefined,
  ]);
  const listed = await call('GET', `/v1/provisioning-jobs/${job.job_id}/failures?limit=2`);
  expect(await listed.json()).toMatchObject({ failures: [{ row: 1 }, { row: 2 }], next_cursor: '2' });
});

test.each([
  [{ labels: 'x' }, /labels/],
  [{ serial: { a: 1 } }, /'serial' must be a text/],
  [{ n: '5' }, /n is filled by Fleetgate/],
  [{ serial: 'x'.repeat(1025) }, /longer than 1024/],
  [{ serial: '1', public_jwk: 'no json' }, /public_jwk must be a JSON object/],
])('a row like %j fails by itself', async (row, message) => {
  const { begin, send } = await fleet({ id: 'sensor-{serial}' });
  const { results } = await send(await begin(1), 1, row);
  expect(results[0]?.error_description).toMatch(message);
});

test('a device brings its public key, as an object or as CSV has it', async () => {
  const { begin, send, call } = await fleet({ id: 'press-{serial}', auth_method: 'private_key_jwt' });
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const public_jwk = publicKey.export({ format: 'jwk' });
  const { results } = await send(
    await begin(3),
    1,
    { serial: '1', public_jwk },
    { serial: '2', public_jwk: JSON.stringify(public_jwk) },
    { serial: '3' },
  );
  expect(results.map(({ outcome }) => outcome)).toEqual(['created', 'created', 'failed']);
  expect(results[2]?.error_description).toMatch(/needs jwks/);
  expect(await (await call('GET', '/v1/clients/press-2')).json()).toMatchObject({
    jwks: { keys: [{ x: public_jwk.x }] },
  });
});

test('a job goes on with the template it began with', async () => {
  const { begin, send, call } = await fleet({ id: 'old-{serial}' });
  const job = await begin(1);
  await call('PUT', '/v1/templates/sensor', { id: 'new-{serial}' });
  await call('DELETE', '/v1/templates/sensor');
  expect((await send(job, 1, { serial: '1' })).results[0]?.client_id).toBe('old-1');
});

test.each([
  ['another key', (job: Job) => ({ ...job, job_key: 'x' }), 1, 409],
  ['rows ahead', (job: Job) => job, 2, 409],
  ['a job that is none', (job: Job) => ({ ...job, job_id: 'ghost' }), 1, 404],
  ['row 0', (job: Job) => job, 0, 400],
])('%s is refused, with nothing made', async (_what, change, firstRow, status) => {
  const { begin, send, call } = await fleet({ id: 'sensor-{serial}' });
  const job = await begin(3);
  await expect(send(change(job), firstRow, { serial: '1' })).rejects.toMatchObject({ status });
  expect((await call('GET', '/v1/clients/sensor-1')).status).toBe(404);
});

test('more rows than the job has are refused', async () => {
  const { begin, send } = await fleet({ id: 'sensor-{serial}' });
  await expect(send(await begin(1), 1, ...serials('1', '2'))).rejects.toMatchObject({ status: 409 });
});

test('a cancelled job takes no more rows, and what it made stays', async () => {
  const { begin, send, call, show } = await fleet({ id: 'sensor-{serial}' });
  const job = await begin(2);
  await send(job, 1, { serial: '1' });
  await call('POST', `/v1/provisioning-jobs/${job.job_id}/cancel`);
  await expect(send(job, 2, { serial: '2' })).rejects.toMatchObject({ status: 409 });
  expect(await show(job)).toMatchObject({ state: 'cancelled', created: 1 });
  expect((await call('GET', '/v1/clients/sensor-1')).status).toBe(200);
});

test('a job is shown without its key', async () => {
  const { begin, call } = await fleet({ id: 'sensor-{serial}' });
  const job = await begin(2, { source: 'devices.csv' });
  const text = await (await call('GET', `/v1/provisioning-jobs/${job.job_id}`)).text();
  expect(text).not.toContain(job.job_key);
  expect(JSON.parse(text)).toMatchObject({ source: 'devices.csv', created_by: 'default' });
});

test('a preview says what would be made and what would fail, and makes nothing', async () => {
  const { call } = await fleet({ id: 'sensor-{serial}' });
  await call('POST', '/v1/clients', { client_id: 'sensor-taken' });
  const rows = serials('1', 'a b', 'taken', '1');
  const answer = await call('POST', '/v1/templates/sensor/preview', { rows, first_row: 11 });
  expect(await answer.json()).toMatchObject({
    results: [
      { row: 11, client_id: 'sensor-1' },
      { row: 12, error: 'invalid_request' },
      { row: 13, error: 'registry_conflict', error_description: expect.stringContaining('already') },
      { row: 14, error: 'registry_conflict', error_description: expect.stringContaining('row 11') },
    ],
  });
  expect((await call('GET', '/v1/clients/sensor-1')).status).toBe(404);
});
