import { beforeEach, expect, test } from 'vitest';
import { type IssuerFixture, issuerFixture } from '../support/issuer-fixture.ts';

let fixture: IssuerFixture;
beforeEach(async () => {
  fixture = await issuerFixture();
});

const get = async (query: string) => {
  const response = await fixture.call('GET', `/v1/clients?${query}`);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};
async function ids(query: string): Promise<string[]> {
  const found: string[] = [];
  let cursor = '';
  for (;;) {
    const { status, body } = await get(`${query}&limit=2${cursor}`);
    expect(status).toBe(200);
    found.push(...(body['clients'] as { client_id: string }[]).map(({ client_id }) => client_id));
    if (body['next_cursor'] === undefined) return found;
    cursor = `&cursor=${body['next_cursor']}`;
  }
}

test('a list is of those that fit each filter, page by page', async () => {
  await fixture.register({ client_id: 'a', group: 'north', labels: { hw: 'rev-a' } });
  await fixture.register({ client_id: 'b', group: 'north', labels: { hw: 'rev-b', note: 'x=y' } });
  await fixture.register({ client_id: 'c', group: 'south', labels: { hw: 'rev-a' } });
  await fixture.register({ client_id: 'd', group: 'north', labels: { hw: 'rev-a' } });
  await fixture.register({ client_id: 'e', labels: { hw: '' } });
  for (const id of ['b', 'd']) await fixture.call('POST', `/v1/clients/${id}/quarantine`, { reason: 'x' });
  expect(await ids('group=north')).toEqual(['a', 'b', 'd']);
  expect(await ids('label=hw=rev-a')).toEqual(['a', 'c', 'd']);
  expect(await ids('label=note=x=y')).toEqual(['b']);
  expect(await ids('label=hw=')).toEqual(['e']);
  expect(await ids('state=quarantined')).toEqual(['b', 'd']);
  expect(await ids('state=active')).toEqual(['a', 'c', 'e']);
  expect(await ids('group=north&label=hw=rev-a&state=quarantined')).toEqual(['d']);
  expect(await ids('group=NORTH')).toEqual([]);
  expect(await ids('group=%25')).toEqual([]);
});

test.each(['state=gone', 'state=', 'label=hw', 'label==x', 'group=a&group=b', 'labels=hw=x'])(
  'a list with %s is 400',
  async (query) => {
    const { status, body } = await get(query);
    expect([status, body['code']]).toEqual([400, 'invalid_request']);
  },
);

test('a state that does not exist is answered with those that do', async () => {
  const { body } = await get('state=gone');
  expect(body['detail']).toContain('active');
  expect(body['detail']).toContain('quarantined');
});
