import { beforeEach, expect, test } from 'vitest';
import type { AuditEventView } from '../../issuer/audit-wire.ts';
import { type IssuerFixture, issuerFixture } from '../support/issuer-fixture.ts';

let fixture: IssuerFixture;

beforeEach(async () => {
  fixture = await issuerFixture();
});

interface Page {
  events: AuditEventView[];
  next_cursor?: string;
}

const page = async (query: string): Promise<Page> => {
  const response = await fixture.call('GET', `/v1/audit${query}`);
  expect(response.status).toBe(200);
  return (await response.json()) as Page;
};

test('the trail is answered with each field and both hashes, and what is unset is left out', async () => {
  await fixture.register({ client_id: 'a' });
  const { events } = await page('');
  expect(events[0]).toMatchObject({ sequence: 1, previous_hash: '0'.repeat(64) });
  const [before, last] = events.slice(-2);
  expect([before, last]).toEqual([
    {
      sequence: events.length - 1,
      at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/),
      actor: 'issuer',
      action: expect.stringMatching(/^key\./),
      target: expect.any(String),
      result: 'ok',
      previous_hash: expect.stringMatching(/^[0-9a-f]{64}$/),
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    },
    {
      sequence: events.length,
      at: expect.any(String),
      actor: 'admin:default',
      address: '127.0.0.1',
      action: 'client.create',
      target: 'a',
      result: 'ok',
      request_id: expect.any(String),
      previous_hash: before?.hash,
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    },
  ]);
});

test('pages follow one another in either order, each event once', async () => {
  for (let i = 0; i < 6; i += 1) await fixture.register({ client_id: `c${i}` });
  for (const order of ['oldest', 'newest']) {
    const seen: number[] = [];
    let cursor = '';
    for (;;) {
      const { events, next_cursor } = await page(`?limit=3&order=${order}${cursor}`);
      seen.push(...events.map(({ sequence }) => sequence));
      if (next_cursor === undefined) break;
      cursor = `&cursor=${next_cursor}`;
    }
    const all = (await page('?limit=100')).events.map(({ sequence }) => sequence);
    expect(seen).toEqual(order === 'oldest' ? all : all.toReversed());
  }
});

test('filters are of whole values and can be joined', async () => {
  const client = await fixture.register({ client_id: 'a' });
  await fixture.register({ client_id: 'ab' });
  await fixture.tokenFor(client);
  await fixture.tokenFor({ client_id: 'a', client_secret: 'wrong' });
  const results = async (query: string) =>
    (await page(query)).events.map(({ action, result }) => [action, result]);
  expect(await results('?target=a')).toEqual([
    ['client.create', 'ok'],
    ['secret.first_use', 'ok'],
    ['token.issue', 'ok'],
    ['token.issue', 'invalid_client'],
  ]);
  expect(await results('?actor=client:a&result=invalid_client')).toEqual([['token.issue', 'invalid_client']]);
  expect(await results('?since=2100-01-01T00:00:00Z')).toEqual([]);
  expect(await results('?until=1')).toEqual([]);
  expect(await results('?since=1&action=key.activate')).toEqual([['key.activate', 'ok']]);
});

test.each([
  'limit=0',
  'limit=1001',
  'cursor=x',
  'order=random',
  'since=yesterday',
  'until=2026-13-01T00:00:00Z',
  'colour=red',
])('%s is refused', async (query) => {
  const response = await fixture.call('GET', `/v1/audit?${query}`);
  expect(response.status).toBe(400);
});

test('without the admin key nothing is told', async () => {
  const response = await fixture.call('GET', '/v1/audit', undefined, {});
  expect(response.status).toBe(401);
  expect(await response.text()).not.toContain('sequence');
});

test('nobody can write to it', async () => {
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    const response = await fixture.call(method, '/v1/audit', {});
    expect([method, response.status]).toEqual([method, 405]);
  }
});
