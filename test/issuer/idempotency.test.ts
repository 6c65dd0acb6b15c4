import { beforeEach, describe, expect, test } from 'vitest';
import { adminKey, type IssuerFixture, issuerFixture } from '../support/issuer-fixture.ts';

const DAY_MS = 86_400_000;

let fixture: IssuerFixture;
let nowMs: number;
beforeEach(async () => {
  nowMs = Date.now();
  fixture = await issuerFixture({ now: () => nowMs });
});

type Json = Record<string, unknown>;
const create = (key: string, body: unknown, apiKey = adminKey) =>
  fixture.call('POST', '/v1/clients', body, { 'api-key': apiKey, 'idempotency-key': key });
const json = async (response: Response) => (await response.json()) as Json;
const count = async () =>
  ((await json(await fixture.call('GET', '/v1/clients')))['clients'] as unknown[]).length;
const KEY = '8e03978e-40d5-43dd-bc93-6894a57f9324';

describe('a creation that is asked for again with its key', () => {
  test('answers the client that is there, without a secret and saying why', async () => {
    const first = await create(KEY, { scope: 'x' });
    const { client_secret, ...client } = await json(first);
    expect([first.status, first.headers.get('idempotency-replayed')]).toEqual([201, null]);
    const again = await create(KEY, { scope: 'x' });
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([201, 'true']);
    expect(await json(again)).toEqual({ ...client, notice: expect.stringContaining('secret') });
    for (const name of ['etag', 'location']) expect(again.headers.get(name)).toBe(first.headers.get(name));
    expect(await count()).toBe(1);
    const made = { client_id: client['client_id'] as string, client_secret: client_secret as string };
    expect((await fixture.tokenFor(made)).status).toBe(200);
  });

  test('many times at once makes one client, and one answer has its secret', async () => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => create(KEY, { name: 'n' })));
    expect(answers.map(({ status }) => status)).toEqual(Array(12).fill(201));
    const clients = await Promise.all(answers.map(json));
    expect(new Set(clients.map(({ client_id }) => client_id)).size).toBe(1);
    expect(clients.filter(({ client_secret }) => client_secret !== undefined)).toHaveLength(1);
    expect(await count()).toBe(1);
  });

  test('shows the client as it is now', async () => {
    await create(KEY, { client_id: 'a' });
    await fixture.call('PATCH', '/v1/clients/a', { name: 'n' });
    expect(await json(await create(KEY, { client_id: 'a' }))).toMatchObject({ name: 'n' });
  });

  test('is not done again when the client was deleted since: 404', async () => {
    await create(KEY, { client_id: 'a' });
    await fixture.call('DELETE', '/v1/clients/a');
    const again = await create(KEY, { client_id: 'a' });
    expect([again.status, (await json(again))['code']]).toEqual([404, 'client_unknown']);
    expect(await count()).toBe(0);
  });

  test('is another creation after 24 h, and not before', async () => {
    await create(KEY, { scope: 'x' });
    nowMs += DAY_MS - 1;
    expect((await create(KEY, { scope: 'x' })).headers.get('idempotency-replayed')).toBe('true');
    nowMs += 2;
    const later = await create(KEY, { scope: 'x' });
    expect(later.headers.get('idempotency-replayed')).toBeNull();
    expect(await count()).toBe(2);
  });
});

test('another request with the same key is 422, and nothing is made', async () => {
  await create(KEY, { scope: 'x' });
  for (const body of [{ scope: 'y' }, { scope: 'x', client_id: 'a' }, {}]) {
    const other = await create(KEY, body);
    expect([other.status, (await json(other))['code']]).toEqual([422, 'idempotency_key_reused']);
  }
  expect(await count()).toBe(1);
});

test('the order of members makes no other request, nor do the quotes of the draft', async () => {
  await create(KEY, { scope: 'x', name: 'n' });
  expect((await create(`"${KEY}"`, { name: 'n', scope: 'x' })).headers.get('idempotency-replayed')).toBe(
    'true',
  );
});

test('a creation that was refused is tried again with its key', async () => {
  const taken = await fixture.register({ client_id: 'a' });
  expect((await create(KEY, { client_id: 'a' })).status).toBe(409);
  expect((await create(KEY, { client_id: 'b/' })).status).toBe(400);
  await fixture.call('DELETE', `/v1/clients/${taken.client_id}`);
  expect((await create(KEY, { client_id: 'a' })).status).toBe(201);
});

test('a key is of the API key that used it', async () => {
  const made = await json(await fixture.call('POST', '/v1/api-keys', { name: 'ci', role: 'provisioner' }));
  await create(KEY, { scope: 'x' });
  const other = await create(KEY, { scope: 'y' }, made['api_key'] as string);
  expect([other.status, other.headers.get('idempotency-replayed')]).toEqual([201, null]);
});

test.each([
  ['empty', ''],
  ['of 256 characters', 'x'.repeat(256)],
  ['with a space', 'a b'],
])('a key %s is 400', async (_name, key) => {
  const response = await create(key, {});
  expect([response.status, (await json(response))['code']]).toEqual([400, 'invalid_request']);
  expect(await count()).toBe(0);
});
