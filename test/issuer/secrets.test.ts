import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { openIssuer } from '../../issuer/open-issuer.ts';
import { resolveOptions } from '../../issuer/options.ts';
import { otherConnection, rowsOf } from '../support/database.ts';
import {
  basic,
  type IssuerFixture,
  issuerFixture,
  issuerOptions,
  type RegisteredClient,
  temporaryDirectory,
} from '../support/issuer-fixture.ts';

const START = Date.UTC(2026, 0, 31, 12);
const DAY = 86_400_000;

let fixture: IssuerFixture;
let nowMs: number;
let device: RegisteredClient;

beforeEach(async () => {
  nowMs = START;
  fixture = await issuerFixture({ now: () => nowMs });
  device = await fixture.register({ client_id: 'device', scope: 'x' });
});

interface Rotated extends RegisteredClient {
  secret_id: string;
  old_secret_id?: string;
  old_secret_expires_at?: string | null;
}
interface SecretView {
  client_id?: string;
  secret_id: string;
  state: string;
  expires_at?: string;
  first_used_at?: string;
  last_used_on?: string;
  until_new_is_used?: true;
}

const body = async (response: Response) => (await response.json()) as Record<string, unknown>;
const path = '/v1/clients/device/secrets';
const post = (request?: unknown) => fixture.call('POST', path, request);
async function rotate(request?: unknown): Promise<Rotated> {
  const response = await post(request);
  expect(response.status).toBe(201);
  return (await response.json()) as Rotated;
}
const secrets = async () =>
  ((await body(await fixture.call('GET', path))) as { secrets: SecretView[] }).secrets;
const status = async ({ client_id, client_secret }: RegisteredClient) =>
  (await fixture.tokenFor({ client_id, client_secret })).status;
const iso = (ms: number) => new Date(ms).toISOString();
async function refused(response: Response, code: number, error: string): Promise<string> {
  const { error: got, error_description } = await body(response);
  expect([response.status, got]).toEqual([code, error]);
  return String(error_description);
}
async function audit(): Promise<[string, string, string | null, string][]> {
  const rows = await rowsOf<{ actor: string; action: string; target: string | null; result: string }>(
    fixture.database,
    'SELECT actor, action, target, result FROM audit ORDER BY sequence',
  );
  return rows.map(({ actor, action, target, result }) => [actor, action, target, result]);
}
const of = async (action: string) => (await audit()).filter((row) => row[1] === action);

describe('a rotation', () => {
  test('answers the new secret this once, and until the overlap of a week is over both are good', async () => {
    const rotated = await rotate();
    expect(rotated).toEqual({
      client_id: 'device',
      secret_id: expect.stringMatching(/^[0-9a-f]{16}$/),
      state: 'live',
      created_at: iso(START),
      client_secret: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
      old_secret_id: expect.stringMatching(/^[0-9a-f]{16}$/),
      old_secret_expires_at: iso(START + 7 * DAY),
      old_secret_until_new_is_used: false,
    });
    expect(await Promise.all([status(device), status(rotated)])).toEqual([200, 200]);
    nowMs += 7 * DAY - 1;
    expect(await Promise.all([status(device), status(rotated)])).toEqual([200, 200]);
    nowMs += 1;
    expect(await Promise.all([status(device), status(rotated)])).toEqual([401, 200]);
  });

  test('holds by Basic as in the body', async () => {
    const rotated = await rotate({ overlap_seconds: 1 });
    const byBasic = async (secret: string) =>
      (await fixture.requestToken({ grant_type: 'client_credentials' }, basic('device', secret))).status;
    expect([await byBasic(device.client_secret), await byBasic(rotated.client_secret)]).toEqual([200, 200]);
    nowMs += 1000;
    expect([await byBasic(device.client_secret), await byBasic(rotated.client_secret)]).toEqual([401, 200]);
  });

  test('without an overlap ends the old secret at once, also where there were two', async () => {
    const second = await rotate();
    const third = await rotate({ overlap_seconds: 0 });
    expect(third).not.toHaveProperty('old_secret_id');
    expect([await status(device), await status(second), await status(third)]).toEqual([401, 401, 200]);
  });

  test('until the new one is used ends the old one a minute after that, however late it is', async () => {
    const rotated = await rotate({ until_new_is_used: true });
    expect(rotated).toMatchObject({ old_secret_expires_at: null, old_secret_until_new_is_used: true });
    nowMs += 400 * DAY;
    expect(await status(device)).toBe(200);
    expect(await status(rotated)).toBe(200);
    nowMs += 59_999;
    expect(await status(device)).toBe(200);
    nowMs += 1;
    expect([await status(device), await status(rotated)]).toEqual([401, 200]);
  });

  test('until the new one is used, with an overlap, ends the old one by whichever comes first', async () => {
    const rotated = await rotate({ until_new_is_used: true, overlap_seconds: 3600 });
    expect(rotated).toMatchObject({ old_secret_expires_at: iso(START + 3_600_000) });
    nowMs += 3_600_000;
    expect(await status(device)).toBe(401);
  });

  test('may give the new secret an end', async () => {
    const rotated = await rotate({ expires_at: iso(START + DAY) });
    expect(rotated).toMatchObject({ expires_at: iso(START + DAY) });
    nowMs += DAY - 1;
    expect(await status(rotated)).toBe(200);
    nowMs += 1;
    expect(await status(rotated)).toBe(401);
  });

  test('to a third live secret is refused naming the one that was never used and how to end it', async () => {
    await status(device);
    const second = await rotate();
    const fix = await refused(await post(), 409, 'secret_limit_reached');
    expect(fix).toMatch(new RegExp(`client end-secret \\S+ ${second.secret_id}`));
    expect(fix).toContain('overlap_seconds 0');
    expect((await fixture.call('DELETE', `${path}/${second.secret_id}`)).status).toBe(204);
    const third = await rotate();
    expect([await status(device), await status(second), await status(third)]).toEqual([200, 401, 200]);
  });

  test('revokes the tokens too when it is asked to', async () => {
    await rotate({ overlap_seconds: 0, revoke_tokens: true });
    const { revocations } = await body(await fixture.call('GET', '/v1/revocations'));
    expect(revocations).toMatchObject([{ kind: 'client', client_id: 'device', at: START / 1000 }]);
  });

  test.each<[string, unknown]>([
    ['a negative overlap', { overlap_seconds: -1 }],
    ['half a second', { overlap_seconds: 0.5 }],
    ['an overlap of ten years', { overlap_seconds: 315_360_000 }],
    ['an overlap in text', { overlap_seconds: '60' }],
    ['an end in the past', { expires_at: '2026-01-31T11:59:59Z' }],
    ['an end that is now', { expires_at: START / 1000 }],
    ['an end that is no time', { expires_at: 'tomorrow' }],
    ['an end beyond what a date can be', { expires_at: Number.MAX_SAFE_INTEGER }],
    ['tokens revoked while the old secret goes on', { revoke_tokens: true }],
    ['tokens revoked while the old secret waits', { revoke_tokens: true, until_new_is_used: true }],
    ['an unknown field', { overlap: 60 }],
    ['a secret of its own', { client_secret: 'chosen' }],
    ['a list', []],
  ])('with %s is 400, and nothing changes', async (_name, request) => {
    await refused(await post(request), 400, 'invalid_request');
    expect(await secrets()).toHaveLength(1);
    expect(await status(device)).toBe(200);
  });

  test.each(['nobody', 'a%2Fb', '%00'])('of the unknown client %s is 404', async (id) => {
    await refused(await fixture.call('POST', `/v1/clients/${id}/secrets`), 404, 'client_unknown');
  });

  test('of a client that authenticates without a secret is refused naming how it does', async () => {
    const other = await otherConnection(fixture.database);
    await other.execute("UPDATE clients SET auth_method = 'tls_client_auth'");
    expect(await refused(await post(), 400, 'not_supported')).toContain('tls_client_auth');
  });

  test('is in the audit trail, done or refused, without the secret', async () => {
    const rotated = await rotate();
    await post();
    await post({ overlap_seconds: -1 });
    await fixture.call('POST', '/v1/clients/nobody/secrets');
    await fixture.call('POST', '/v1/clients/a%2Fb/secrets');
    expect(await of('secret.rotate')).toEqual([
      ['admin:default', 'secret.rotate', 'device', 'ok'],
      ['admin:default', 'secret.rotate', 'device', 'secret_limit_reached'],
      ['admin:default', 'secret.rotate', 'device', 'invalid_request'],
      ['admin:default', 'secret.rotate', 'nobody', 'client_unknown'],
      ['admin:default', 'secret.rotate', null, 'client_unknown'],
    ]);
    expect(JSON.stringify(await audit())).not.toContain(rotated.client_secret);
  });
});

describe('an ended secret', () => {
  test('is answered as a wrong one is, and only the audit has the reason', async () => {
    const rotated = await rotate({ overlap_seconds: 0 });
    const answers = await Promise.all(
      [device.client_secret, 'x'.repeat(43), device.client_secret].map(async (client_secret, i) => {
        const client_id = i === 2 ? 'nobody' : 'device';
        const response = await fixture.tokenFor({ client_id, client_secret });
        const { date, ...headers } = Object.fromEntries(response.headers);
        return [response.status, headers, await response.text()];
      }),
    );
    expect(answers[0]).toEqual(answers[1]);
    expect(answers[0]).toEqual(answers[2]);
    expect((await of('token.issue')).map(([, , target, result]) => `${target} ${result}`).sort()).toEqual([
      'device invalid_client',
      'device secret_expired',
      'nobody invalid_client',
    ]);
    expect(await status(rotated)).toBe(200);
  });

  test('does not revoke a token either', async () => {
    const { access_token: token } = await body(await fixture.tokenFor(device));
    const rotated = await rotate({ overlap_seconds: 0 });
    const revoke = (client_secret: string) =>
      fetch(`${fixture.issuer.url}/oauth/revoke`, {
        method: 'POST',
        body: new URLSearchParams({ client_id: 'device', client_secret, token: String(token) }),
      });
    await refused(await revoke(device.client_secret), 401, 'invalid_client');
    expect((await revoke(rotated.client_secret)).status).toBe(200);
    expect((await of('token.revoke')).map(([, , , result]) => result)).toEqual(['secret_expired', 'ok']);
  });

  test('is not used by who presents it: nothing else ends', async () => {
    const rotated = await rotate({ until_new_is_used: true, expires_at: iso(START + 1000) });
    nowMs += 1000;
    expect(await status(rotated)).toBe(401);
    nowMs += DAY;
    expect(await status(device)).toBe(200);
    expect(await of('secret.first_use')).toHaveLength(1);
  });
});

test('no token is issued for a secret after it was ended, also to a request that had proven it before', async () => {
  const options = resolveOptions(issuerOptions(await temporaryDirectory(), { now: () => nowMs }));
  const core = await openIssuer(options, () => 'http://127.0.0.1');
  onTestFinished(() => core.close());
  const by = { keyName: 'default', address: undefined, requestId: undefined };
  const { clientSecret } = (await core.clients.create({ clientId: 'device' }, by)).shown;
  const issue = () =>
    core.issue({
      caller: by,
      grantType: 'client_credentials',
      clientId: 'device',
      clientSecret,
      authorization: undefined,
      scope: undefined,
      audience: [],
    });
  await issue();
  const [{ secretId } = { secretId: '' }] = await core.secrets.of('device');
  // It reads the client at once, and its token comes to be recorded behind the end of the secret.
  const [issued, ended] = await Promise.allSettled([issue(), core.secrets.end('device', secretId, by)]);
  expect(ended).toMatchObject({ status: 'fulfilled' });
  expect(issued).toMatchObject({ status: 'rejected', reason: { code: 'invalid_client' } });
});

test('ending a secret is 204, also when it had ended, and 404 where there is none', async () => {
  const [{ secret_id } = { secret_id: '' }] = await secrets();
  const remove = (id: string, client = 'device') =>
    fixture.call('DELETE', `/v1/clients/${client}/secrets/${id}`);
  expect((await remove(secret_id)).status).toBe(204);
  expect(await status(device)).toBe(401);
  expect((await remove(secret_id)).status).toBe(204);
  await refused(await remove('0123456789abcdef'), 404, 'secret_unknown');
  await refused(await remove(secret_id, 'nobody'), 404, 'client_unknown');
  expect((await of('secret.end')).map(([, , target, result]) => [target, result])).toEqual([
    ['device', 'ok'],
    ['device', 'ended_already'],
    ['device', 'secret_unknown'],
    ['nobody', 'client_unknown'],
  ]);
  expect(await status(await rotate())).toBe(200);
});

describe('the first use of a secret', () => {
  test('is recorded once, by whichever request it is proven, and not by one that is refused', async () => {
    await fixture.tokenFor({ client_id: 'device', client_secret: 'wrong' });
    expect(await of('secret.first_use')).toEqual([]);
    await Promise.all(Array.from({ length: 10 }, () => status(device)));
    nowMs += 1000;
    await status(device);
    expect(await of('secret.first_use')).toEqual([['client:device', 'secret.first_use', 'device', 'ok']]);
    expect(await secrets()).toMatchObject([{ first_used_at: iso(START) }]);
  });

  test('is no write of any later request of the same day', async () => {
    await status(device);
    const before = await secrets();
    nowMs += DAY - 1;
    await status(device);
    expect(await secrets()).toEqual(before);
    nowMs += 1;
    await status(device);
    expect(await secrets()).toMatchObject([{ first_used_at: iso(START), last_used_on: '2026-02-01' }]);
  });
});

test('the secrets of a client are shown with their times and never in themselves', async () => {
  await status(device);
  const rotated = await rotate({ until_new_is_used: true, expires_at: iso(START + DAY) });
  const text = await (await fixture.call('GET', path)).text();
  expect(JSON.parse(text)).toEqual({
    secrets: [
      {
        secret_id: rotated.old_secret_id,
        state: 'live',
        created_at: iso(START),
        first_used_at: iso(START),
        last_used_on: '2026-01-31',
        until_new_is_used: true,
      },
      {
        secret_id: rotated.secret_id,
        state: 'live',
        created_at: iso(START),
        expires_at: iso(START + DAY),
      },
    ],
  });
  for (const secret of [device.client_secret, rotated.client_secret]) expect(text).not.toContain(secret);
  nowMs += DAY;
  expect((await secrets()).map(({ state }) => state)).toEqual(['live', 'ended']);
  await refused(await fixture.call('GET', '/v1/clients/nobody/secrets'), 404, 'client_unknown');
});

describe('the list of secrets', () => {
  const list = async (query: string) =>
    (await body(await fixture.call('GET', `/v1/secrets?${query}`))) as {
      secrets: SecretView[];
      next_cursor?: string;
    };

  test('has those that were never used, page by page, and one is gone once it was used', async () => {
    for (const client_id of ['b', 'c']) {
      nowMs += 1;
      await fixture.register({ client_id });
    }
    const seen: unknown[] = [];
    let query = 'state=never_used&limit=2';
    for (;;) {
      const page = await list(query);
      seen.push(...page.secrets.map(({ client_id }) => client_id));
      if (page.next_cursor === undefined) break;
      query = `state=never_used&limit=2&cursor=${page.next_cursor}`;
    }
    expect(seen).toEqual(['device', 'b', 'c']);
    await status(device);
    expect((await list('state=never_used')).secrets.map(({ client_id }) => client_id)).toEqual(['b', 'c']);
  });

  test('has those that end within the time asked for, or within 30 days', async () => {
    await rotate({ overlap_seconds: 3600, expires_at: iso(START + 30 * DAY) });
    await fixture.register({ client_id: 'b' });
    await fixture.call('POST', '/v1/clients/b/secrets', {
      overlap_seconds: 7200,
      expires_at: iso(START + 31 * DAY),
    });
    const ends = async (query: string) =>
      (await list(query)).secrets.map(({ client_id, expires_at }) => `${client_id} ${expires_at}`);
    expect(await ends('state=expiring&within_seconds=3600')).toEqual([`device ${iso(START + 3_600_000)}`]);
    expect(await ends('state=expiring')).toEqual([
      `device ${iso(START + 3_600_000)}`,
      `b ${iso(START + 7_200_000)}`,
      `device ${iso(START + 30 * DAY)}`,
    ]);
    nowMs += 3_600_000;
    expect(await ends('state=expiring&within_seconds=3600')).toEqual([`b ${iso(START + 7_200_000)}`]);
  });

  test.each([
    '',
    'state=used',
    'state=never_used&within_seconds=60',
    'state=expiring&within_seconds=0',
    'state=expiring&within_seconds=x',
    'state=expiring&limit=0',
    'state=expiring&limit=1001',
    'state=expiring&cursor=!',
    'state=expiring&cursor=',
    `state=expiring&cursor=${Buffer.from('never_used.1.2.0').toString('base64url')}`,
    'state=expiring&state=never_used',
    'status=expiring',
  ])('with "%s" is 400', async (query) => {
    await refused(await fixture.call('GET', `/v1/secrets?${query}`), 400, 'invalid_request');
  });
});

test('a first secret ends when its client was registered with an end for it', async () => {
  const guest = await fixture.register({ client_id: 'guest', secret_expires_at: iso(START + DAY) });
  expect(await status(guest)).toBe(200);
  nowMs += DAY;
  expect(await status(guest)).toBe(401);
});
