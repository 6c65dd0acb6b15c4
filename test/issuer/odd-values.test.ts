import { expect, test } from 'vitest';
import { adminKey, issuerFixture } from '../support/issuer-fixture.ts';

const NUL = '\0';

test('a character U+0000 anywhere is refused or unknown, never a fault, and harms no other request beside it', async () => {
  const fixture = await issuerFixture();
  const client = await fixture.register({ client_id: 'a', scope: 'x' });
  const statuses = async (answers: Promise<Response>[]) =>
    (await Promise.all(answers)).map(({ status }) => status);

  // PostgreSQL has no text with it, so a query that holds one finds nothing for anybody.
  const tokens = await statuses([
    ...Array.from({ length: 20 }, () => fixture.tokenFor(client)),
    fixture.tokenFor({ client_id: `a${NUL}`, client_secret: 'x' }),
    ...Array.from({ length: 20 }, () => fixture.tokenFor(client)),
  ]);
  expect(tokens.filter((status) => status === 200)).toHaveLength(40);
  expect(tokens[20]).toBe(401);

  const { call } = fixture;
  const answers = await Promise.all([
    call('POST', '/v1/clients', { client_id: `b${NUL}` }),
    call('POST', '/v1/clients', { client_id: 'c', name: `x${NUL}` }),
    call('POST', '/v1/clients', { client_id: 'd', group: `x${NUL}` }),
    call('POST', '/v1/clients', { client_id: 'e', labels: { hw: `x${NUL}` } }),
    call('POST', '/v1/clients', { client_id: 'f', labels: { [`hw${NUL}`]: 'x' } }),
    call('POST', '/v1/clients/a/quarantine', { reason: `x${NUL}` }),
    call('POST', '/v1/revocations', { kind: 'token', jti: `x${NUL}` }),
    call('POST', '/v1/api-keys', { name: `x${NUL}`, role: 'admin' }),
    call('GET', `/v1/clients/a%00`),
    call('GET', `/v1/clients?group=%00`),
    call('GET', `/v1/audit?target=%00`),
    call('GET', `/v1/audit?actor=%00`),
    call('GET', `/v1/templates/a%00`),
    call('GET', `/v1/jobs/a%00`),
    call('GET', `/v1/fleet/count?selector=${encodeURIComponent(`group=${NUL}`)}`),
    fetch(`${fixture.admin}/v1/clients`, { headers: { 'api-key': `${adminKey}%00` } }),
  ]);
  for (const answer of answers) {
    expect([answer.url, await answer.clone().text(), answer.status < 500]).toEqual([
      answer.url,
      expect.any(String),
      true,
    ]);
  }
  const kept = await call('POST', '/v1/clients', { client_id: 'g', metadata: { note: `x${NUL}` } });
  expect([kept.status, ((await kept.json()) as { metadata: unknown }).metadata]).toEqual([
    201,
    { note: `x${NUL}` },
  ]);
});

test.each([
  '/v1/audit?cursor=99999999999999999999999',
  '/v1/audit?cursor=9223372036854775808',
  '/v1/audit?cursor=1e30',
  '/v1/audit?cursor=-1',
  '/v1/audit?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z',
  '/v1/revocations?cursor=9999999999999999.9999999999999999',
  '/v1/clients?cursor=%F0%9F%98%80',
  '/v1/secrets?state=never_used&cursor=99999999999999999999',
  '/v1/templates/a/versions/99999999999999999999',
  '/v1/templates/a?version=99999999999999999999',
  '/v1/jobs/x/failures?after=99999999999999999999',
])('a number that is too large for a store is no fault of the store: %s', async (path) => {
  const { call } = await issuerFixture();
  const answer = await call('GET', path);
  expect([path, answer.status, await answer.text()]).toEqual([
    path,
    expect.toSatisfy((status: number) => status < 500),
    expect.any(String),
  ]);
});
