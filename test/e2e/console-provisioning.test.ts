import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isChromiumMissing, seriousFindings, watchedPage } from '../support/browser.ts';
import {
  type ConsoleFixture,
  signedOut,
  startConsoleFixture,
  takePictures,
} from '../support/console-fixture.ts';
import { derivedKey, enroll, enrollingDevice, groupProof } from '../support/enrolling-device.ts';

let console: ConsoleFixture;

beforeAll(async () => {
  if (!isChromiumMissing) console = await startConsoleFixture();
}, 120_000);
afterAll(() => console?.close());

test.skipIf(isChromiumMissing)(
  'a template and claim codes are made in the page, and devices come in by them',
  async () => {
    const { admin, browser, fleet, origin, signIn } = console;
    const context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] });
    const { page, faults } = await watchedPage(context, origin, signedOut);
    await signIn(page);
    await page.getByRole('link', { name: 'Provisioning' }).click();
    const dialog = page.getByRole('dialog');

    await page.getByText('There is no template.').waitFor();
    await page.getByRole('button', { name: 'Make a template' }).click();
    await dialog.getByLabel('Name of the template').fill('box');
    await dialog.getByLabel(/^Client ids/).fill('box-{serial}');
    await dialog.getByLabel(/^Scopes/).fill('telemetry.write');
    await dialog.getByLabel(/^Labels/).fill('hw=rev-a\nbad');
    await dialog.getByRole('button', { name: 'Keep' }).click();
    await dialog.getByText('a label is NAME=VALUE, not bad').waitFor();
    await dialog.getByLabel(/^Labels/).fill('hw=rev-a');
    await dialog.getByLabel(/^Metadata/).fill('{"site": "ulm"}');
    expect(await seriousFindings(page)).toEqual([]);
    await takePictures(page, 'template-form');
    await dialog.getByRole('button', { name: 'Keep' }).click();
    await page.getByRole('cell', { name: 'box-{serial}' }).waitFor();
    expect(await (await admin('GET', '/templates/box')).json()).toMatchObject({
      version: 1,
      template: {
        id: 'box-{serial}',
        scope: 'telemetry.write',
        auth_method: 'client_secret_basic',
        labels: { hw: 'rev-a' },
        metadata: { site: 'ulm' },
      },
    });

    // What the form does not show stays.
    await admin('PUT', '/templates/box', {
      id: 'box-{serial}',
      auth_method: 'client_secret_post',
      audience: ['mqtt'],
    });
    await page.reload();
    await page.getByRole('button', { name: 'Edit' }).click();
    await dialog.getByLabel(/^Scopes/).fill('telemetry.write commands.read');
    await dialog.getByLabel(/^Client ids/).fill('box');
    await dialog.getByRole('button', { name: 'Keep' }).click();
    await dialog.getByText(/give it a place, as sensor-\{serial\}/).waitFor();
    await dialog.getByLabel(/^Client ids/).fill('box-{serial}');
    await dialog.getByRole('button', { name: 'Keep' }).click();
    await page.getByRole('cell', { name: 'telemetry.write commands.read' }).waitFor();
    expect(await (await admin('GET', '/templates/box')).json()).toMatchObject({
      version: 3,
      template: {
        audience: ['mqtt'],
        auth_method: 'client_secret_post',
        scope: 'telemetry.write commands.read',
      },
    });

    await page.getByRole('button', { name: 'Make claim codes' }).click();
    await dialog.getByLabel(/^Or a code for each/).fill('S1\nS2\nS,3\n');
    expect(await seriousFindings(page)).toEqual([]);
    await takePictures(page, 'claim-code-form');
    await dialog.getByRole('button', { name: 'Make', exact: true }).click();
    await dialog.getByText('These codes are shown once.').waitFor();
    await dialog.getByRole('button', { name: 'Download' }).waitFor();
    const codes = await dialog.locator('td code').allTextContents();
    expect(new Set(codes).size).toBe(3);
    await takePictures(page, 'claim-codes');
    const waiting = page.waitForEvent('download');
    await dialog.getByRole('button', { name: 'Download' }).click();
    const file = await waiting;
    expect(file.suggestedFilename()).toBe('claim-codes.csv');
    const lines = readFileSync(await file.path(), 'utf8').split('\r\n');
    expect(lines[0]).toBe('enrollment_id,claim_code,serial,expires_at');
    expect(lines[1]).toContain(`,${codes[0]},S1,`);
    expect(lines[3]).toContain(`,${codes[2]},"S,3",`);
    await dialog.getByRole('button', { name: 'Copy all' }).click();
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(codes.join('\n'));
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await page.getByRole('cell', { name: 'serial=S1' }).waitFor();
    expect(await page.content()).not.toContain(codes[0]);

    const issuer = fleet.ready['issuer'] as string;
    const first = await enroll(issuer, { claim_code: codes[0] as string, nonce: enrollingDevice().nonce });
    expect(first.body).toMatchObject({ status: 'enrolled', credentials: { client_id: 'box-S1' } });
    const listed = (await (await admin('GET', '/enrollments')).json()) as {
      enrollments: { max_uses: number; expires_at: string; device: object }[];
    };
    expect(listed.enrollments).toHaveLength(3);
    for (const { max_uses: uses, expires_at: end } of listed.enrollments) {
      expect(uses).toBe(1);
      expect(Math.abs(Date.parse(end) - Date.now() - 7 * 86_400_000)).toBeLessThan(120_000);
    }
    await page
      .getByRole('row', { name: /serial=S2/ })
      .getByRole('button', { name: 'Revoke' })
      .click();
    await dialog.getByRole('button', { name: 'Revoke' }).click();
    await page
      .getByRole('row', { name: /serial=S2/ })
      .getByText('revoked')
      .waitFor();
    const second = await enroll(issuer, { claim_code: codes[1] as string, nonce: enrollingDevice().nonce });
    expect(second.status).not.toBe(200);
    expect(await seriousFindings(page)).toEqual([]);
    await takePictures(page, 'provisioning-acts');

    await page.getByRole('region', { name: 'Templates' }).getByRole('button', { name: 'Delete' }).click();
    await dialog.getByRole('button', { name: 'Delete' }).click();
    await page.getByText('There is no template.').waitFor();
    expect(faults.filter((fault) => !/40[0-9] \(/.test(fault))).toEqual([]);
    await context.close();
  },
);

test.skipIf(isChromiumMissing)(
  'a group key is made in the page, and devices come in by keys of it',
  async () => {
    const { admin, browser, fleet, origin, signIn } = console;
    await admin('PUT', '/templates/line-box', { id: 'line-{registration_id}', scope: 'telemetry.write' });
    const context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] });
    const { page, faults } = await watchedPage(context, origin, signedOut);
    await signIn(page);
    await page.getByRole('link', { name: 'Provisioning' }).click();
    await page.getByRole('button', { name: 'Make a group key' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Template').selectOption('line-box');
    await dialog.getByLabel(/^Devices that it lets in/).fill('2');
    expect(await seriousFindings(page)).toEqual([]);
    await takePictures(page, 'group-key-form');
    await dialog.getByRole('button', { name: 'Make', exact: true }).click();
    await dialog.getByText('These keys are shown once.').waitFor();
    const waiting = page.waitForEvent('download');
    await dialog.getByRole('button', { name: 'Download' }).click();
    const file = await waiting;
    expect(file.suggestedFilename()).toBe('group.json');
    const made = JSON.parse(readFileSync(await file.path(), 'utf8')) as Record<string, string>;
    const { enrollment_id: enrollment, primary_key: primary = '', secondary_key: secondary = '' } = made;
    await dialog.getByRole('button', { name: 'Copy the secondary key' }).click();
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(secondary);
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    const row = page.getByRole('row', { name: new RegExp(enrollment as string) });
    await row.getByText('0 of 2').waitFor();
    // On a phone rows are cards, and nothing lies beside the page.
    await page.setViewportSize({ width: 390, height: 844 });
    const sideways = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
    for (const name of ['Clients', 'Refusals', 'Keys', 'Audit', 'Provisioning']) {
      await page.getByRole('link', { name, exact: true }).click();
      await page.getByRole('heading', { level: 1, name }).waitFor();
      if (name !== 'Refusals') await page.locator('td[data-column]').first().waitFor();
      expect([name, await page.evaluate(sideways)]).toEqual([name, 0]);
    }
    expect(await page.content()).not.toContain(primary);

    const issuer = fleet.ready['issuer'] as string;
    for (const [id, key] of [
      ['A1', primary],
      ['A2', secondary],
    ] as const) {
      const proof = groupProof(derivedKey(key, id), id, issuer);
      const { body } = await enroll(issuer, { enrollment, proof, nonce: enrollingDevice().nonce });
      expect(body).toMatchObject({ status: 'enrolled', credentials: { client_id: `line-${id}` } });
    }
    expect(faults).toEqual([]);
    await context.close();
  },
);

test.skipIf(isChromiumMissing)('a job is seen to go on without anybody touching the page', async () => {
  const { admin, browser, origin, signIn } = console;
  await admin('PUT', '/templates/line', { id: 'line-{n}', scope: 'telemetry.write' });
  const made = await admin('POST', '/provisioning-jobs', { template: 'line', total: 4 });
  const { job_id: job, job_key: key } = (await made.json()) as { job_id: string; job_key: string };
  const context = await browser.newContext();
  const { page, faults } = await watchedPage(context, origin, signedOut);
  await signIn(page);
  await page.getByRole('link', { name: 'Provisioning' }).click();
  const row = page.getByRole('region', { name: 'Jobs' }).getByRole('row', { name: new RegExp(job) });
  await row.getByText('0 of 4').waitFor();
  const ran = await admin('POST', `/provisioning-jobs/${job}/rows`, {
    job_key: key,
    first_row: 1,
    rows: [{}, {}],
  });
  expect(ran.status).toBe(200);
  await row.getByText('2 of 4').waitFor();
  await row.getByRole('button', { name: 'Cancel' }).click();
  await row.getByText('cancelled').waitFor();
  expect(faults).toEqual([]);
  await context.close();
});

test.skipIf(isChromiumMissing)('an auditor sees templates and codes, and makes none', async () => {
  const { admin, browser, origin, signIn } = console;
  await admin('PUT', '/templates/seen', { id: 'seen-{serial}' });
  await admin('POST', '/enrollments', { template: 'seen' });
  const made = await admin('POST', '/api-keys', { name: 'looker', role: 'auditor' });
  const { api_key: key } = (await made.json()) as { api_key: string };
  const context = await browser.newContext();
  const { page, faults } = await watchedPage(context, origin, signedOut);
  await signIn(page, key);
  await page.getByRole('link', { name: 'Provisioning' }).click();
  await page.getByRole('cell', { name: 'seen-{serial}' }).waitFor();
  await page
    .getByRole('region', { name: /^Claim codes/ })
    .getByRole('cell', { name: 'seen' })
    .waitFor();
  for (const name of [
    'Make a template',
    'Make claim codes',
    'Make a group key',
    'Edit',
    'Delete',
    'Revoke',
  ]) {
    expect(await page.getByRole('button', { name }).count(), name).toBe(0);
  }
  expect(faults).toEqual([]);
  await context.close();
});

test.skipIf(isChromiumMissing)(
  'scopes that grant nothing are told before a template or a client is kept, which it may be all the same',
  async () => {
    const { admin, browser, origin, signIn } = console;
    const context = await browser.newContext();
    const { page, faults } = await watchedPage(context, origin, signedOut);
    await signIn(page);
    await page.getByRole('link', { name: 'Provisioning' }).click();
    const dialog = page.getByRole('dialog');
    await page.getByRole('button', { name: 'Make a template' }).click();
    await dialog.getByLabel('Name of the template').fill('wrong');
    await dialog.getByLabel(/^Client ids/).fill('wrong-{serial}');
    await dialog.getByLabel(/^Scopes/).fill('telemetry.writ');
    await dialog.getByRole('button', { name: 'Keep', exact: true }).click();
    await dialog
      .getByText(/^scope 'telemetry.writ' grants nothing: .*did you mean 'telemetry.write'\?$/)
      .waitFor();
    expect((await admin('GET', '/templates/wrong')).status).toBe(404);
    expect(await seriousFindings(page)).toEqual([]);
    await takePictures(page, 'template-notes');
    // Another scope that grants nothing is told as well; the same is kept when it is asked for again.
    await dialog.getByLabel(/^Scopes/).fill('telemetri.read');
    await dialog.getByRole('button', { name: 'Keep all the same' }).click();
    await dialog.getByText(/^scope 'telemetri.read' grants nothing/).waitFor();
    expect((await admin('GET', '/templates/wrong')).status).toBe(404);
    await dialog.getByRole('button', { name: 'Keep all the same' }).click();
    await page.getByRole('cell', { name: 'wrong-{serial}' }).waitFor();

    await page.getByRole('link', { name: 'Clients' }).click();
    await page.getByRole('button', { name: 'Register a client' }).click();
    await dialog.getByLabel('Client id').fill('noted');
    await dialog.getByLabel(/^Scopes/).fill('telemetry.writ');
    await dialog.getByRole('button', { name: 'Register', exact: true }).click();
    await dialog.getByText(/did you mean 'telemetry.write'\?$/).waitFor();
    await dialog.getByLabel(/^Scopes/).fill('telemetry.write');
    await dialog.getByRole('button', { name: 'Register all the same' }).click();
    await dialog.getByText('This secret is shown once.').waitFor();
    expect(await (await admin('GET', '/clients/noted')).json()).toMatchObject({ scope: 'telemetry.write' });
    expect(faults).toEqual([]);
    await context.close();
  },
);
