import { request } from 'node:http';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { lookAtClients } from '../../cli/console/looked-at.ts';
import { createAttempts } from '../../cli/console/oidc/attempts.ts';
import { createSignIns, MAX_SIGN_INS_OF_ONE, STEP_UP_MS } from '../../cli/console/sign-ins.ts';
import { openIssuer } from '../../issuer/open-issuer.ts';
import { resolveOptions } from '../../issuer/options.ts';
import { type ServedConsole, serveConsole } from '../support/console-server.ts';
import { adminKey, issuerOptions, temporaryDirectory } from '../support/issuer-fixture.ts';

/** As no browser sends it: with the path as it is written. */
function post({ url }: ServedConsole, path: string, cookie: string): Promise<[number | undefined, string]> {
  return new Promise((resolve, reject) => {
    const headers = { cookie, 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' };
    const sent = request(`${url}/`, { method: 'POST', path, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      answer.once('end', () => resolve([answer.statusCode, JSON.parse(text).code]));
    });
    sent.once('error', reject);
    sent.end('{}');
  });
}

test.each([
  ['x/../keys/rotate', 404],
  ['x/%2e%2E/keys/rotate', 404],
  ['x\\..\\keys/rotate', 404],
  ['./keys/rotate', 404],
  ['../v1/keys/rotate', 404],
  ['../metrics', 404],
  ['keys/rotate#x', 403],
  ['keys/rotate?x=/../', 403],
  ['apps', 403],
])('the key is wanted once more also by a path that leads round: %s', async (path, status) => {
  const served = await serveConsole();
  const cookie = await served.signIn();
  served.clock.nowMs += STEP_UP_MS;
  expect(await post(served, `/console/api/v1/${path}`, cookie)).toEqual([
    status,
    status === 404 ? 'not_found' : 'step_up_required',
  ]);
});

describe('of a key that was deleted', () => {
  afterEach(() => vi.useRealTimers());

  const remove = ({ url }: ServedConsole) =>
    fetch(`${url}/v1/api-keys/key-auditor`, { method: 'DELETE', headers: { 'api-key': adminKey } });

  test.each(['/api/live', '/api/session'])('%s tells nothing more', async (path) => {
    const served = await serveConsole();
    const cookie = await served.signIn(await served.apiKey('auditor'));
    await remove(served);
    expect((await served.call('GET', path, { cookie })).status).toBe(401);
  });

  test('what is live ends', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const served = await serveConsole();
    const cookie = await served.signIn(await served.apiKey('auditor'));
    // Something to tell, with which the answer begins.
    served.live.refused({ reason: 'no_rule' });
    const answer = await served.call('GET', '/api/live', { cookie });
    expect(answer.status).toBe(200);
    const told = answer.text();
    vi.advanceTimersByTime(15_000);
    await remove(served);
    vi.advanceTimersByTime(15_000);
    expect(await told).toContain(': \n\n');
  });
});

test('one key that signs in without end ends no sign-in of another', () => {
  let nowMs = 0;
  const signIns = createSignIns(() => nowMs);
  const admin = signIns.begin({ apiKey: 'a', keyName: 'admin', role: 'admin' });
  const flood = Array.from({ length: 1_001 }, () => {
    nowMs += 1;
    return signIns.begin({ apiKey: 'b', keyName: 'line', role: 'auditor' });
  });
  expect(signIns.isOver(admin)).toBe(false);
  expect(flood.filter((cookie) => !signIns.isOver(cookie))).toEqual(flood.slice(-MAX_SIGN_INS_OF_ONE));
});

describe('one question does not hold up the process', () => {
  test('by a topic that placeholders make long', async () => {
    const { call, signIn } = await serveConsole({ tokenClaims: ['site'] });
    const cookie = await signIn();
    const client = { client_id: 'c'.repeat(60), metadata: { site: 'y'.repeat(900) } };
    expect((await call('POST', '/api/v1/clients', { cookie, body: client })).status).toBe(201);
    const clients = Array(8).fill(client.client_id);
    const ask = (topic: string) => call('POST', '/api/matrix/cell', { cookie, body: { clients, topic } });
    expect((await ask('{client_id}'.repeat(1_000))).status).toBe(400);
    const long = await ask('{claim:site}'.repeat(80));
    expect(((await long.json()) as { clients: object[] }).clients[0]).toEqual({
      client_id: client.client_id,
    });
  });

  test('about who may what on a topic that no policy writes', async () => {
    const { call, signIn } = await serveConsole();
    const cookie = await signIn();
    for (const action of ['publish', 'subscribe', 'receive']) {
      const body = { action, topic: 'x/'.repeat(513) };
      expect((await call('POST', '/api/who-may', { cookie, body })).status).toBe(400);
    }
  });

  test('and of looks at many clients there are only so many at once', async () => {
    const { promise: page, resolve: answer } = Promise.withResolvers<{ status: number; body: object }>();
    const looks = Array.from({ length: 20 }, () =>
      lookAtClients(
        () => page,
        {},
        () => {},
      ),
    );
    answer({ status: 200, body: { clients: [] } });
    const outcomes = await Promise.all(looks);
    expect(outcomes.filter((one) => 'clients' in one)).toHaveLength(5);
    expect(outcomes.at(-1)).toMatchObject({ status: 503, code: 'busy' });
    const asked = lookAtClients(
      () => page,
      {},
      () => {},
    );
    expect(await asked).toEqual({ clients: 0, cursor: undefined });
  });

  test('nor looks by selectors and into the trail, of which each has a turn of its own', async () => {
    const options = resolveOptions(issuerOptions(await temporaryDirectory()));
    const issuer = await openIssuer(options, () => 'http://127.0.0.1');
    onTestFinished(() => issuer.close());
    for (const look of [
      () => issuer.selectedClients.count({ selector: 'client_id' }),
      () => issuer.searchAudit({ limit: 1 }),
    ]) {
      let turns = 0;
      let isOver = false;
      const turn = () => {
        turns += 1;
        if (!isOver) setImmediate(turn);
      };
      setImmediate(turn);
      await Promise.all(Array.from({ length: 50 }, () => look()));
      isOver = true;
      expect(turns).toBeGreaterThanOrEqual(50);
    }
  });
});

describe('a way to the provider', () => {
  const secrets = { state: 's', nonce: 'n', codeVerifier: 'v' };

  test('is not ended by those that others begin, or come back from', () => {
    const attempts = createAttempts(() => 0);
    const cookie = attempts.begin(secrets);
    for (let n = 0; n < 12_000; n += 1) attempts.take(attempts.begin(secrets));
    expect(attempts.take(cookie)).toEqual({ ...secrets, startedAtMs: 0 });
    expect(attempts.take(cookie)).toBeUndefined();
  });

  test('is none where its cookie was changed, spelt otherwise, or made elsewhere', () => {
    const attempts = createAttempts(() => 0);
    const cookie = attempts.begin(secrets);
    const bytes = Buffer.from(cookie, 'base64url');
    for (const at of [0, 15, 30]) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] as number) ^ 1;
      expect(attempts.take(changed.toString('base64url'))).toBeUndefined();
    }
    for (const other of ['', 'x', `${cookie}=`, bytes.toString('base64'), cookie.slice(0, 20)]) {
      if (other !== cookie) expect(attempts.take(other), other).toBeUndefined();
    }
    expect(createAttempts(() => 0).take(cookie)).toBeUndefined();
    expect(cookie).not.toContain(Buffer.from('"codeVerifier"').toString('base64url').slice(0, 12));
    expect(attempts.take(cookie)).toBeDefined();
  });
});
