import { beforeEach, expect, test } from 'vitest';
import { assertionForm, clientAssertion, clientKeyPair } from '../support/client-assertion.ts';
import { adminKey, type IssuerFixture, issuerFixture } from '../support/issuer-fixture.ts';

const DAY_MS = 86_400_000;
const START = Date.parse('2026-01-31T12:00:00Z');

let nowMs: number;
let fixture: IssuerFixture;
beforeEach(async () => {
  nowMs = START;
  fixture = await issuerFixture({ now: () => nowMs });
});

interface Shown {
  readonly client_id: string;
  readonly last_seen_on?: string;
  readonly secret_expires_at?: string;
}

async function select(selector: string): Promise<readonly Shown[]> {
  const answer = await fixture.call('GET', `/v1/clients?selector=${encodeURIComponent(selector)}`);
  expect(answer.status).toBe(200);
  return ((await answer.json()) as { clients: Shown[] }).clients;
}
const ids = async (selector: string) => (await select(selector)).map(({ client_id: id }) => id);

test('clients are found by their last token, by whichever method they got it', async () => {
  const pair = clientKeyPair();
  const secret = await fixture.register({ client_id: 'by-secret' });
  await fixture.register({ client_id: 'by-key', auth_method: 'private_key_jwt', jwks: pair.jwks });
  await fixture.register({ client_id: 'silent' });
  expect(await ids('!last_seen')).toEqual(['by-key', 'by-secret', 'silent']);

  expect((await fixture.tokenFor(secret)).status).toBe(200);
  nowMs += 10 * DAY_MS;
  const assertion = clientAssertion(pair, 'by-key', fixture.issuer.url, { nowMs });
  expect((await fixture.requestToken(assertionForm(assertion))).status).toBe(200);
  // Refused: no token.
  await fixture.tokenFor({ client_id: 'silent', client_secret: 'A'.repeat(43) });

  expect(await ids('!last_seen')).toEqual(['silent']);
  expect(await ids('last_seen')).toEqual(['by-key', 'by-secret']);
  expect(await ids('last_seen>7d')).toEqual(['by-secret']);
  expect(await ids('last_seen<7d')).toEqual(['by-key']);
  expect(await ids('last_seen>30d')).toEqual([]);
  expect(await select('client_id=by-*')).toMatchObject([
    { client_id: 'by-key', last_seen_on: '2026-02-10' },
    { client_id: 'by-secret', last_seen_on: '2026-01-31' },
  ]);
});

test('no device that fetched a token within that time is said not to have', async () => {
  const device = await fixture.register({ client_id: 'd' });
  await fixture.tokenFor(device);
  // Not written: the day is.
  nowMs += DAY_MS - 1;
  await fixture.tokenFor(device);
  nowMs += 7 * DAY_MS;
  expect([await ids('last_seen>7d'), await ids('last_seen<7d')]).toEqual([[], ['d']]);
  nowMs += 2;
  expect([await ids('last_seen>7d'), await ids('last_seen<7d')]).toEqual([['d'], []]);
});

test('clients are found by the end of their secrets, before and behind it', async () => {
  const at = (days: number) => new Date(nowMs + days * DAY_MS).toISOString();
  await fixture.register({ client_id: 'endless' });
  await fixture.register({ client_id: 'soon', secret_expires_at: at(3) });
  await fixture.register({ client_id: 'late', secret_expires_at: at(90) });
  await fixture.register({ client_id: 'rotated', secret_expires_at: at(3) });
  await fixture.call('POST', '/v1/clients/rotated/secrets', { overlap_seconds: 86_400 });
  expect(await ids('expires')).toEqual(['late', 'rotated', 'soon']);
  expect(await ids('!expires')).toEqual(['endless']);
  expect(await ids('expires<7d')).toEqual(['rotated', 'soon']);
  expect(await ids('expires<48h')).toEqual(['rotated']);
  expect(await ids('expired')).toEqual([]);
  expect(await select('client_id=soon')).toMatchObject([{ secret_expires_at: at(3) }]);

  const ended = at(3);
  nowMs += 3 * DAY_MS;
  expect(await ids('expired')).toEqual(['soon']);
  expect(await ids('!expired')).toEqual(['endless', 'late', 'rotated']);
  expect(await ids('expires<7d')).toEqual([]);
  expect(await select('expired')).toMatchObject([{ secret_expires_at: ended }]);
  expect((await select('client_id=rotated'))[0]).not.toHaveProperty('secret_expires_at');
});

test('a token leaves the entity tag of its client as it was', async () => {
  const device = await fixture.register({ client_id: 'd' });
  const before = await fixture.call('GET', '/v1/clients/d');
  await fixture.tokenFor(device);
  const after = await fixture.call('GET', '/v1/clients/d');
  expect(await after.json()).toMatchObject({ last_seen_on: '2026-01-31' });
  expect(after.headers.get('etag')).toBe(before.headers.get('etag'));
  const changed = await fixture.call(
    'PATCH',
    '/v1/clients/d',
    { name: 'D' },
    {
      'api-key': adminKey,
      'if-match': before.headers.get('etag') as string,
    },
  );
  expect(changed.status).toBe(200);
});
