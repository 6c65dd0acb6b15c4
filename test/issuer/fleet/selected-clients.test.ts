import { expect, test } from 'vitest';
import { issuerFixture } from '../../support/issuer-fixture.ts';

interface Step {
  changed: number;
  unchanged: number;
  next_cursor?: string;
}

async function fleet() {
  const fixture = await issuerFixture();
  const clients = new Map<string, string>();
  for (const [client_id, group, hw] of [
    ['a', 'g', '1'],
    ['b', 'g', '2'],
    ['c', 'h', '1'],
    ['d', 'g', '1'],
  ] as const) {
    const { client_secret } = await fixture.register({ client_id, group, labels: { hw } });
    clients.set(client_id, client_secret);
  }
  const act = async (name: string, body: Record<string, unknown>): Promise<Step> =>
    (await (await fixture.call('POST', `/v1/fleet/${name}`, body)).json()) as Step;
  const tokenStatus = async (client_id: string) =>
    (await fixture.tokenFor({ client_id, client_secret: clients.get(client_id) as string })).status;
  return { ...fixture, act, tokenStatus };
}

test('those selected are in quarantine until they are released, and no others', async () => {
  const { act, tokenStatus } = await fleet();
  const selector = 'group=g,hw=1';
  expect(await act('quarantine', { selector, reason: 'recall' })).toEqual({ changed: 2, unchanged: 0 });
  expect(await Promise.all(['a', 'b', 'c', 'd'].map(tokenStatus))).toEqual([401, 200, 200, 401]);
  expect(await act('quarantine', { selector, reason: 'recall' })).toEqual({ changed: 0, unchanged: 2 });
  expect(await act('release', { selector: 'state=quarantined' })).toEqual({ changed: 2, unchanged: 0 });
  expect(await Promise.all(['a', 'd'].map(tokenStatus))).toEqual([200, 200]);
});

test('the tokens of those selected are revoked, and they may fetch new ones', async () => {
  const { act, tokenStatus, call } = await fleet();
  expect(await act('revoke', { selector: 'group=g,hw=1' })).toEqual({ changed: 2, unchanged: 0 });
  const { revocations } = (await (await call('GET', '/v1/revocations')).json()) as {
    revocations: { kind: string; client_id: string }[];
  };
  expect(revocations.map(({ kind, client_id }) => [kind, client_id]).sort()).toEqual([
    ['client', 'a'],
    ['client', 'd'],
  ]);
  expect(await tokenStatus('a')).toBe(200);
});

test('a part is acted on with each request, and the cursor leads on', async () => {
  const { act, call } = await fleet();
  const body = { selector: 'client_id', limit: 3 };
  const first = await act('delete', body);
  expect(first).toEqual({ changed: 3, unchanged: 0, next_cursor: expect.any(String) });
  expect(await act('delete', { ...body, cursor: first.next_cursor })).toMatchObject({ changed: 1 });
  expect(await (await call('GET', '/v1/clients')).json()).toEqual({ clients: [] });
});

test('they are counted and listed by the same selector', async () => {
  const { call } = await fleet();
  const selector = encodeURIComponent('hw in (1,3),group!=h');
  expect(await (await call('GET', `/v1/fleet/count?selector=${selector}`)).json()).toEqual({ count: 2 });
  const listed = await call('GET', `/v1/clients?selector=${selector}`);
  expect(await listed.json()).toMatchObject({ clients: [{ client_id: 'a' }, { client_id: 'd' }] });
});

test.each([
  ['group=', /1 to 256/],
  ['', /empty/],
])('the selector %j is refused, and nobody is touched', async (selector, message) => {
  const { call, tokenStatus } = await fleet();
  const answer = await call('POST', '/v1/fleet/quarantine', { selector, reason: 'r' });
  expect([answer.status, await answer.text()]).toEqual([400, expect.stringMatching(message)]);
  expect(await tokenStatus('a')).toBe(200);
});

test('each client is an act of its own in the audit trail', async () => {
  const { act, call } = await fleet();
  await act('quarantine', { selector: 'group=g', reason: 'r' });
  const audit = await call('GET', '/v1/audit?action=client.quarantine');
  const { events } = (await audit.json()) as { events: { target: string }[] };
  expect(events.map(({ target }) => target).sort()).toEqual(['a', 'b', 'd']);
});
