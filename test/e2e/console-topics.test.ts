import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isChromiumMissing, seriousFindings, watchedPage } from '../support/browser.ts';
import {
  type ConsoleFixture,
  signedOut,
  startConsoleFixture,
  takePictures,
} from '../support/console-fixture.ts';
import { requestToken } from '../support/fleetgate-process.ts';

const hostile = '<img src=x onerror=alert(1)>';
const hostileScope = '<img/src=x/onerror=alert(1)>';
const policyText = `version: 1
scopes:
  telemetry.write:
    publish: [ 'devices/{client_id}/telemetry/#', { topic: 'devices/{client_id}/state', max_qos: 1, retain: true } ]
  commands.read: { subscribe: [ 'devices/{client_id}/commands/#' ] }
  fleet.observe: { subscribe: [ { topic: devices/+/telemetry/#, broader: filter } ] }
  operate: { publish: [ devices/# ] }
  odd: { publish: [ 'odd/${hostile}' ] }
deny:
  - { publish: [ devices/+/firmware/# ], unless: [ firmware.write ] }
`;
const newPolicyText = policyText
  .replace(
    "'devices/{client_id}/telemetry/#'",
    "{ topic: 'devices/{client_id}/telemetry/#', max_payload_bytes: 4096 }",
  )
  .replace('operate: { publish: [ devices/# ] }', 'operate: { publish: [ devices/+/commands/# ] }')
  .replace('deny:', `  '${hostileScope}': { publish: [ 'new/${hostile}' ] }\ndeny:`);

const directory = mkdtempSync(join(tmpdir(), 'fleetgate-topics-'));
const policyFile = join(directory, "o'policy.yaml");
let fixture: ConsoleFixture;

beforeAll(async () => {
  if (isChromiumMissing) return;
  writeFileSync(policyFile, policyText);
  fixture = await startConsoleFixture(['--set', `broker.policy_file=${policyFile}`]);
  const clients = [
    ...Array.from({ length: 30 }, (_, i) => ({
      client_id: `press-${i}`,
      group: 'plant-7',
      scope: i === 7 ? 'commands.read' : 'telemetry.write commands.read',
    })),
    { client_id: 'lathe-1', group: 'plant-8', scope: 'telemetry.write mqtt:publish:plant/8/#' },
    { client_id: 'board', scope: 'fleet.observe' },
    { client_id: 'desk', scope: 'operate odd' },
  ];
  for (const client of clients) expect((await fixture.admin('POST', '/clients', client)).status).toBe(201);
}, 120_000);

afterAll(async () => {
  await fixture?.close();
  rmSync(directory, { recursive: true, force: true });
});

async function topicsPage(expected: readonly RegExp[] = []) {
  const context = await fixture.browser.newContext();
  const watched = await watchedPage(context, fixture.origin, [...signedOut, ...expected]);
  await fixture.signIn(watched.page);
  await watched.page.getByRole('link', { name: 'Topic access' }).click();
  await watched.page.getByRole('grid').waitFor();
  return { ...watched, close: () => context.close() };
}

const cell = (page: Page, name: string) => page.getByRole('gridcell', { name, exact: true });

test.skipIf(isChromiumMissing)('the matrix says who may do what where, and why', async () => {
  const { page, faults, close } = await topicsPage();
  const matrix = page.getByRole('region', { name: 'Matrix' });
  for (const words of [
    'plant-7, devices/{client_id}/telemetry/x: 29 of 30 may publish',
    'plant-7, devices/{client_id}/commands/x: may subscribe',
    'plant-7, plant/8/x: nothing',
    'plant-8, plant/8/x: may publish',
    '(no group), devices/x/telemetry/x: 1 of 2 may publish, 1 of 2 may subscribe',
    '(no group), devices/x/firmware/x: nothing',
    `(no group), odd/${hostile}: 1 of 2 may publish`,
  ]) {
    expect(await cell(page, words).count(), words).toBe(1);
  }
  await matrix.getByText('33 clients were looked at, all there are.').waitFor();
  expect(await seriousFindings(page)).toEqual([]);
  await takePictures(page, 'topics-matrix');

  // By the keyboard alone: one cell is reached by Tab, the others by arrows.
  await cell(page, '(no group), devices/x/firmware/x: nothing').focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Home');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('ArrowUp');
  expect(await page.evaluate('document.activeElement.getAttribute("data-at")')).toBe('0 0');
  expect(await page.locator('[data-at][tabindex="0"]').count()).toBe(1);
  await cell(page, 'plant-7, devices/{client_id}/telemetry/x: 29 of 30 may publish').focus();
  await page.keyboard.press('Enter');
  const why = page.getByRole('dialog');
  await why
    .getByText(/`devices\/\{client_id\}\/telemetry\/#` \(here devices\/press-0\/telemetry\/#\) of scope/)
    .waitFor();
  await why.getByRole('region', { name: 'press-7' }).getByText('refused: no_rule').first().waitFor();
  expect(await seriousFindings(page)).toEqual([]);
  await takePictures(page, 'topics-cell');

  await why.getByRole('button', { name: 'A row for each of its clients' }).click();
  await cell(page, 'press-20, devices/{client_id}/telemetry/x: may publish').waitFor();
  expect(await page.getByRole('rowheader').count()).toBe(25);
  await matrix.getByRole('button', { name: 'Next' }).click();
  await cell(page, 'press-7, devices/{client_id}/telemetry/x: nothing').waitFor();
  expect(await page.getByRole('rowheader').count()).toBe(5);
  await matrix.getByText('As a table').click();
  await matrix.getByRole('cell', { name: 'may subscribe' }).first().waitFor();

  await matrix.getByLabel('A row for each').selectOption('group');
  await matrix.getByLabel(/^Of the clients/).fill('group');
  await matrix.getByLabel(/^Topics, one a line/).fill('devices/press-3/commands/#\ndevices/{group}/x');
  await matrix.getByRole('button', { name: 'Show' }).click();
  await cell(page, 'plant-7, devices/press-3/commands/#: 1 of 30 may subscribe').waitFor();
  await matrix.getByLabel(/^Topics, one a line/).fill('a/#/b');
  await matrix.getByRole('button', { name: 'Show' }).click();
  await matrix.getByText("'a/#/b' is no topic or filter").waitFor();
  expect(faults.filter((fault) => !/400 \(Bad Request\)/.test(fault))).toEqual([]);
  await close();
});

test.skipIf(isChromiumMissing)('columns are a tree, of which a part may be looked at', async () => {
  const { page, faults, close } = await topicsPage();
  const all = await page.getByRole('columnheader').count();
  await page.getByLabel('Topics below').selectOption('devices/{client_id}');
  await expect.poll(() => page.getByRole('columnheader').count()).toBeLessThan(all);
  expect(await page.getByRole('columnheader', { name: /^devices\/x/ }).count()).toBe(0);
  // On a phone the map scrolls in its own box.
  await page.setViewportSize({ width: 390, height: 844 });
  await page.getByLabel('Topics below').selectOption('');
  expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
  expect(faults).toEqual([]);
  await close();
});

test.skipIf(isChromiumMissing)('another policy is compared before it is put in force', async () => {
  const { page, faults, close } = await topicsPage();
  const section = page.getByRole('region', { name: 'Another policy' });
  const compare = () => section.getByRole('button', { name: 'Compare' }).click();
  const row = (name: RegExp) => section.getByRole('row', { name });
  const text = section.getByLabel(/^The new policy/);

  await text.fill(policyText.replace('publish:', 'publsh:'));
  await compare();
  await section.getByText(/new-policy\.yaml:4:5: .*publish/).waitFor();
  await text.fill(policyText);
  await compare();
  await section.getByText('No rule differs.').waitFor();
  await section.getByText('Nobody gains or loses anything.').waitFor();

  await section.getByLabel('File', { exact: true }).setInputFiles({
    name: 'plant.yaml',
    mimeType: 'application/yaml',
    buffer: Buffer.from(newPolicyText),
  });
  await expect.poll(() => text.inputValue()).toBe(newPolicyText);
  await compare();
  await section.getByText('Rules: 2 added, 1 removed, 1 changed. 33 clients were looked at').waitFor();
  await row(
    /group plant-7, commands.read telemetry.write 29 − loses publish devices\/\{client_id\}\/telemetry\/# 4097 or more bytes/,
  ).waitFor();
  await row(/no group, odd operate 1 − loses publish devices\/# but .*devices\/\+\/commands\/#/).waitFor();
  await section.getByText('Rules that differ').click();
  await row(
    /changed telemetry.write publish devices\/\{client_id\}\/telemetry\/# max_payload_bytes: 4096/,
  ).waitFor();
  expect(await seriousFindings(page)).toEqual([]);
  await takePictures(page, 'topics-difference');

  await section.getByLabel('Who gains and loses').selectOption('client');
  await section.getByLabel(/^Of the clients/).fill('client_id=desk');
  await compare();
  await section.getByText('Of these 1 clients:').waitFor();
  await section.getByRole('link', { name: 'desk' }).first().waitFor();
  await section.getByLabel('Who gains and loses').selectOption('scope');
  await compare();
  await row(/^operate − loses publish devices\/#/).waitFor();
  await section
    .getByRole('row')
    .filter({ hasText: `${hostileScope}+ gains` })
    .filter({ hasText: `new/${hostile}` })
    .waitFor();

  // What it says puts it in force does so.
  await section
    .getByText(`mv '${policyFile.replace("'", "'\\''")}.new' '${policyFile.replace("'", "'\\''")}'`)
    .waitFor();
  writeFileSync(`${policyFile}.new`, newPolicyText);
  renameSync(`${policyFile}.new`, policyFile);
  await expect
    .poll(
      async () => {
        await compare();
        await section.getByRole('status').waitFor();
        return section.getByText('No rule differs.').count();
      },
      { timeout: 10_000, interval: 500 },
    )
    .toBe(1);
  writeFileSync(policyFile, policyText);
  expect(faults.filter((fault) => !/400 \(Bad Request\)/.test(fault))).toEqual([]);
  await close();
});

test.skipIf(isChromiumMissing)(
  'an attempt of who holds a token is decided, and the token is kept nowhere',
  async () => {
    const created = await fixture.admin('POST', '/clients', {
      client_id: 'holder',
      scope: 'telemetry.write',
    });
    const { client_secret: secret } = (await created.json()) as { client_secret: string };
    const answer = await requestToken(fixture.fleet.ready['issuer'] as string, 'holder', secret);
    const { access_token: token } = (await answer.json()) as { access_token: string };
    const { page, faults, close } = await topicsPage();
    const urls: string[] = [];
    page.on('request', (request) => urls.push(request.url()));
    const attempt = page.getByRole('region', { name: 'Try an attempt' });
    await attempt.getByLabel('Who').selectOption('token');
    const field = attempt.getByLabel('Access token');
    const decide = async (text: string, topic = 'devices/holder/telemetry/t') => {
      await field.fill(text);
      await attempt.getByLabel('Topic, or filter').fill(topic);
      await attempt.getByRole('button', { name: 'Decide' }).click();
      await attempt.getByRole('status').waitFor();
      expect(await field.inputValue()).toBe('');
    };
    await decide(token);
    await attempt.getByText('allowed', { exact: true }).waitFor();
    await attempt.getByText(/^A token of holder by http.*, for telemetry\.write, until 20/).waitFor();
    await decide(token, 'devices/holder/commands/c');
    await attempt.getByText('Scopes that would allow it: operate', { exact: true }).waitFor();
    const forged = `${token.slice(0, -8)}AAAAAAAA`;
    await decide(forged);
    await attempt.getByText(/CONNECT is refused with code 4/).waitFor();
    const revoked = await fixture.admin('POST', '/revocations', { kind: 'client', client_id: 'holder' });
    expect(revoked.status).toBeLessThan(300);
    await expect
      .poll(async () => {
        await decide(token);
        return attempt.getByText('refused: token_revoked').count();
      })
      .toBe(1);
    expect(await seriousFindings(page)).toEqual([]);
    await takePictures(page, 'topics-token');
    const signature = token.slice(token.lastIndexOf('.') + 1);
    const kept = [await page.content(), fixture.fleet.stderr(), ...urls].join('\n');
    expect(kept).not.toContain(signature);
    expect(await page.evaluate('JSON.stringify([localStorage, sessionStorage])')).not.toContain(signature);
    expect(faults).toEqual([]);
    await close();
  },
);
