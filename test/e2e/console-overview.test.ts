import mqtt from 'mqtt';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { explained } from '../../cli/explained.ts';
import { isChromiumMissing, seriousFindings, watchedPage } from '../support/browser.ts';
import {
  type ConsoleFixture,
  signedOut,
  startConsoleFixture,
  takePictures,
} from '../support/console-fixture.ts';
import { enroll, enrollingDevice } from '../support/enrolling-device.ts';
import { requestToken } from '../support/fleetgate-process.ts';

const DAY_SECONDS = 86_400;

let console: ConsoleFixture;

beforeAll(async () => {
  if (isChromiumMissing) return;
  console = await startConsoleFixture();
}, 120_000);
afterAll(() => console?.close());

const attention = (page: Page) => page.getByRole('region', { name: 'Needs attention' });

async function registered(id: string, more: object = {}): Promise<string> {
  const made = await console.admin('POST', '/clients', { client_id: id, scope: 'telemetry.write', ...more });
  expect(made.status).toBe(201);
  return ((await made.json()) as { client_secret: string }).client_secret;
}

async function tokenOf(id: string, secret: string): Promise<string> {
  const answer = await requestToken(console.fleet.ready['issuer'] as string, id, secret);
  return ((await answer.json()) as { access_token: string }).access_token;
}

/** A CONNECT that is refused. */
async function isRefused(clientId: string, username: string, password: string): Promise<void> {
  const url = console.fleet.ready['mqtt'] as string;
  await expect(
    mqtt.connectAsync(url, { clientId, username, password, reconnectPeriod: 0 }, false),
  ).rejects.toThrow();
}

test.skipIf(isChromiumMissing)('the overview counts what needs attention, and leads there', async () => {
  const { admin, browser, fleet, origin, signIn } = console;
  const context = await browser.newContext();
  const { page, faults } = await watchedPage(context, origin, signedOut);
  await signIn(page);
  await attention(page).getByText('Nothing.').waitFor();

  const end = (days: number) => Math.floor(Date.now() / 1000 + days * DAY_SECONDS);
  await registered('ends-0', { secret_expires_at: end(0.5) });
  for (let n = 1; n < 7; n += 1) await registered(`ends-${n}`, { secret_expires_at: end(3) });
  await registered('ends-later', { secret_expires_at: end(60) });
  await registered('lost');
  await admin('POST', '/clients/lost/quarantine', { reason: 'seen elsewhere' });
  await admin('PUT', '/templates/box', { id: 'box-{serial}', scope: 'telemetry.write' });
  const made = await admin('POST', '/enrollments', {
    template: 'box',
    device: { serial: 'B1' },
    approval: true,
  });
  const { claim_code } = (await made.json()) as { claim_code: string };
  const { nonce } = enrollingDevice();
  await enroll(fleet.ready['issuer'] as string, { claim_code, nonce });
  const started = await admin('POST', '/campaigns', { selector: 'client_id=ends-0' });
  const { campaign_id: campaign } = (await started.json()) as { campaign_id: string };
  await admin('POST', `/campaigns/${campaign}/pause`, { reason: 'lunch' });
  for (const id of ['a', 'b', 'c']) await isRefused(id, id, 'no token');

  await page.reload();
  const ways = [
    [/^7 secrets end within a week\.$/, 'Clients', 'ends-6'],
    [/^1 client is in quarantine\.$/, 'Clients', 'lost'],
    [/^1 device waits for approval\.$/, 'Provisioning', 'box-B1'],
    [/^1 rotation campaign is paused\.$/, 'Credentials and keys', campaign],
    [/^3 refusals in the last 5 minutes: token_malformed\.$/, 'Refusals', 'token_malformed'],
  ] as const;
  for (const [name] of ways) await attention(page).getByRole('link', { name }).waitFor();
  expect(await seriousFindings(page)).toEqual([]);
  await takePictures(page, 'attention');
  for (const [name, heading, found] of ways) {
    await attention(page).getByRole('link', { name }).click();
    await page.getByRole('heading', { name: heading, exact: true }).waitFor();
    await page.locator('table').getByText(found, { exact: true }).first().waitFor();
    await page.goBack();
  }

  // Each bar holds those before it, as the filter of Clients does.
  await page.getByRole('link', { name: 'Keys' }).click();
  for (const name of ['within a day: 1', 'within a week: 7', 'within 30 days: 7', 'within 90 days: 8']) {
    await page.getByLabel(name, { exact: true }).waitFor();
  }
  expect(faults).toEqual([]);
  await context.close();
});

test.skipIf(isChromiumMissing)('a refusal that no rule decides is explained by its code', async () => {
  const { browser, origin, signIn } = console;
  const token = await tokenOf('pump-1', await registered('pump-1'));
  await isRefused('pump-10', 'pump-1', token);
  await console.admin('POST', '/clients/pump-1/quarantine', { reason: 'lost' });
  await isRefused('pump-1', 'pump-1', token);
  const context = await browser.newContext();
  const { page, faults } = await watchedPage(context, origin, signedOut);
  await signIn(page);
  await page.getByRole('link', { name: 'Refusals', exact: true }).click();
  const rows = page.getByRole('region', { name: 'Latest' }).getByRole('row');

  // By a reason, and back.
  const reasons = page.getByRole('region', { name: 'By reason' });
  await reasons.getByRole('link', { name: 'client_id_mismatch' }).click();
  await expect.poll(() => rows.count()).toBe(2);
  expect(new URL(page.url()).hash).toBe('#/refusals?find=client_id_mismatch');
  await page.goBack();
  await reasons.getByRole('link', { name: 'client_quarantined' }).waitFor();

  // What is typed is in the address, and a link is opened by somebody else.
  const find = page.getByLabel('Reason, client, topic or action');
  await find.pressSequentially('client_id_mismatch');
  await expect.poll(() => new URL(page.url()).hash).toBe('#/refusals?find=client_id_mismatch');
  const other = await context.newPage();
  await other.goto(page.url());
  await other.getByRole('link', { name: 'pump-1', exact: true }).waitFor();
  expect(await other.getByLabel('Reason, client, topic or action').inputValue()).toBe('client_id_mismatch');
  await other.close();

  for (const reason of ['client_quarantined', 'client_id_mismatch', 'token_malformed']) {
    await find.fill(reason);
    await rows.getByRole('button', { name: 'Why' }).first().click();
    const why = page.getByRole('dialog', { name: `Refused: ${reason}` });
    await why.getByText(explained.find(({ code }) => code === reason)?.text as string).waitFor();
    await why.getByText(`fleetgate explain ${reason}`, { exact: true }).waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    if (reason === 'client_quarantined') await takePictures(page, 'refusal-code');
    await page.keyboard.press('Escape');
    await why.waitFor({ state: 'detached' });
  }
  await find.fill('client_id_mismatch');
  await rows.getByRole('button', { name: 'Why' }).click();
  await page.getByRole('dialog').getByRole('link', { name: 'pump-1', exact: true }).click();
  await page.getByRole('heading', { name: /pump-1/ }).waitFor();
  expect(faults).toEqual([]);
  await context.close();
});

test.skipIf(isChromiumMissing)(
  'the chart has the hours of the tables, wherever it is looked at',
  async () => {
    const { browser, origin, signIn } = console;
    const context = await browser.newContext({ timezoneId: 'Asia/Kathmandu', locale: 'en-US' });
    const { page, faults } = await watchedPage(context, origin, signedOut);
    await page.addInitScript(`
    globalThis.drawn = [];
    const { fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...more) {
      globalThis.drawn.push(text);
      return fillText.call(this, text, ...more);
    };
  `);
    await signIn(page);
    await page.getByRole('img', { name: /^Connections/ }).waitFor();
    const hours = async () =>
      ((await page.evaluate('drawn')) as string[]).filter((text) => text.includes(':') || /[ap]m/.test(text));
    await expect.poll(async () => (await hours()).length).toBeGreaterThan(0);
    const now = Date.now();
    for (const text of await hours()) {
      expect(text).toMatch(/^\d\d:\d\d(:\d\d)?Z$/);
      const ago = (now - Date.parse(`${new Date(now).toISOString().slice(0, 10)}T${text}`)) / 1000;
      expect((ago + DAY_SECONDS) % DAY_SECONDS, text).toBeLessThan(900);
    }
    expect(faults).toEqual([]);
    await context.close();
  },
);
