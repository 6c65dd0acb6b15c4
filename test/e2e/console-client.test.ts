import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connackOf, connectPacket, rawClient } from '../support/broker-raw-client.ts';
import { isChromiumMissing, seriousFindings, watchedPage } from '../support/browser.ts';
import {
  type ConsoleFixture,
  signedOut,
  startConsoleFixture,
  takePictures,
} from '../support/console-fixture.ts';
import { requestToken } from '../support/fleetgate-process.ts';

let console: ConsoleFixture;

beforeAll(async () => {
  if (isChromiumMissing) return;
  console = await startConsoleFixture();
}, 120_000);
afterAll(() => console?.close());

const ask = (id: string, secret: string) =>
  requestToken(console.fleet.ready['issuer'] as string, id, secret).then(({ status }) => status);

/** Makes a secret in the page, with what becomes of the old one. */
async function newSecret(page: Page, overlap: string): Promise<string> {
  await page.getByRole('button', { name: 'New secret' }).click();
  await page.getByRole('dialog').getByLabel(overlap).check();
  expect(await seriousFindings(page)).toEqual([]);
  await page.getByRole('button', { name: 'Make it' }).click();
  await page.getByText('This secret is shown once.').waitFor();
  const secret = (await page.getByRole('dialog').locator('code').textContent()) ?? '';
  // Of what nobody has taken along a first Escape warns.
  await page.keyboard.press('Escape');
  await page.getByText('Close once more to lose it.').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  return secret;
}

test.skipIf(isChromiumMissing)(
  'what becomes of the old secret is chosen, and one is ended alone',
  async () => {
    const { admin, browser, fleet, origin, signIn } = console;
    const made = await admin('POST', '/clients', { client_id: 'pump', scope: 'telemetry.write' });
    const { client_secret: first } = (await made.json()) as { client_secret: string };
    const context = await browser.newContext();
    const { page, faults } = await watchedPage(context, origin, signedOut);
    await signIn(page);
    await page.goto(`${origin}/console/#/clients/pump`);
    const rows = page.getByRole('region', { name: 'Secrets' }).getByRole('row', { name: / live / });

    const second = await newSecret(page, 'the old one goes on for 7 days');
    await expect.poll(() => rows.count()).toBe(2);
    expect([await ask('pump', first), await ask('pump', second)]).toEqual([200, 200]);

    // The first, which has an end.
    const ending = rows.filter({ hasNotText: 'no end' });
    await ending.getByRole('button', { name: 'End' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('Tokens that it got stay good').waitFor();
    expect(await dialog.getByText('the last live one').count()).toBe(0);
    await page.keyboard.press('Escape');
    expect(await ask('pump', first)).toBe(200);
    await ending.getByRole('button', { name: 'End' }).click();
    await dialog.getByRole('button', { name: 'End' }).click();
    await expect.poll(() => rows.count()).toBe(1);
    expect([await ask('pump', first), await ask('pump', second)]).toEqual([401, 200]);

    const third = await newSecret(page, 'the old one ends when the new one is used');
    await rows.getByText('when the new one is used').waitFor();
    expect(await ask('pump', second)).toBe(200);

    const old = await requestToken(fleet.ready['issuer'] as string, 'pump', second);
    const { access_token: token } = (await old.json()) as { access_token: string };
    const fourth = await newSecret(page, 'the old one ends now, and its tokens are revoked');
    await expect.poll(() => rows.count()).toBe(1);
    expect([await ask('pump', second), await ask('pump', third)]).toEqual([401, 401]);
    const connack = async () =>
      connackOf(await rawClient(fleet.ready['mqtt'] as string), connectPacket('pump', token));
    await expect.poll(connack).toBe(4);
    expect(await ask('pump', fourth)).toBe(200);
    await rows.getByRole('button', { name: 'End' }).click();
    await dialog.getByText('It is the last live one').waitFor();
    await takePictures(page, 'secret-end');
    expect(faults).toEqual([]);
    await context.close();
  },
);

test.skipIf(isChromiumMissing)('the last refusals of a client lead to why, and to all of them', async () => {
  const { browser, device, origin, signIn } = console;
  for (const id of ['valve-1', 'valve-10']) (await device(id)).publish('elsewhere/t', 'x');
  const stranger = await rawClient(console.fleet.ready['mqtt'] as string);
  expect(await connackOf(stranger, connectPacket('valve-1', 'no token'))).toBe(4);
  const context = await browser.newContext();
  const { page, faults } = await watchedPage(context, origin, signedOut);
  await signIn(page);
  await page.goto(`${origin}/console/#/clients/valve-1`);
  const last = page.getByRole('region', { name: 'Last refusals' });
  await last.getByRole('heading', { name: 'What the issuer did for it' }).waitFor();
  await last.getByRole('row', { name: /connect says it is valve-1 token_malformed/ }).waitFor();
  await last
    .getByRole('row', { name: /no_rule/ })
    .getByRole('button', { name: 'Why' })
    .click();
  await page
    .getByRole('dialog')
    .getByText(/fleetgate policy explain --client-id valve-1 --scope/)
    .waitFor();
  await page.keyboard.press('Escape');
  expect(await seriousFindings(page)).toEqual([]);
  await takePictures(page, 'client-refusals');
  await last.getByRole('link', { name: 'All on the Refusals page' }).click();
  await page.getByRole('heading', { name: 'Refusals', exact: true }).waitFor();
  const rows = page.getByRole('region', { name: 'Latest' }).getByRole('row');
  await rows.getByText('elsewhere/t').waitFor();
  expect(await rows.count()).toBe(3);
  expect(await rows.getByText('valve-10').count()).toBe(0);
  expect(faults).toEqual([]);
  await context.close();
});
