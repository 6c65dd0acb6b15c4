import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isChromiumMissing, seriousFindings, watchedPage } from '../support/browser.ts';
import {
  type ConsoleFixture,
  signedOut,
  startConsoleFixture,
  takePictures,
} from '../support/console-fixture.ts';
import { runFleetgate } from '../support/fleetgate-process.ts';

let console: ConsoleFixture;

beforeAll(async () => {
  if (!isChromiumMissing) console = await startConsoleFixture();
}, 120_000);
afterAll(() => console?.close());

test.skipIf(isChromiumMissing)('what differs between two versions of a client is shown', async () => {
  const { admin, browser, origin, signIn } = console;
  await admin('POST', '/clients', {
    client_id: 'press-1',
    scope: 'telemetry.write',
    labels: { hw: 'rev-a' },
  });
  const change = (body: object) => admin('PATCH', '/clients/press-1', body);
  await change({ scope: 'telemetry.write commands.read', name: '<img src=x onerror=alert(1)>' });
  await change({ labels: { hw: 'rev-b' }, metadata: { wifi: 'hunter2' } });
  await change({ labels: { hw: 'rev-a' } });
  const context = await browser.newContext();
  const { page, faults } = await watchedPage(context, origin, signedOut);
  await signIn(page);
  await page.getByRole('link', { name: 'Audit' }).click();
  await page.getByLabel('Target').fill('press-1');
  await page.getByRole('button', { name: 'Find' }).click();
  const updates = page.getByRole('region', { name: 'Events' }).getByRole('row', { name: /client\.update/ });
  await expect.poll(() => updates.count(), { timeout: 10_000 }).toBe(3);
  // What it is narrowed by is a link, which the page of the client has too.
  expect(new URL(page.url()).hash).toBe('#/audit?target=press-1');
  await page.goto(`${origin}/console/#/clients/press-1`);
  await page.getByRole('link', { name: /on the Audit page/ }).click();
  await expect.poll(() => updates.count(), { timeout: 10_000 }).toBe(3);
  expect(await page.getByLabel('Target').inputValue()).toBe('press-1');

  // One act: the newest is above.
  await updates.nth(1).getByRole('button').click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('row', { name: 'labels.hw rev-a rev-b' }).waitFor();
  await dialog.getByRole('row', { name: 'metadata.wifi not kept not kept' }).waitFor();
  expect(await seriousFindings(page)).toEqual([]);
  await page.keyboard.press('Escape');

  const versions = page.getByRole('region', { name: 'Versions of a client' });
  await versions.getByRole('button', { name: 'Compare' }).click();
  await versions
    .getByRole('row', { name: /^scope telemetry\.write telemetry\.write commands\.read$/ })
    .waitFor();
  await versions.getByRole('row', { name: 'name unset <img src=x onerror=alert(1)>' }).waitFor();
  expect(await versions.locator('ins').allTextContents()).toContain(' commands.read');
  // What was changed and changed back is the same.
  expect(await versions.getByRole('row', { name: /labels\.hw/ }).count()).toBe(0);
  await versions.getByLabel('To').selectOption({ index: 2 });
  await versions.getByRole('row', { name: 'labels.hw rev-a rev-b' }).waitFor();
  expect(await seriousFindings(page)).toEqual([]);
  await takePictures(page, 'audit-versions');
  expect(await page.content()).not.toContain('hunter2');
  expect(faults).toEqual([]);
  await context.close();
});

test.skipIf(isChromiumMissing)(
  'the chain is verified in the page, exported, and a broken row named',
  async () => {
    const { browser, data, origin, signIn } = console;
    const context = await browser.newContext();
    const { page, faults } = await watchedPage(context, origin, signedOut);
    await signIn(page);
    await page.getByRole('link', { name: 'Audit' }).click();
    const chain = page.getByRole('region', { name: 'The chain' });
    await chain.getByRole('button', { name: 'Verify' }).click();
    await chain.getByText('whole', { exact: true }).waitFor();
    const checkpoint = (await chain.locator('.copyable code').textContent()) ?? '';
    expect(checkpoint).toMatch(/^\d+:[0-9a-f]{64}$/);
    expect(await seriousFindings(page)).toEqual([]);
    await takePictures(page, 'audit-chain');

    const download = page.waitForEvent('download');
    await chain.getByRole('link', { name: 'Export all' }).click();
    const file = await download;
    expect(file.suggestedFilename()).toBe('audit.jsonl');
    const copy = join(data, 'copy.jsonl');
    writeFileSync(copy, readFileSync(await file.path()), { mode: 0o600 });
    const verified = await runFleetgate(['audit', 'verify', '--file', copy, '--expect', checkpoint]);
    expect(verified.stdout).toMatch(/^whole: \d+ rows/);

    await chain
      .getByLabel(/^A checkpoint/)
      .fill(checkpoint.replace(/.$/, (last) => (last === '0' ? '1' : '0')));
    await chain.getByRole('button', { name: 'Verify' }).click();
    await chain.getByText('cut off, rewritten or restored').waitFor();

    const database = new Sqlite(join(data, 'fleetgate.db'));
    database.exec(
      "DROP TRIGGER audit_is_never_changed; UPDATE audit SET actor = 'admin:eve' WHERE sequence = 2",
    );
    database.close();
    await chain.getByLabel(/^A checkpoint/).fill('');
    await chain.getByRole('button', { name: 'Verify' }).click();
    await chain.getByText('is not what was recorded').waitFor();
    await takePictures(page, 'audit-broken');
    await chain.getByRole('button', { name: '2', exact: true }).click();
    await page.getByRole('dialog').getByText('admin:eve').waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    expect(faults).toEqual([]);
    await context.close();
  },
);
