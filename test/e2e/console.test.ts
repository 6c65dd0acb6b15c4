import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MqttClient } from 'mqtt';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connackOf, connectPacket, rawClient } from '../support/broker-raw-client.ts';
import { isChromiumMissing, seriousFindings, watchedPage } from '../support/browser.ts';
import {
  type ConsoleFixture,
  signedOut,
  startConsoleFixture,
  takePictures,
} from '../support/console-fixture.ts';
import { enroll, enrollingDevice } from '../support/enrolling-device.ts';
import { type RunningFleetgate, requestToken, runFleetgate } from '../support/fleetgate-process.ts';

const AGENTS = 200;

let fixture: ConsoleFixture;
let fleet: RunningFleetgate;
let browser: Browser;
let origin: string;

const admin: ConsoleFixture['admin'] = (...request) => fixture.admin(...request);
const device = (id: string): Promise<MqttClient> => fixture.device(id);
const signIn = (page: Page, key?: string) => fixture.signIn(page, key);

beforeAll(async () => {
  if (isChromiumMissing) return;
  fixture = await startConsoleFixture([], AGENTS);
  ({ fleet, browser, origin } = fixture);
}, 120_000);

afterAll(() => fixture?.close());

test.skipIf(isChromiumMissing)('every page works without a fault, and is legible to all', async () => {
  const context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] });
  const { page, faults } = await watchedPage(context, origin, signedOut);
  await signIn(page);
  await page.getByText('live', { exact: true }).waitFor();
  await page.getByRole('img', { name: new RegExp(`Connections: connections ${AGENTS}`) }).waitFor();
  for (const name of ['CONNECT', 'Tokens', 'Publishes', 'Refusals', 'Connections']) {
    await page.getByRole('button', { name: new RegExp(`^${name} `) }).click();
    await page.getByRole('heading', { name, exact: true }).waitFor();
  }
  expect(await seriousFindings(page)).toEqual([]);
  await takePictures(page, 'overview');

  await page.getByRole('link', { name: 'Clients' }).click();
  await page.getByRole('link', { name: 'sensor-003' }).waitFor();
  await page.getByLabel(/^Selector/).fill('client_id=sensor-001');
  await page.getByRole('button', { name: 'Find' }).click();
  await page.getByRole('link', { name: 'sensor-003' }).waitFor({ state: 'detached' });
  expect(await page.getByRole('link', { name: 'sensor-001' }).count()).toBe(1);
  await page.getByLabel(/^Selector/).fill('');
  await page.getByRole('button', { name: 'Find' }).click();
  expect(await seriousFindings(page)).toEqual([]);
  await takePictures(page, 'clients');

  const refused = await device('trespasser');
  refused.publish('devices/sensor-200/telemetry/<img src=x onerror=alert(1)>', 'x');
  await page.getByRole('link', { name: 'Refusals' }).click();
  await page
    .getByRole('cell', { name: /<img src=x onerror=alert/ })
    .first()
    .waitFor();
  await page.getByRole('img', { name: /no_rule devices\/sensor-N\/telemetry/ }).waitFor();
  const stranger = await rawClient(fleet.ready['mqtt'] as string);
  expect(await connackOf(stranger, connectPacket('stranger', 'a-shared-password'))).toBe(4);
  await page.getByRole('cell', { name: 'says it is stranger', exact: true }).waitFor();
  expect(await page.getByRole('link', { name: /stranger/ }).count()).toBe(0);
  expect(await page.content()).not.toContain('a-shared-password');
  await page.getByLabel('Reason, client, topic or action').fill('trespasser');
  await expect.poll(() => page.getByRole('button', { name: 'Why' }).count()).toBe(1);
  await page.getByRole('button', { name: 'Why' }).click();
  const why = page.getByRole('dialog');
  await why.getByText(/^Nearest: .* level 2 is/).waitFor();
  await why.getByText(/fleetgate policy explain --client-id trespasser --scope/).waitFor();
  await why.getByText('It holds: telemetry.write commands.read').waitFor();
  const copy = why.getByRole('button', { name: 'Copy' });
  await copy.first().click();
  expect(await page.evaluate('navigator.clipboard.readText()')).toContain('policy explain');
  await copy.last().click();
  const expectations = join(fixture.data, 'expectations.yaml');
  writeFileSync(expectations, `${await page.evaluate('navigator.clipboard.readText()')}\n`);
  const tested = await runFleetgate(['policy', 'test', expectations, '--data', fixture.data]);
  expect([tested.code, tested.stdout]).toEqual([0, '1 passed, 0 failed\n']);
  await page.keyboard.press('Escape');
  await why.waitFor({ state: 'detached' });
  expect(await seriousFindings(page)).toEqual([]);
  await page.getByLabel('Reason, client, topic or action').fill('');
  await takePictures(page, 'refusals');

  await page.getByRole('link', { name: 'trespasser' }).first().click();
  await page.getByRole('heading', { name: /trespasser/ }).waitFor();
  await page.getByText('It is not connected.').waitFor();
  await page.getByText('Last refusals').waitFor();
  expect(await seriousFindings(page)).toEqual([]);
  await takePictures(page, 'client');

  await page.getByRole('link', { name: 'Topic access' }).click();
  const attempt = page.getByRole('region', { name: 'Try an attempt' });
  await attempt.getByLabel('Client', { exact: true }).fill('sensor-001');
  await attempt.getByLabel('Topic, or filter').fill('devices/sensor-001/telemetry/t');
  await attempt.getByRole('button', { name: 'Decide' }).click();
  await attempt.getByText('allowed', { exact: true }).waitFor();
  await attempt.getByLabel('Action').selectOption('subscribe');
  await attempt.getByRole('button', { name: 'Decide' }).click();
  await attempt.getByText('refused: no_rule').waitFor();
  await attempt.getByText('Scopes that would allow it: fleet.observe', { exact: true }).waitFor();
  const who = page.getByRole('region', { name: 'Who may' });
  await who.getByLabel('Topic, or filter').fill('devices/sensor-002/telemetry/t');
  await who.getByRole('button', { name: 'Find' }).click();
  await who.getByText(/^1 of \d+ clients/).waitFor();
  await who.getByRole('link', { name: 'sensor-002' }).waitFor();
  expect(await seriousFindings(page)).toEqual([]);
  await takePictures(page, 'topics');

  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Admin API key').waitFor();
  expect(await seriousFindings(page)).toEqual([]);
  await takePictures(page, 'sign-in');
  expect(faults).toEqual([]);
  await context.close();
});

test.skipIf(isChromiumMissing)(
  'a client is registered, rotated, quarantined, released and deleted',
  async () => {
    const context = await browser.newContext();
    const { page, faults } = await watchedPage(context, origin, signedOut);
    await signIn(page);
    await page.getByRole('link', { name: 'Clients' }).click();
    await page.getByRole('button', { name: 'Register a client' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Client id').fill('press-1');
    await dialog.getByLabel(/^Scopes/).fill('telemetry.write');
    await dialog.getByLabel('Name, for people').fill('<b>Press</b>');
    await dialog.getByRole('button', { name: 'Register' }).click();
    const secret = (await dialog.locator('code').textContent()) ?? '';
    expect((await requestToken(fleet.ready['issuer'] as string, 'press-1', secret)).status).toBe(200);
    const download = page.waitForEvent('download');
    await dialog.getByRole('button', { name: 'Download' }).click();
    expect((await download).suggestedFilename()).toBe('press-1.secret.json');
    await page.keyboard.press('Escape');
    await page.getByRole('link', { name: 'press-1' }).click();
    await page.getByText('<b>Press</b>').waitFor();
    expect(await page.content()).not.toContain(secret);

    await page.getByRole('button', { name: 'New secret' }).click();
    await page.getByRole('button', { name: 'Make it' }).click();
    await page.getByText('This secret is shown once.').waitFor();
    const next = (await page.getByRole('dialog').locator('code').textContent()) ?? '';
    expect(next).not.toBe(secret);
    await page.getByRole('dialog').getByRole('button', { name: 'Download' }).click();
    await page.keyboard.press('Escape');

    await page.getByRole('button', { name: 'Quarantine' }).click();
    await page.getByLabel('Reason, for the audit trail').fill('seen elsewhere');
    await page.getByRole('dialog').getByRole('button', { name: 'Quarantine' }).click();
    await page.getByText('seen elsewhere').waitFor();
    expect((await requestToken(fleet.ready['issuer'] as string, 'press-1', next)).status).not.toBe(200);
    await page.getByRole('button', { name: 'Release' }).click();
    await page.getByText('It is in quarantine because: seen elsewhere').waitFor();
    expect((await requestToken(fleet.ready['issuer'] as string, 'press-1', next)).status).not.toBe(200);
    await page.getByRole('dialog').getByRole('button', { name: 'Release' }).click();
    await page.getByRole('button', { name: 'Quarantine' }).waitFor();
    expect((await requestToken(fleet.ready['issuer'] as string, 'press-1', next)).status).toBe(200);

    await page.getByRole('button', { name: 'Delete' }).click();
    await page.getByLabel('Type press-1 to confirm').fill('press-1');
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('heading', { name: 'Clients' }).waitFor();
    expect((await admin('GET', '/clients/press-1')).status).toBe(404);
    expect(faults).toEqual([]);
    await context.close();
  },
);

test.skipIf(isChromiumMissing)(
  'keys, secrets that end, who waits to be let in, and the audit trail',
  async () => {
    await admin('POST', '/clients', {
      client_id: 'ending',
      scope: 'telemetry.write',
      secret_expires_at: Math.floor(Date.now() / 1000) + 3 * 86_400,
    });
    await admin('PUT', '/templates/box', { id: 'box-{serial}', scope: 'telemetry.write' });
    const issuer = fleet.ready['issuer'] as string;
    for (const serial of ['B1', 'B2']) {
      const made = await admin('POST', '/enrollments', {
        template: 'box',
        device: { serial },
        approval: true,
      });
      const { claim_code } = (await made.json()) as { claim_code: string };
      const { nonce } = enrollingDevice();
      expect((await enroll(issuer, { claim_code, nonce })).body).toMatchObject({ status: 'pending' });
    }
    const context = await browser.newContext();
    const { page, faults } = await watchedPage(context, origin, signedOut);
    await signIn(page);
    await page.getByRole('link', { name: '1 secret ends within a week.' }).waitFor();

    await page.getByRole('link', { name: 'Keys' }).click();
    await page.getByLabel('within a week: 1').waitFor();
    await page.getByRole('link', { name: 'ending' }).waitFor();
    await page.getByText('active', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Rotate' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Rotate' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    const started = await admin('POST', '/campaigns', { selector: 'group=plant-7' });
    const { campaign_id: campaign } = (await started.json()) as { campaign_id: string };
    await page.getByRole('link', { name: 'Audit' }).click();
    await page.getByRole('link', { name: 'Keys' }).click();
    const row = page.getByRole('row', { name: new RegExp(campaign) });
    for (const [verb, state] of [
      ['Pause', 'paused'],
      ['Resume', 'running'],
      ['Cancel', 'cancelled'],
    ] as const) {
      await row.getByRole('button', { name: verb }).click();
      await row.getByText(state, { exact: true }).waitFor();
    }
    expect(await (await admin('GET', `/campaigns/${campaign}`)).json()).toMatchObject({ state: 'cancelled' });
    expect(await seriousFindings(page)).toEqual([]);
    await takePictures(page, 'keys');

    await page.getByRole('link', { name: 'Provisioning' }).click();
    await page.getByRole('cell', { name: 'box-B1' }).waitFor();
    await page
      .getByRole('row', { name: /box-B1/ })
      .getByRole('button', { name: 'Let in' })
      .click();
    await page.getByRole('cell', { name: 'box-B1' }).waitFor({ state: 'detached' });
    await page
      .getByRole('row', { name: /box-B2/ })
      .getByRole('button', { name: 'Reject' })
      .click();
    await page.getByLabel(/^Reason/).fill('not ours');
    await page.getByRole('dialog').getByRole('button', { name: 'Reject' }).click();
    await page.getByText('No device waits.').waitFor();
    const rejected = await admin('GET', '/enrollment-requests?state=rejected');
    expect(await rejected.json()).toMatchObject({ requests: [{ client_id: 'box-B2', reason: 'not ours' }] });
    expect(await seriousFindings(page)).toEqual([]);
    await takePictures(page, 'provisioning');

    await page.getByRole('link', { name: 'Audit' }).click();
    await page.getByLabel('Target').fill('ending');
    await page.getByRole('button', { name: 'Find' }).click();
    const created = page.getByRole('row', { name: /client\.create/ });
    await expect.poll(() => created.count(), { timeout: 10_000 }).toBe(1);
    await created.getByRole('button').click();
    await page.getByRole('dialog').getByText('previous_hash').waitFor();
    await page.keyboard.press('Escape');
    expect(await seriousFindings(page)).toEqual([]);
    await takePictures(page, 'audit');
    expect(faults).toEqual([]);
    await context.close();
  },
);

test.skipIf(isChromiumMissing)('a session is shown as it is, with what it subscribed to', async () => {
  const client = await device('watched');
  await client.subscribeAsync('devices/watched/commands/#');
  const context = await browser.newContext();
  const { page, faults } = await watchedPage(context, origin, signedOut);
  await signIn(page);
  await page.goto(`${origin}/console/#/clients/watched`);
  const sessions = page.getByRole('region', { name: 'Sessions' });
  await sessions.getByText('devices/watched/commands/#').waitFor();
  await sessions.getByText(/^1\d min \d+ s$/).waitFor();
  client.end(true);
  await sessions.getByText('It is not connected.').waitFor();
  expect(await seriousFindings(page)).toEqual([]);
  expect(faults).toEqual([]);
  await context.close();
});

test.skipIf(isChromiumMissing)('an auditor sees and changes nothing', async () => {
  const made = await admin('POST', '/api-keys', { name: 'looker', role: 'auditor' });
  const { api_key: key } = (await made.json()) as { api_key: string };
  const context = await browser.newContext();
  const { page, faults } = await watchedPage(context, origin, signedOut);
  await signIn(page, key);
  await page.getByText('looker (auditor)').waitFor();
  await page.getByRole('link', { name: 'Clients' }).click();
  await page.getByRole('link', { name: 'sensor-002' }).click();
  await page.getByRole('heading', { name: /sensor-002/ }).waitFor();
  for (const name of ['New secret', 'Quarantine', 'Delete']) {
    expect(await page.getByRole('button', { name }).count(), name).toBe(0);
  }
  const status = await page.evaluate(() =>
    fetch('./api/v1/clients/sensor-002', { method: 'DELETE' }).then((answer) => answer.status),
  );
  expect(status).toBe(403);
  // Of a key that is gone nobody is signed in.
  expect((await admin('DELETE', '/api-keys/looker')).status).toBeLessThan(300);
  await page.getByRole('link', { name: 'Clients' }).first().click();
  await page.getByLabel('Admin API key').waitFor();
  expect(faults.filter((fault) => !/403 \(Forbidden\)/.test(fault))).toEqual([]);
  await context.close();
});
