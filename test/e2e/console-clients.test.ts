import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isChromiumMissing, seriousFindings, watchedPage } from '../support/browser.ts';
import {
  type ConsoleFixture,
  signedOut,
  startConsoleFixture,
  takePictures,
} from '../support/console-fixture.ts';
import { requestToken, runFleetgate } from '../support/fleetgate-process.ts';

const DAY_MS = 86_400_000;

let console: ConsoleFixture;

beforeAll(async () => {
  if (isChromiumMissing) return;
  console = await startConsoleFixture();
  const end = (days: number) => new Date(Date.now() + days * DAY_MS).toISOString();
  await register('press-1', { group: 'plant-7', labels: { hw: 'rev-a' } });
  await register('press-2', { group: 'plant-7', labels: { hw: 'rev-b' }, secret_expires_at: end(3) });
  await register('press-3', { group: 'plant-8', labels: { group: 'x' }, secret_expires_at: end(60) });
  await register('press-4', { group: 'plant-8' });
  await console.admin('POST', '/clients/press-4/quarantine', { reason: 'lost' });
  // What takes months.
  const database = new Sqlite(join(console.data, 'fleetgate.db'));
  database
    .prepare("UPDATE clients SET last_seen_at_ms = ? WHERE client_id = 'press-3'")
    .run(Date.now() - 50 * DAY_MS);
  database
    .prepare(`UPDATE client_secrets SET made_until_ms = NULL, expires_at_ms = ?
      WHERE registration = (SELECT registration FROM clients WHERE client_id = 'press-1')`)
    .run(Date.now() - DAY_MS);
  database.close();
}, 120_000);
afterAll(() => console?.close());

async function register(id: string, more: object): Promise<void> {
  const made = await console.admin('POST', '/clients', { client_id: id, scope: 'telemetry.write', ...more });
  const { client_secret: secret } = (await made.json()) as { client_secret: string };
  if (id === 'press-2') await requestToken(console.fleet.ready['issuer'] as string, id, secret);
}

/** The ids that the page lists, as soon as they are these. */
async function lists(page: Page, ...ids: string[]): Promise<void> {
  const list = page.getByRole('region', { name: 'Clients' });
  await expect.poll(() => list.getByRole('link').allTextContents(), { timeout: 10_000 }).toEqual(ids);
}

test.skipIf(isChromiumMissing)(
  'clients are found by each filter, and a filtered list is a link',
  async () => {
    const { browser, origin, signIn } = console;
    const context = await browser.newContext();
    const { page, faults } = await watchedPage(context, origin, signedOut);
    await signIn(page);
    await page.getByRole('link', { name: '1 secret ends within a week.' }).click();
    await lists(page, 'press-2');
    await page.getByRole('link', { name: 'Clients' }).click();
    await lists(page, 'press-1', 'press-2', 'press-3', 'press-4');
    const clear = page.getByRole('button', { name: 'Clear' });

    await page.getByLabel('State').selectOption('quarantined');
    await lists(page, 'press-4');
    expect(new URL(page.url()).hash).toBe('#/clients?state=quarantined');
    await clear.click();
    await lists(page, 'press-1', 'press-2', 'press-3', 'press-4');

    await page.getByLabel('Last token').selectOption('never');
    await lists(page, 'press-1', 'press-4');
    await page.getByLabel('Last token').selectOption('longer ago than 30 days');
    await lists(page, 'press-3');
    await page.getByLabel('Last token').selectOption('within a day');
    await lists(page, 'press-2');
    const today = new Date().toISOString().slice(0, 10);
    await page.getByRole('row', { name: new RegExp(`press-2 .*${today}`) }).waitFor();
    await clear.click();

    await page.getByLabel('Secrets').selectOption('end within a week');
    await lists(page, 'press-2');
    await page.getByLabel('Secrets').selectOption('have ended');
    await lists(page, 'press-1');
    await page.getByText(/^ended \d{4}-/).waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    await takePictures(page, 'clients-filtered');
    await clear.click();

    await page.getByLabel('Client id begins with').fill('press-3');
    await page.getByRole('button', { name: 'Find' }).click();
    await lists(page, 'press-3');
    expect(new URL(page.url()).hash).toBe('#/clients?id=press-3');
    await page.getByLabel('Client id begins with').fill('ress');
    await page.getByRole('button', { name: 'Find' }).click();
    await page.getByText("fleetgate client list --selector 'client_id=ress*'").waitFor();
    await clear.click();

    // By the keyboard alone: what is typed is looked for with Enter.
    await page.getByLabel('Group').focus();
    await page.keyboard.type('plant-8');
    await page.keyboard.press('Tab');
    await page.keyboard.type('group=x');
    await page.keyboard.press('Enter');
    await lists(page, 'press-3');
    const link = page.url();

    // Into a client and back again; and opened by somebody else.
    await page.getByRole('link', { name: 'press-3' }).click();
    await page.getByRole('heading', { name: /press-3/ }).waitFor();
    await page.goBack();
    await lists(page, 'press-3');
    const other = await context.newPage();
    await other.goto(link);
    await lists(other, 'press-3');
    expect(await other.getByLabel('Label, as hw=rev-a').inputValue()).toBe('group=x');
    expect(await other.getByLabel('Group').inputValue()).toBe('plant-8');
    expect(faults).toEqual([]);
    await context.close();
  },
);

test.skipIf(isChromiumMissing)('nobody found is said with the command that looks, too', async () => {
  const { browser, data, origin, signIn } = console;
  const context = await browser.newContext();
  const { page, faults } = await watchedPage(context, origin, [...signedOut, /400 \(Bad Request\)/]);
  await signIn(page);
  await page.goto(`${origin}/console/#/clients?group=plant-7&seen=last_seen%3E14d`);
  await page.getByText('No client matches.').waitFor();
  const command = (await page.locator('.empty code').textContent()) ?? '';
  expect(command).toBe("fleetgate client list --selector 'group=plant-7,last_seen>14d'");
  expect(await page.getByLabel('Last token').inputValue()).toBe('last_seen>14d');
  const [, selector = ''] = /'(.*)'$/.exec(command) ?? [];
  const listed = await runFleetgate(['client', 'list', '--data', data, '--selector', selector, '-q']);
  expect([listed.code, listed.stdout]).toEqual([0, '']);
  expect(await seriousFindings(page)).toEqual([]);

  await page.getByLabel(/^Selector/).fill('lastseen<7d');
  await page.getByRole('button', { name: 'Find' }).click();
  await page
    .getByRole('alert')
    .getByText(/< and > go with expires and last_seen/)
    .waitFor();
  expect(faults).toEqual([]);
  await context.close();
});

test.skipIf(isChromiumMissing)('pages lead on and back, also by the browser, and are links', async () => {
  const { admin, browser, origin, signIn } = console;
  const ids = Array.from({ length: 250 }, (_, n) => `meter-${String(n).padStart(3, '0')}`);
  await Promise.all(ids.map((id) => admin('POST', '/clients', { client_id: id })));
  const context = await browser.newContext();
  const { page, faults } = await watchedPage(context, origin, signedOut);
  await signIn(page);
  await page.goto(`${origin}/console/#/clients?selector=client_id%3Dmeter-*`);
  await lists(page, ...ids.slice(0, 100));
  await page.getByRole('button', { name: 'Next' }).click();
  await lists(page, ...ids.slice(100, 200));
  await page.getByRole('button', { name: 'Next' }).click();
  await lists(page, ...ids.slice(200));
  expect(await page.getByRole('button', { name: 'Next' }).isDisabled()).toBe(true);
  await page.reload();
  await lists(page, ...ids.slice(200));
  await page.getByRole('button', { name: 'Previous' }).click();
  await lists(page, ...ids.slice(100, 200));
  await page.goBack();
  await lists(page, ...ids.slice(200));
  expect(faults).toEqual([]);
  await context.close();
});
