import { decodeJwt } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { rowsOf } from '../support/database.ts';
import { adminKey, type IssuerFixture, issuerFixture } from '../support/issuer-fixture.ts';

let fixture: IssuerFixture;
beforeEach(async () => {
  fixture = await issuerFixture();
});

type Json = Record<string, unknown>;
const json = async (response: Response) => (await response.json()) as Json;
const patch = (id: string, body: unknown, headers: Record<string, string> = {}, query = '') =>
  fixture.call('PATCH', `/v1/clients/${id}${query}`, body, { 'api-key': adminKey, ...headers });
const show = (id: string) => fixture.call('GET', `/v1/clients/${id}`);
const tagOf = (response: Response) => response.headers.get('etag') as string;
async function refused(response: Response, status: number, code: string): Promise<string> {
  const body = await json(response);
  expect([response.status, body['code']]).toEqual([status, code]);
  return String(body['detail']);
}
async function audited(): Promise<unknown[]> {
  const rows = await rowsOf<{ action: string; target: string | null; result: string }>(
    fixture.database,
    "SELECT action, target, result FROM audit WHERE action NOT IN ('key.activate', 'key.publish', 'client.create') ORDER BY sequence",
  );
  return rows.map(({ action, target, result }) => [action, target, result]);
}
async function claims(response: Response): Promise<Json> {
  expect(response.status).toBe(200);
  return decodeJwt(((await response.json()) as { access_token: string }).access_token);
}

const full = {
  client_id: 'a',
  name: 'Press 7',
  scope: 'x y',
  audience: ['mqtt', 'api'],
  group: 'plant-7',
  labels: { hw: 'rev-a', line: '3' },
  metadata: { site: { city: 'Ulm', floor: 2 }, tags: [1, 2] },
  token_lifetime_seconds: 60,
};

describe('a merge patch', () => {
  test('changes what it names and leaves all else', async () => {
    const { client_secret: _, ...before } = await fixture.register(full);
    const response = await patch('a', { name: 'Press 8' });
    expect(response.status).toBe(200);
    expect(await json(response)).toEqual({ ...before, name: 'Press 8', updated_at: expect.any(String) });
    expect(await json(await show('a'))).toMatchObject({ name: 'Press 8', scope: 'x y' });
  });

  test('merges labels and metadata member by member, and null removes', async () => {
    await fixture.register(full);
    const body = {
      labels: { hw: 'rev-b', line: null },
      metadata: { site: { floor: null, room: 'R1' }, tags: [3] },
    };
    expect(await json(await patch('a', body))).toMatchObject({
      labels: { hw: 'rev-b' },
      metadata: { site: { city: 'Ulm', room: 'R1' }, tags: [3] },
    });
    expect((await json(await show('a')))['labels']).toEqual({ hw: 'rev-b' });
  });

  test('takes a field back to its default by null', async () => {
    await fixture.register(full);
    const body = Object.fromEntries(
      ['name', 'scope', 'audience', 'group', 'labels', 'metadata', 'token_lifetime_seconds'].map((name) => [
        name,
        null,
      ]),
    );
    const after = await json(await patch('a', body));
    expect(after).toEqual({
      client_id: 'a',
      scope: '',
      audience: ['mqtt'],
      auth_method: 'client_secret_basic',
      labels: {},
      metadata: {},
      state: 'active',
      created_at: expect.any(String),
      updated_at: expect.any(String),
    });
  });

  test('comes as merge-patch+json too, and as a form not at all', async () => {
    await fixture.register(full);
    const send = (type: string, body: string) =>
      fetch(`${fixture.admin}/v1/clients/a`, {
        method: 'PATCH',
        headers: { 'api-key': adminKey, 'content-type': type },
        body,
      });
    expect((await send('application/merge-patch+json', '{"name":"n"}')).status).toBe(200);
    expect((await send('application/x-www-form-urlencoded', 'name=n')).status).toBe(415);
  });

  test('that changes nothing keeps the tag and updated_at', async () => {
    await fixture.register(full);
    const before = await show('a');
    const response = await patch('a', { name: 'Press 7', labels: { hw: 'rev-a' } });
    expect(tagOf(response)).toBe(tagOf(before));
    expect(await json(response)).toEqual(await json(before));
  });

  test.each<[string, unknown, string]>([
    ['another id', { client_id: 'b' }, 'invalid_request'],
    ['a secret', { client_secret: 'x' }, 'invalid_request'],
    ['a state', { state: 'quarantined' }, 'invalid_request'],
    ['a time', { created_at: '2026-01-01T00:00:00Z' }, 'invalid_request'],
    ['a malformed scope', { scope: 'a  b' }, 'invalid_scope'],
    ['a group with a slash', { group: 'a/b' }, 'invalid_request'],
    ['a name with a line break', { name: 'a\nb' }, 'invalid_request'],
    ['a name that is a number', { name: 7 }, 'invalid_request'],
    ['a label that is a number', { labels: { a: 7 } }, 'invalid_request'],
    [
      '64 more labels',
      { labels: Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`l${i}`, ''])) },
      'invalid_request',
    ],
    ['metadata that becomes too long', { metadata: { more: 'x'.repeat(8190) } }, 'invalid_request'],
    ['a lifetime of 0', { token_lifetime_seconds: 0 }, 'invalid_request'],
    ['a list', [], 'invalid_request'],
    ['null', 'null', 'invalid_request'],
    ['nothing', undefined, 'invalid_request'],
    ['__proto__', '{"metadata":{"__proto__":{"x":1}}}', 'invalid_request'],
  ])('with %s is 400 and changes nothing', async (_name, body, code) => {
    await fixture.register(full);
    const before = tagOf(await show('a'));
    await refused(await patch('a', body), 400, code);
    expect(tagOf(await show('a'))).toBe(before);
  });

  test('names the field that is wrong', async () => {
    await fixture.register(full);
    expect(await refused(await patch('a', { name: 7 }), 400, 'invalid_request')).toMatch(
      /^name must be string/,
    );
    expect(await refused(await patch('a', { labels: { hw: 7 } }), 400, 'invalid_request')).toMatch(
      /^labels.hw /,
    );
  });

  test('of no client is 404', async () => {
    for (const id of ['ghost', 'a%2Fb']) await refused(await patch(id, { name: 'x' }), 404, 'client_unknown');
  });
});

describe('what is changed holds for the next token', () => {
  test('scope, audience, group and lifetime', async () => {
    const client = await fixture.register({ ...full, scope: 'x mqtt:publish:{group}/{client_id}/#' });
    await patch('a', { audience: ['api'], group: 'plant-8', token_lifetime_seconds: 30 });
    const token = await claims(await fixture.tokenFor(client));
    expect(token).toMatchObject({ aud: ['api'], group: 'plant-8', scp: ['x', 'mqtt:publish:plant-8/a/#'] });
    expect((token['exp'] as number) - (token['iat'] as number)).toBe(30);
  });

  test('and a token issued before keeps what it has, unless it is revoked with the change', async () => {
    const client = await fixture.register(full);
    await claims(await fixture.tokenFor(client));
    const revocations = async () => (await json(await fixture.call('GET', '/v1/revocations')))['revocations'];
    await patch('a', { scope: 'x' });
    expect(await revocations()).toEqual([]);
    await patch('a', { scope: '' }, {}, '?revoke_tokens=true');
    expect(await revocations()).toMatchObject([{ kind: 'client', client_id: 'a' }]);
    await refused(await patch('a', {}, {}, '?revoke_tokens=yes'), 400, 'invalid_request');
  });

  test('also for requests that came before the change was done: none is answered with more', async () => {
    const client = await fixture.register(full);
    let done = false;
    const scopes: unknown[] = [];
    const ask = async () => {
      while (!done) await claims(await fixture.tokenFor(client));
    };
    const asking = Array.from({ length: 4 }, ask);
    for (let round = 0; round < 10; round += 1) {
      const scope = round % 2 === 0 ? 'x' : 'y';
      await patch('a', { scope });
      scopes.push(...((await claims(await fixture.tokenFor(client)))['scp'] as string[]), scope);
    }
    done = true;
    await Promise.all(asking);
    expect(scopes).toEqual(
      Array.from({ length: 10 }, (_, i) => Array(2).fill(i % 2 === 0 ? 'x' : 'y')).flat(),
    );
  });
});

describe('an entity tag', () => {
  test('is the same in the answers to creation and to reading, and another after a change', async () => {
    const created = await fixture.call('POST', '/v1/clients', full);
    const tag = tagOf(created);
    expect(tag).toMatch(/^"[A-Za-z0-9_-]{22}"$/);
    expect(tagOf(await show('a'))).toBe(tag);
    const changed = await patch('a', { name: 'n' });
    expect(tagOf(changed)).not.toBe(tag);
    expect(tagOf(await show('a'))).toBe(tagOf(changed));
  });

  test.each<[string, (tag: string) => string]>([
    ['alone', (tag) => tag],
    ['among others', (tag) => `"x", ${tag} ,W/"y"`],
    ['as any', () => '*'],
  ])('that matches, %s, lets a change pass', async (_name, header) => {
    await fixture.register(full);
    const tag = tagOf(await show('a'));
    expect((await patch('a', { name: 'n' }, { 'if-match': header(tag) })).status).toBe(200);
  });

  test.each<[string, (tag: string) => string]>([
    ['stale', () => '"AAAAAAAAAAAAAAAAAAAAAA"'],
    ['weak', (tag) => `W/${tag}`],
    ['without quotes', (tag) => tag.slice(1, -1)],
    ['empty', () => ''],
  ])('that is %s refuses it with 412, and nothing changes', async (_name, header) => {
    await fixture.register(full);
    const tag = tagOf(await show('a'));
    await refused(await patch('a', { name: 'n' }, { 'if-match': header(tag) }), 412, 'precondition_failed');
    expect(tagOf(await show('a'))).toBe(tag);
  });

  test('of many changes at once that name one tag lets one pass', async () => {
    await fixture.register(full);
    const tag = tagOf(await show('a'));
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) => patch('a', { name: `n${i}` }, { 'if-match': tag })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(9).fill(412)]);
  });

  test('that is stale refuses to delete, and one that matches lets it pass', async () => {
    await fixture.register(full);
    const stale = tagOf(await show('a'));
    const tag = tagOf(await patch('a', { name: 'n' }));
    const remove = (one: string, id = 'a') =>
      fixture.call('DELETE', `/v1/clients/${id}`, undefined, { 'api-key': adminKey, 'if-match': one });
    await refused(await remove(stale), 412, 'precondition_failed');
    await refused(await remove(tag, 'ghost'), 404, 'client_unknown');
    expect((await remove(tag)).status).toBe(204);
    expect((await show('a')).status).toBe(404);
    expect((await audited()).slice(-3)).toEqual([
      ['client.delete', 'a', 'precondition_failed'],
      ['client.delete', 'ghost', 'client_unknown'],
      ['client.delete', 'a', 'ok'],
    ]);
  });

  test('is not needed: changes of different fields at once are all kept', async () => {
    await fixture.register({ client_id: 'a' });
    const labels = ['p', 'q', 'r', 's'];
    const answers = await Promise.all(labels.map((label) => patch('a', { labels: { [label]: '1' } })));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect((await json(await show('a')))['labels']).toEqual({ p: '1', q: '1', r: '1', s: '1' });
  });
});

describe('quarantine', () => {
  const quarantine = (id: string, body: unknown = { reason: 'lost in transport' }) =>
    fixture.call('POST', `/v1/clients/${id}/quarantine`, body);
  const release = (id: string) => fixture.call('POST', `/v1/clients/${id}/release`);

  test('revokes the tokens of a client, refuses it as if it were unknown, and keeps the reason', async () => {
    const client = await fixture.register(full);
    await claims(await fixture.tokenFor(client));
    const response = await quarantine('a');
    expect(response.status).toBe(200);
    expect(await json(response)).toMatchObject({
      state: 'quarantined',
      quarantine_reason: 'lost in transport',
      quarantined_at: expect.stringMatching(/Z$/),
    });
    expect(await json(await fixture.call('GET', '/v1/revocations'))).toMatchObject({
      revocations: [{ kind: 'client', client_id: 'a', quarantined: true }],
    });
    const answers = await Promise.all(
      [client, { client_id: 'ghost', client_secret: 'x' }].map(async (one) => {
        const refusal = await fixture.tokenFor(one);
        return [refusal.status, await refusal.json()];
      }),
    );
    expect(answers[0]).toEqual([401, expect.objectContaining({ error: 'invalid_client' })]);
    expect(answers[0]).toEqual(answers[1]);
    expect((await audited()).slice(-3, -1)).toEqual([
      ['client.quarantine', 'a', 'ok'],
      ['token.issue', 'a', 'client_quarantined'],
    ]);
  });

  test('is not told to who does not know the secret', async () => {
    await fixture.register(full);
    await quarantine('a');
    await fixture.tokenFor({ client_id: 'a', client_secret: 'wrong' });
    expect((await audited()).at(-1)).toEqual(['token.issue', 'a', 'invalid_client']);
  });

  test('ends by release, and tokens that were revoked stay so', async () => {
    const client = await fixture.register(full);
    await quarantine('a');
    const response = await release('a');
    expect([response.status, (await json(response))['state']]).toEqual([200, 'active']);
    await claims(await fixture.tokenFor(client));
    expect(await json(await show('a'))).not.toHaveProperty('quarantine_reason');
    expect((await audited()).slice(0, 2)).toEqual([
      ['client.quarantine', 'a', 'ok'],
      ['client.release', 'a', 'ok'],
    ]);
  });

  test('again replaces the reason and not the time, and a release of what is free is done already', async () => {
    await fixture.register(full);
    const first = await json(await quarantine('a'));
    const second = await json(await quarantine('a', { reason: 'sold' }));
    expect(second).toMatchObject({ quarantine_reason: 'sold', quarantined_at: first['quarantined_at'] });
    await release('a');
    const tag = tagOf(await show('a'));
    expect(tagOf(await release('a'))).toBe(tag);
  });

  test('outlasts a change of the client', async () => {
    const client = await fixture.register(full);
    await quarantine('a');
    expect(await json(await patch('a', { name: 'n' }))).toMatchObject({ state: 'quarantined' });
    expect((await fixture.tokenFor(client)).status).toBe(401);
  });

  test('of a client that asks all the time lets no token through after it was answered', async () => {
    const client = await fixture.register(full);
    const statuses: number[] = [];
    const asking = Array.from({ length: 20 }, async () => (await fixture.tokenFor(client)).status);
    const answered = quarantine('a').then(async () => {
      for (let i = 0; i < 5; i += 1) statuses.push((await fixture.tokenFor(client)).status);
    });
    expect(new Set(await Promise.all(asking))).not.toContain(500);
    await answered;
    // 429 once it has failed five times.
    expect(statuses.filter((status) => status !== 401 && status !== 429)).toEqual([]);
    expect(statuses).toHaveLength(5);
    const results = (await audited()) as string[][];
    const from = results.findIndex(([action]) => action === 'client.quarantine');
    expect(
      results.slice(from).filter(([action, , result]) => action === 'token.issue' && result === 'ok'),
    ).toEqual([]);
  });

  test.each<[string, unknown]>([
    ['no reason', {}],
    ['an empty reason', { reason: '' }],
    ['a reason of two lines', { reason: 'a\nb' }],
    ['a reason of 257 characters', { reason: 'x'.repeat(257) }],
    ['a reason and more', { reason: 'x', until: 'y' }],
  ])('with %s is 400', async (_name, body) => {
    await fixture.register(full);
    await refused(await quarantine('a', body), 400, 'invalid_request');
    expect(await json(await show('a'))).toMatchObject({ state: 'active' });
  });

  test('of no client is 404, as is its release', async () => {
    await refused(await quarantine('ghost'), 404, 'client_unknown');
    await refused(await release('ghost'), 404, 'client_unknown');
    expect(await audited()).toEqual([
      ['client.quarantine', 'ghost', 'client_unknown'],
      ['client.release', 'ghost', 'client_unknown'],
    ]);
  });
});

test('each change, done or refused, is in the audit trail', async () => {
  await fixture.register(full);
  await patch('a', { name: 'n' });
  await patch('a', { name: 'n' });
  await patch('a', { scope: 'a  b' });
  await patch('a', { name: 'm' }, { 'if-match': '"x"' });
  await patch('ghost', { name: 'm' });
  expect(await audited()).toEqual([
    ['client.update', 'a', 'ok'],
    ['client.update', 'a', 'ok'],
    ['client.update', 'a', 'scope_malformed'],
    ['client.update', 'a', 'precondition_failed'],
    ['client.update', 'ghost', 'client_unknown'],
  ]);
});

describe('what a change changed is in its row of the trail', () => {
  const changes = async (): Promise<unknown> => {
    const page = await json(await fixture.call('GET', '/v1/audit?action=client.update&order=newest&limit=1'));
    return (page['events'] as Json[])[0]?.['changes'];
  };

  test('each field before and after, and each label by itself', async () => {
    await fixture.register(full);
    await patch('a', {
      name: null,
      scope: 'x',
      audience: ['mqtt'],
      labels: { hw: 'rev-b', line: null, spare: '' },
      token_lifetime_seconds: 90,
    });
    expect(await changes()).toEqual([
      { field: 'name', before: 'Press 7' },
      { field: 'scope', before: 'x y', after: 'x' },
      { field: 'audience', before: '["mqtt","api"]', after: '["mqtt"]' },
      { field: 'labels.hw', before: 'rev-a', after: 'rev-b' },
      { field: 'labels.line', before: '3' },
      { field: 'token_lifetime_seconds', before: '60', after: '90' },
      { field: 'labels.spare', after: '' },
    ]);
    await patch('a', { scope: 'x' });
    expect(await changes()).toBeUndefined();
    await patch('a', { scope: 'a  b' });
    expect(await changes()).toBeUndefined();
  });

  test('metadata as far as it goes into tokens, and of nothing that could be a secret the values', async () => {
    fixture = await issuerFixture({ tokenClaims: ['site'] });
    await fixture.register({ ...full, metadata: { site: 'ulm', wifi: 'old-pass' } });
    const { client_secret: secret } = await fixture.register({ client_id: 'b' });
    await patch('a', {
      name: secret,
      group: null,
      labels: { hw: 'x'.repeat(200) },
      metadata: { site: 'bonn', wifi: 'hunter2', 'two words\n': 'hunter3' },
    });
    expect(await changes()).toEqual([
      { field: 'name', withheld: true },
      { field: 'group', before: 'plant-7' },
      { field: 'labels.hw', before: 'rev-a', after: 'x'.repeat(200) },
      { field: 'metadata.site', before: 'ulm', after: 'bonn' },
      { field: 'metadata.wifi', withheld: true },
      { field: 'metadata', withheld: true },
    ]);
    const rows = await rowsOf(fixture.database, 'SELECT * FROM audit');
    for (const text of [secret, 'hunter', 'old-pass', 'two words']) {
      expect(JSON.stringify(rows)).not.toContain(text);
    }
  });

  test('no more than 4096 characters of values, and the rest by name', async () => {
    await fixture.register({ client_id: 'a', scope: 'x' });
    const labels = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`l${i}`, 'v'.repeat(250)]));
    await patch('a', { labels });
    const found = (await changes()) as Json[];
    expect(found.map(({ field }) => field)).toEqual(Object.keys(labels).map((name) => `labels.${name}`));
    expect(found.filter(({ withheld }) => withheld === true)).toHaveLength(4);
  });
});
