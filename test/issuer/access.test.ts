import { beforeEach, describe, expect, test } from 'vitest';
import { type Role, roles } from '../../issuer/roles.ts';
import { type IssuerFixture, issuerFixture } from '../support/issuer-fixture.ts';

/** Who may use which route: A admin, P provisioner, U auditor. */
const table: Readonly<Record<string, string>> = {
  'GET /openapi.json': 'anybody',
  // Where SuperTokens' backend SDKs look for keys.
  'GET /.well-known/jwks.json': 'anybody',
  'GET /.well-known/jwks.json/': 'anybody',
  'GET /v1/issuer': 'APU',
  'GET /v1/whoami': 'APU',
  'POST /v1/clients': 'AP',
  'GET /v1/clients': 'APU',
  'GET /v1/clients/:client_id': 'APU',
  'PATCH /v1/clients/:client_id': 'AP',
  'DELETE /v1/clients/:client_id': 'AP',
  'POST /v1/clients/:client_id/quarantine': 'AP',
  'POST /v1/clients/:client_id/release': 'AP',
  'POST /v1/clients/:client_id/secrets': 'AP',
  'GET /v1/clients/:client_id/secrets': 'APU',
  'DELETE /v1/clients/:client_id/secrets/:secret_id': 'AP',
  'GET /v1/secrets': 'APU',
  'GET /v1/fleet/count': 'APU',
  'POST /v1/fleet/quarantine': 'AP',
  'POST /v1/fleet/release': 'AP',
  'POST /v1/fleet/revoke': 'AP',
  'POST /v1/fleet/delete': 'AP',
  'POST /v1/enrollments': 'AP',
  'GET /v1/enrollments': 'APU',
  'GET /v1/enrollments/:enrollment_id': 'APU',
  'POST /v1/enrollments/:enrollment_id/revoke': 'AP',
  'POST /v1/enrollments/:enrollment_id/keys': 'AP',
  'POST /v1/enrollments/:enrollment_id/allow': 'AP',
  'GET /v1/enrollment-requests': 'APU',
  'POST /v1/enrollment-requests/:request_id/approve': 'AP',
  'POST /v1/enrollment-requests/:request_id/reject': 'AP',
  'POST /v1/campaigns': 'AP',
  'GET /v1/campaigns': 'APU',
  'GET /v1/campaigns/:campaign_id': 'APU',
  'POST /v1/campaigns/:campaign_id/batches': 'AP',
  'GET /v1/campaigns/:campaign_id/devices': 'APU',
  'POST /v1/campaigns/:campaign_id/pause': 'AP',
  'POST /v1/campaigns/:campaign_id/resume': 'AP',
  'POST /v1/campaigns/:campaign_id/cancel': 'AP',
  'GET /v1/templates': 'APU',
  'GET /v1/templates/:name': 'APU',
  'PUT /v1/templates/:name': 'AP',
  'DELETE /v1/templates/:name': 'AP',
  'POST /v1/templates/:name/preview': 'APU',
  'POST /v1/provisioning-jobs': 'AP',
  'GET /v1/provisioning-jobs': 'APU',
  'GET /v1/provisioning-jobs/:job_id': 'APU',
  'POST /v1/provisioning-jobs/:job_id/rows': 'AP',
  'POST /v1/provisioning-jobs/:job_id/cancel': 'AP',
  'GET /v1/provisioning-jobs/:job_id/failures': 'APU',
  'POST /v1/revocations': 'AP',
  'GET /v1/revocations': 'APU',
  'GET /v1/audit': 'AU',
  'GET /v1/keys': 'AU',
  'POST /v1/keys/rotate': 'A',
  'POST /v1/keys/:kid/retire': 'A',
  'POST /v1/api-keys': 'A',
  'GET /v1/api-keys': 'AU',
  'GET /v1/api-keys/:name': 'AU',
  'DELETE /v1/api-keys/:name': 'A',
  'POST /v1/api-keys/:name/rotate': 'A',
  'POST /v1/apps': 'A',
  'GET /v1/apps': 'AU',
  'GET /v1/apps/:app_id': 'AU',
  'DELETE /v1/apps/:app_id': 'A',
};
const letters: Readonly<Record<Role, string>> = { admin: 'A', provisioner: 'P', auditor: 'U' };

let fixture: IssuerFixture;
const keys = new Map<Role, string>();
beforeEach(async () => {
  fixture = await issuerFixture();
  for (const role of roles) {
    const response = await fixture.call('POST', '/v1/api-keys', { name: role, role });
    keys.set(role, ((await response.json()) as { api_key: string }).api_key);
  }
});

/** SuperTokens' own. */
const isRecipe = (url: string) => url.startsWith('/recipe/') || url.startsWith('/apiversion');
const readsRecipe = (method: string, url: string) => method === 'GET' || url.includes('/introspect');

/** Routes with a handler of their own; those that answer 405 take all the other methods at once. */
const routes = () =>
  fixture.adminRoutes
    .filter(({ method }) => typeof method === 'string' && method !== 'HEAD')
    .map(({ method, url }) => [`${method} ${url}`, String(method), url] as const);
const ask = (role: Role, method: string, url: string, body?: unknown) =>
  fixture.call(method, url.replace(/:\w+/g, 'ghost'), body, { 'api-key': keys.get(role) as string });

test('every route of the admin listener is in the table, or one of SuperTokens, for admin and provisioner', () => {
  const native = routes().filter(([, , url]) => !isRecipe(url));
  expect(native.map(([name]) => name).sort()).toEqual(Object.keys(table).sort());
});

test('every route of /v1 says which roles may use it', () => {
  const silent = fixture.adminRoutes.filter(({ url, config }) => url.startsWith('/v1/') && !config?.roles);
  expect(silent.map(({ method, url }) => `${method} ${url}`)).toEqual([]);
});

describe.each(roles)('%s', (role) => {
  test('is let through by those routes it may use, and by no other', async () => {
    for (const [name, method, url] of routes()) {
      const expected = isRecipe(url) ? (readsRecipe(method, url) ? 'APU' : 'AP') : (table[name] ?? '');
      const response = await ask(role, method, url, method === 'POST' ? '[]' : undefined);
      const isRefused = response.status === 403;
      expect([name, isRefused]).toEqual([name, expected !== 'anybody' && !expected.includes(letters[role])]);
      expect([name, response.status]).not.toEqual([name, 401]);
      if (!isRefused || isRecipe(url)) continue;
      const body = (await response.json()) as { code: string; detail: string };
      expect(body.code).toBe('role_insufficient');
      const allowed = roles.filter((one) => expected.includes(letters[one]));
      expect(body.detail).toContain(`role ${allowed.join(' or ')};`);
    }
  });

  test('is told 404 and 405 as others are', async () => {
    expect((await ask(role, 'GET', '/v1/nothing')).status).toBe(404);
    expect((await ask(role, 'PUT', '/v1/api-keys')).status).toBe(405);
  });

  test('may HEAD what it may GET', async () => {
    const isAllowed = role !== 'provisioner';
    expect((await ask(role, 'HEAD', '/v1/api-keys')).status).toBe(isAllowed ? 200 : 403);
  });
});

test.each<[string, Record<string, unknown>, number]>([
  ['a token', { kind: 'token', jti: '7a51c0de-31fe-4c17-9d5c-7d6d6b6a5a21' }, 201],
  ['a client', { kind: 'client', client_id: 'ghost' }, 404],
  ['what one client was issued before a moment', { kind: 'issued_before', client_id: 'ghost', at: 1 }, 404],
  ['what all were issued before a moment', { kind: 'issued_before', at: 1 }, 403],
  ['a key', { kind: 'key', kid: 'ghost' }, 403],
])('a provisioner that revokes %s is answered as it may', async (_name, body, status) => {
  expect((await ask('provisioner', 'POST', '/v1/revocations', body)).status).toBe(status);
});

test('no key at all is 401 on every route but the one for anybody', async () => {
  for (const [name, method, url] of routes()) {
    const response = await fixture.call(method, url.replace(/:\w+/g, 'ghost'), undefined, {});
    expect([name, response.status]).toEqual([name, table[name] === 'anybody' ? 200 : 401]);
  }
});
