import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { prometheusObserver } from '@fleetgate/issuer/metrics';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { expect, test, vi } from 'vitest';
import { createApp } from '../support/app-fixture.ts';
import { otherConnection } from '../support/database.ts';
import { hasApps, issuerFixture } from '../support/issuer-fixture.ts';
import { parseMetrics } from '../support/prometheus-text.ts';

const AHEAD_SECONDS = 900;
const ROTATION_SECONDS = 30 * 86_400;

async function start() {
  const register = new Registry();
  const clock = { nowMs: Date.now() };
  const fixture = await issuerFixture({
    observer: prometheusObserver(register),
    keyPublishAheadSeconds: AHEAD_SECONDS,
    now: () => clock.nowMs,
  });
  const text = () => register.metrics();
  const scrape = async () => parseMetrics(await text());
  const count = async (act: string, result: string) =>
    (await scrape()).value('fleetgate_token_requests_total', { act, result }) ?? 0;
  return { fixture, clock, text, scrape, count };
}

test('each request of a client is counted by what came of it, with the reason the audit trail has', async () => {
  const { fixture, text, scrape, count } = await start();
  const client = await fixture.register({ client_id: 'canary-client' });
  const other = await fixture.register({ client_id: 'other' });
  const { access_token: token } = (await (await fixture.tokenFor(client)).json()) as { access_token: string };
  const basic = { authorization: `Basic ${btoa(`other:${other.client_secret}`)}` };
  const post = (path: string, body: Record<string, string>) =>
    fetch(`${fixture.issuer.url}/oauth/${path}`, {
      method: 'POST',
      headers: basic,
      body: new URLSearchParams(body),
    });
  await fixture.tokenFor({ ...client, client_secret: 'wrong' });
  await fixture.tokenFor(client, { scope: 'not.registered' });
  await fixture.requestToken({ client_id: 'canary-client' });
  await fixture.call('POST', '/v1/clients/canary-client/quarantine', { reason: 'stolen' });
  await fixture.tokenFor(client);
  await post('introspect', { token });
  await post('introspect', {});
  await post('revoke', { token });
  await post('revoke', {});

  expect(await count('issue', 'ok')).toBe(1);
  expect(await count('issue', 'invalid_client')).toBe(1);
  expect(await count('issue', 'invalid_scope')).toBe(1);
  expect(await count('issue', 'invalid_request')).toBe(1);
  expect(await count('issue', 'client_quarantined')).toBe(1);
  expect(await count('introspect', 'ok')).toBe(1);
  expect(await count('introspect', 'invalid_request')).toBe(1);
  expect(await count('revoke', 'ok')).toBe(1);
  expect(await count('revoke', 'invalid_request')).toBe(1);
  const { value } = await scrape();
  expect(value('fleetgate_token_request_seconds_count', { act: 'issue' })).toBe(5);
  expect(await text()).not.toContain('canary');
});

test('requests that come too soon are counted, also where the audit trail has none of them', async () => {
  const register = new Registry();
  const fixture = await issuerFixture({
    observer: prometheusObserver(register),
    limits: { maxClientTokensPerSecond: 1 },
  });
  const client = await fixture.register({ client_id: 'a' });
  // One after the other: what a client has proven counts when it is answered.
  const statuses: number[] = [];
  for (let i = 0; i < 20; i += 1) statuses.push((await fixture.tokenFor(client)).status);
  const { value } = parseMetrics(await register.metrics());
  const limited = statuses.filter((status) => status === 429).length;
  expect(limited).toBeGreaterThan(0);
  expect(value('fleetgate_token_requests_total', { act: 'issue', result: 'slow_down' })).toBe(limited);
});

test.runIf(hasApps)('requests to apps are counted with the others', async () => {
  const { fixture, count } = await start();
  expect((await fixture.call('POST', '/v1/apps', { app_id: 'x' })).status).toBe(201);
  await fetch(`${fixture.issuer.url}/appid-x/oauth/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa('nobody:secret')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  });
  expect(await count('issue', 'invalid_client')).toBe(1);
});

test('the age of the signing key, and when the next one takes over', async () => {
  const { clock, scrape } = await start();
  const before = await scrape();
  expect(before.value('fleetgate_signing_key_age_seconds')).toBe(0);
  expect(before.value('fleetgate_signing_key_rotation_seconds')).toBeCloseTo(ROTATION_SECONDS, 0);
  clock.nowMs += 3_600_000;
  const after = await scrape();
  expect(after.value('fleetgate_signing_key_age_seconds')).toBeCloseTo(3600, 0);
  expect(after.value('fleetgate_signing_key_rotation_seconds')).toBeCloseTo(ROTATION_SECONDS - 3600, 0);
});

test('whether the registry answers', async () => {
  const { fixture, scrape } = await start();
  expect((await scrape()).value('fleetgate_registry_ready')).toBe(1);
  await fixture.issuer.close();
  expect((await scrape()).value('fleetgate_registry_ready')).toBe(0);
});

test('whether the key that signs next is published', async () => {
  const { fixture, scrape } = await start();
  expect((await scrape()).value('fleetgate_signing_key_next_published')).toBe(1);
  const other = await otherConnection(fixture.database);
  await other.execute(
    "DELETE FROM signing_keys WHERE state = 'next'; UPDATE signing_key_revision SET revision = revision + 1",
  );
  expect((await scrape()).value('fleetgate_signing_key_next_published')).toBe(0);
});

test.runIf(hasApps)(
  'an app that is out of order is counted and says so itself, and the default app goes on',
  async () => {
    const { fixture, scrape } = await start();
    const a = await createApp(fixture, 'a');
    await createApp(fixture, 'b');
    const states = async () => {
      const { value } = await scrape();
      return ['ready', 'failing'].map((state) => value('fleetgate_apps', { state }));
    };
    expect(await states()).toEqual([2, 0]);
    rmSync(join(fixture.directory, 'apps', 'a', 'fleetgate.db'));
    expect(await states()).toEqual([1, 1]);
    expect((await scrape()).value('fleetgate_registry_ready')).toBe(1);
    expect((await fetch(`${a.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${fixture.issuer.url}/readyz`)).status).toBe(200);
  },
);

test('acts, the commits they share, and those that wait while another process holds the lock', async () => {
  const { fixture, scrape } = await start();
  const before = await scrape();
  const other = await otherConnection(fixture.database);
  await other.holdTurn();
  const made = Promise.all(['a', 'b', 'c'].map((client_id) => fixture.register({ client_id })));
  // The issuer has acts of its own at the start.
  const waiting = async () => (await scrape()).value('fleetgate_registry_waiting_acts');
  await vi.waitFor(async () => expect(await waiting()).toBeGreaterThanOrEqual(3));
  await other.letGo();
  await made;
  const after = await scrape();
  const more = (name: string) => (after.value(name) ?? 0) - (before.value(name) ?? 0);
  const acts = more('fleetgate_registry_acts_total');
  expect(acts).toBeGreaterThanOrEqual(3);
  expect(more('fleetgate_registry_commits_total')).toBeLessThanOrEqual(acts - 2);
  expect(after.value('fleetgate_registry_waiting_acts')).toBe(0);
});

test.runIf(hasApps)('rows of the audit trail and clients in quarantine, of all apps', async () => {
  const { fixture, scrape } = await start();
  const before = await scrape();
  const app = await createApp(fixture, 'a');
  const rowsOfApp = (await scrape()).value('fleetgate_audit_rows') as number;
  for (const { register, call } of [fixture, app]) {
    await register({ client_id: 'sensor-1' });
    await register({ client_id: 'sensor-2' });
    await call('POST', '/v1/clients/sensor-1/quarantine', { reason: 'stolen' });
  }
  const after = await scrape();
  expect(before.value('fleetgate_clients_quarantined')).toBe(0);
  expect(after.value('fleetgate_clients_quarantined')).toBe(2);
  expect(after.value('fleetgate_audit_rows')).toBe(rowsOfApp + 6);
  await fixture.call('POST', '/v1/clients/sensor-1/release');
  expect((await scrape()).value('fleetgate_clients_quarantined')).toBe(1);
});

test.runIf(hasApps)('readers of the revocations, of all apps, while they read', async () => {
  const { fixture, scrape } = await start();
  const app = await createApp(fixture, 'a');
  const readers = async () => (await scrape()).value('fleetgate_revocation_feed_readers');
  const leaving = new AbortController();
  for (const { url, tokenFor, register } of [{ ...fixture, url: fixture.issuer.url }, app]) {
    const client = await register({ client_id: 'reader', scope: 'fleetgate.revocations' });
    const { access_token } = (await (await tokenFor(client)).json()) as { access_token: string };
    const headers = { authorization: `Bearer ${access_token}` };
    await fetch(`${url}/revocations`, { headers, signal: leaving.signal });
  }
  await vi.waitFor(async () => expect(await readers()).toBe(2));
  leaving.abort();
  await vi.waitFor(async () => expect(await readers()).toBe(0));
});

test('one observer is of one issuer', async () => {
  const observer = prometheusObserver(new Registry());
  await issuerFixture({ observer });
  await expect(issuerFixture({ observer })).rejects.toThrow(TypeError);
});

test('the line of a refused request in the log has the same reason, and one that was served has none', async () => {
  const lines: string[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(line) });
  const fixture = await issuerFixture({ log });
  const client = await fixture.register({ client_id: 'a' });
  await fixture.tokenFor(client);
  await fixture.tokenFor({ ...client, client_secret: 'wrong' });
  await fixture.call('POST', '/v1/clients/a/quarantine', { reason: 'stolen' });
  await fixture.tokenFor(client);
  const requests = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  const served = requests.filter(({ msg, route }) => msg === 'request' && route === '/oauth/token');
  expect(served.map(({ status, reason }) => [status, reason])).toEqual([
    [200, undefined],
    [401, 'invalid_client'],
    [401, 'client_quarantined'],
  ]);
});
