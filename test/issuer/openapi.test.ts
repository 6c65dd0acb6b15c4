import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { adminKey, hasApps, issuerFixture } from '../support/issuer-fixture.ts';
import { type ApiDocument, apiDocument } from '../support/reference/api-document.ts';

const document = await apiDocument();

test('the document is valid OpenAPI 3.1', async () => {
  expect(document.openapi).toBe('3.1.0');
  expect(await new Validator().validate(document as unknown as Record<string, unknown>)).toEqual({
    valid: true,
  });
});

test('it is served to anybody, and as JSON', async () => {
  const fixture = await issuerFixture();
  const response = await fetch(`${fixture.admin}/openapi.json`);
  expect([response.status, response.headers.get('content-type')]).toEqual([
    200,
    expect.stringMatching(/^application\/json/),
  ]);
  expect(Object.keys(((await response.json()) as ApiDocument).paths)).toEqual(Object.keys(document.paths));
});

test('it has every route of /v1, and no other', async () => {
  const fixture = await issuerFixture();
  const routes = fixture.adminRoutes
    .filter(({ method, url }) => typeof method === 'string' && method !== 'HEAD' && url.startsWith('/v1/'))
    .map(({ method, url }) => `${String(method).toLowerCase()} ${url.replace(/:(\w+)/g, '{$1}')}`);
  const documented = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method} ${path}`),
  );
  expect(documented.sort()).toEqual(routes.sort());
});

const operations = Object.entries(document.paths).flatMap(([path, ofPath]) =>
  Object.entries(ofPath).map(([method, operation]) => [`${method} ${path}`, path, operation] as const),
);

describe.each(operations)('%s', (_name, path, operation) => {
  test('has a summary, an id of its own, its roles, and says what is refused', () => {
    expect(operation.summary).toMatch(/^[A-Z].*[^.]$/);
    expect(operations.filter(([, , { operationId }]) => operationId === operation.operationId)).toHaveLength(
      1,
    );
    expect(operation.description).toMatch(/Roles: admin/);
    expect(operation.responses['default']?.content).toHaveProperty(['application/problem+json']);
  });

  test('describes what is in its path, and nothing that cannot be sent', () => {
    const inPath = (operation.parameters ?? []).filter((one) => one.in === 'path').map(({ name }) => name);
    expect(inPath).toEqual(Array.from(path.matchAll(/\{(\w+)\}/g), ([, name]) => name));
    expect(
      operation.parameters?.filter(({ name }) => ['api-key', 'authorization'].includes(name)) ?? [],
    ).toEqual([]);
  });
});

test('each answer is as the document has it, with no field that it has not', async () => {
  const fixture = await issuerFixture();
  const ajv = new Ajv2020({
    strict: false,
    formats: {
      'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
      date: /^\d{4}-\d\d-\d\d$/,
    },
  });
  ajv.addSchema(closed(document) as object, 'api');
  const seen = new Set<string>();

  async function ask(
    method: string,
    path: string,
    actual: string,
    body?: unknown,
    headers = {},
  ): Promise<Response> {
    const response = await fixture.call(method.toUpperCase(), actual, body, {
      'api-key': adminKey,
      ...headers,
    });
    const { responses } = document.paths[path]?.[method] ?? {};
    const status = String(response.status) in (responses ?? {}) ? String(response.status) : 'default';
    const type = response.headers.get('content-type')?.split(';')[0];
    seen.add(`${method} ${path} ${status}`);
    if (response.status === 204) {
      expect(type).toBeUndefined();
      return response;
    }
    const pointer = ['paths', path, method, 'responses', status, 'content', type, 'schema']
      .map((part) => encodeURIComponent(String(part).replaceAll('~', '~0').replaceAll('/', '~1')))
      .join('/');
    const isValid = ajv.validate({ $ref: `api#/${pointer}` }, await response.clone().json());
    expect([method, actual, response.status, isValid ? [] : ajv.errors]).toEqual([
      method,
      actual,
      response.status,
      [],
    ]);
    return response;
  }

  const client = '/v1/clients/{client_id}';
  const full = {
    client_id: 'a',
    name: 'n',
    scope: 'x',
    group: 'g',
    labels: { a: 'b' },
    metadata: { m: [1] },
    token_lifetime_seconds: 9,
  };
  await ask('get', '/v1/issuer', '/v1/issuer');
  await ask('get', '/v1/whoami', '/v1/whoami');
  await ask('post', '/v1/clients', '/v1/clients', full, { 'idempotency-key': 'k' });
  await ask('post', '/v1/clients', '/v1/clients', full, { 'idempotency-key': 'k' });
  await ask('post', '/v1/clients', '/v1/clients', {});
  await ask('post', '/v1/clients', '/v1/clients', { client_id: 'a' });
  await ask('get', '/v1/clients', '/v1/clients?limit=1');
  await ask('get', client, '/v1/clients/a');
  await ask('get', client, '/v1/clients/ghost');
  await ask('patch', client, '/v1/clients/a', { name: null });
  await ask('patch', client, '/v1/clients/a', { name: 'm' }, { 'if-match': '"x"' });
  await ask('post', `${client}/quarantine`, '/v1/clients/a/quarantine', { reason: 'r' });
  await ask('post', `${client}/quarantine`, '/v1/clients/a/quarantine', {});
  await ask('get', client, '/v1/clients/a');
  await ask('post', `${client}/release`, '/v1/clients/a/release');
  await ask('post', `${client}/secrets`, '/v1/clients/a/secrets', { overlap_seconds: 60 });
  const listed = await ask('get', `${client}/secrets`, '/v1/clients/a/secrets');
  const { secrets } = (await listed.json()) as { secrets: { secret_id: string }[] };
  await ask('get', '/v1/secrets', '/v1/secrets?state=never_used&limit=1');
  await ask('get', '/v1/secrets', '/v1/secrets?state=expiring');
  await ask('delete', `${client}/secrets/{secret_id}`, `/v1/clients/a/secrets/${secrets[0]?.secret_id}`);
  await ask('post', '/v1/revocations', '/v1/revocations', { kind: 'client', client_id: 'a' });
  await ask('post', '/v1/revocations', '/v1/revocations', { kind: 'token', jti: 'j-1' });
  await ask('post', '/v1/revocations', '/v1/revocations', { kind: 'token', jti: 'j-1' });
  await ask('post', '/v1/revocations', '/v1/revocations', { kind: 'issued_before', at: 1 });
  await ask('get', '/v1/revocations', '/v1/revocations?limit=1');
  await ask('get', '/v1/audit', '/v1/audit?order=newest&limit=100');
  const template = '/v1/templates/{name}';
  const sensor = { id: 'sensor-{serial}', labels: { hw: '{hw}' } };
  await ask('put', template, '/v1/templates/sensor', sensor);
  await ask('put', template, '/v1/templates/sensor', sensor);
  await ask('put', template, '/v1/templates/broken', { id: 'same' });
  await ask('get', '/v1/templates', '/v1/templates');
  await ask('get', template, '/v1/templates/sensor?version=1');
  const rows = [{ serial: '1', hw: 'a' }, { serial: '2' }];
  await ask('post', `${template}/preview`, '/v1/templates/sensor/preview', { rows });
  const jobs = '/v1/provisioning-jobs';
  const begun = await ask('post', jobs, jobs, { template: 'sensor', total: 2, source: 'devices.csv' });
  const { job_id, job_key } = (await begun.json()) as { job_id: string; job_key: string };
  const job = `${jobs}/{job_id}`;
  await ask('post', `${job}/rows`, `${jobs}/${job_id}/rows`, { job_key, first_row: 1, rows });
  await ask('post', `${job}/rows`, `${jobs}/${job_id}/rows`, { job_key, first_row: 1, rows });
  await ask('post', `${job}/rows`, `${jobs}/${job_id}/rows`, { job_key: 'x', first_row: 1, rows });
  await ask('get', jobs, `${jobs}?limit=1`);
  await ask('get', job, `${jobs}/${job_id}`);
  await ask('get', `${job}/failures`, `${jobs}/${job_id}/failures?limit=1`);
  await ask('post', `${job}/cancel`, `${jobs}/${job_id}/cancel`);
  await ask('get', '/v1/clients', '/v1/clients?selector=template%3Dsensor');
  await ask('get', '/v1/fleet/count', '/v1/fleet/count?selector=hw%3Da');
  const selector = 'template=sensor';
  await ask('post', '/v1/fleet/quarantine', '/v1/fleet/quarantine', { selector, reason: 'r', limit: 1 });
  await ask('post', '/v1/fleet/revoke', '/v1/fleet/revoke', { selector });
  await ask('post', '/v1/fleet/release', '/v1/fleet/release', { selector });
  const begin = await ask('post', '/v1/campaigns', '/v1/campaigns', {
    selector,
    secret_lifetime_seconds: 60,
  });
  const { campaign_id, campaign_key } = (await begin.json()) as Record<string, string>;
  const campaign = '/v1/campaigns/{campaign_id}';
  const at = `/v1/campaigns/${campaign_id}`;
  await ask('post', `${campaign}/batches`, `${at}/batches`, { campaign_key, batch: 1 });
  await ask('post', `${campaign}/batches`, `${at}/batches`, { campaign_key, batch: 3 });
  await ask('get', '/v1/campaigns', '/v1/campaigns?limit=1');
  await ask('get', `${campaign}/devices`, `${at}/devices?batch=1`);
  await ask('post', `${campaign}/pause`, `${at}/pause`, { reason: 'r' });
  await ask('get', campaign, at);
  await ask('post', `${campaign}/resume`, `${at}/resume`);
  await ask('post', `${campaign}/cancel`, `${at}/cancel`);
  await ask('post', '/v1/fleet/delete', '/v1/fleet/delete', { selector });
  const enrollment = '/v1/enrollments/{enrollment_id}';
  const forGroup = { id: 'sensor-{registration_id}' };
  await ask('put', template, '/v1/templates/line', forGroup);
  const opened = await ask('post', '/v1/enrollments', '/v1/enrollments', {
    template: 'line',
    kind: 'group_key',
    device: { line: '1' },
    max_uses: 5,
    expires_at: soon(),
    approval: true,
    replace: true,
  });
  const { enrollment_id } = (await opened.json()) as Record<string, string>;
  const coded = await ask('post', '/v1/enrollments', '/v1/enrollments', { template: 'line', approval: true });
  const { claim_code } = (await coded.json()) as Record<string, string>;
  await ask('post', '/v1/enrollments', '/v1/enrollments', { template: 'ghost' });
  await ask('get', '/v1/enrollments', '/v1/enrollments?limit=1');
  await ask('get', enrollment, `/v1/enrollments/${enrollment_id}`);
  await ask('post', `${enrollment}/keys`, `/v1/enrollments/${enrollment_id}/keys`, { key: 'secondary' });
  await ask('post', `${enrollment}/allow`, `/v1/enrollments/${enrollment_id}/allow`, { client_ids: ['a'] });
  await ask('put', template, '/v1/templates/line', { id: 'sensor-{serial}', group: 'g', labels: { a: 'b' } });
  const nonce = 'n'.repeat(43);
  await fetch(`${fixture.issuer.url}/enroll`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ claim_code, device: { serial: '1' }, nonce }),
  });
  const waiting = await ask(
    'get',
    '/v1/enrollment-requests',
    '/v1/enrollment-requests?state=pending&limit=1',
  );
  const { requests } = (await waiting.json()) as { requests: { request_id: string }[] };
  const of = `/v1/enrollment-requests/${requests[0]?.request_id}`;
  const waits = '/v1/enrollment-requests/{request_id}';
  await ask('post', `${waits}/approve`, `${of}/approve`);
  await ask('post', `${waits}/reject`, `${of}/reject`, { reason: 'r' });
  await ask('get', '/v1/enrollment-requests', '/v1/enrollment-requests');
  await ask('post', `${enrollment}/revoke`, `/v1/enrollments/${enrollment_id}/revoke`);
  await ask('get', enrollment, `/v1/enrollments/${enrollment_id}`);
  await ask('delete', template, '/v1/templates/sensor');
  await ask('delete', client, '/v1/clients/a');
  await ask('post', '/v1/api-keys', '/v1/api-keys', { name: 'ci', role: 'auditor', expires_at: soon() });
  await ask('post', '/v1/api-keys/{name}/rotate', '/v1/api-keys/ci/rotate', { overlap_seconds: 60 });
  await ask('get', '/v1/api-keys', '/v1/api-keys');
  await ask('get', '/v1/api-keys/{name}', '/v1/api-keys/ci');
  await ask('delete', '/v1/api-keys/{name}', '/v1/api-keys/ci');
  const keys = (await (await ask('get', '/v1/keys', '/v1/keys')).json()) as { keys: { kid: string }[] };
  await ask('post', '/v1/keys/rotate', '/v1/keys/rotate');
  await ask('post', '/v1/keys/rotate', '/v1/keys/rotate', { now: true });
  await ask('post', '/v1/keys/{kid}/retire', `/v1/keys/${keys.keys[0]?.kid}/retire`, { compromised: true });
  await ask('post', '/v1/apps', '/v1/apps', { app_id: 'shop' });
  await ask('get', '/v1/apps', '/v1/apps');
  await ask('get', '/v1/apps/{app_id}', '/v1/apps/shop');
  await ask('delete', '/v1/apps/{app_id}', '/v1/apps/shop');

  const done = Object.entries(document.paths).flatMap(([path, ofPath]) =>
    Object.entries(ofPath).flatMap(([method, { responses }]) =>
      Object.keys(responses)
        .filter((status) => status !== 'default')
        .map((status) => `${method} ${path} ${status}`),
    ),
  );
  const unseen = done.filter((one) => !seen.has(one));
  // Of an issuer without apps these routes say so, which is `default`.
  expect(hasApps ? unseen : unseen.filter((one) => !one.includes(' /v1/apps'))).toEqual([]);
});

const soon = () => Math.floor(Date.now() / 1000) + 3600;

/** The document so that an object has the properties it lists and no other. */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([name, member]) => [name, closed(member)] as const);
  const isObjectSchema = 'properties' in value && !('additionalProperties' in value);
  return { ...Object.fromEntries(entries), ...(isObjectSchema && { additionalProperties: false }) };
}
