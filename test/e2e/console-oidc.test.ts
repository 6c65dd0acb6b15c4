import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../../bench/free-port.ts';
import { isChromiumMissing, seriousFindings } from '../support/browser.ts';
import { type ConsoleFixture, startConsoleFixture, takePictures } from '../support/console-fixture.ts';
import { temporaryDirectory } from '../support/fleetgate-process.ts';
import { type RunningOidcProvider, startOidcProvider } from '../support/oidc-provider.ts';

const clientSecret = 'secret-of-the-console-0123456789';
const files = temporaryDirectory();
const roles: Record<string, string[]> = { ada: ['ops'], bob: ['audit'], eve: ['visitors'] };

let console: ConsoleFixture;
let provider: RunningOidcProvider;
let origin: string;

/** A console that has people signed in at the provider on that port. */
async function startWith(providerPort: number): Promise<ConsoleFixture> {
  const adminPort = await freePort();
  const directory = join(files.path, `${adminPort}`);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'console.secret'), clientSecret, { mode: 0o600 });
  const config = join(directory, 'fleetgate.yaml');
  writeFileSync(
    config,
    `console:
  url: http://127.0.0.1:${adminPort}/console
  oidc:
    issuer: http://localhost:${providerPort}
    client_id: console
    client_secret_file: console.secret
    roles: { ops: admin, audit: auditor }
`,
  );
  return startConsoleFixture(['--config', config, '--set', `admin.port=${adminPort}`]);
}

beforeAll(async () => {
  if (isChromiumMissing) return;
  const providerPort = await freePort();
  console = await startWith(providerPort);
  origin = console.origin;
  provider = await startOidcProvider(providerPort, {
    clientId: 'console',
    clientSecret,
    redirectUri: `${origin}/console/oidc/callback`,
    rolesOf: (name) => roles[name] ?? [],
  });
}, 120_000);

afterAll(async () => {
  await console?.close();
  await provider?.close();
  files.remove();
});

/** A page with a list of what its console said of faults. */
async function open(): Promise<{ page: Page; faults: string[]; close: () => Promise<void> }> {
  const context = await console.browser.newContext();
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => {
    const isOurs = message.location().url.startsWith(origin);
    if (message.type() === 'error' && isOurs && !/40[13] \(/.test(message.text()))
      faults.push(message.text());
  });
  return { page, faults, close: () => context.close() };
}

/** Types the name at the provider, and agrees. */
async function atProvider(page: Page, name: string, agrees = true): Promise<void> {
  await page.waitForURL(/^http:\/\/localhost:/);
  await page.getByPlaceholder('Enter any login').fill(name);
  await page.getByPlaceholder('and password').fill('any');
  await page.getByRole('button', { name: 'Sign-in' }).click();
  if (agrees) await page.getByRole('button', { name: 'Continue' }).click();
}

async function signIn(page: Page, name: string): Promise<void> {
  await page.goto(`${origin}/console/`);
  await page.getByRole('link', { name: /^Sign in with localhost:/ }).click();
  await atProvider(page, name);
}

test.skipIf(isChromiumMissing)(
  'who signs in at the provider is in, by their own name, and out again',
  async () => {
    const { page, faults, close } = await open();
    await page.goto(`${origin}/console/`);
    await page.getByRole('link', { name: /^Sign in with localhost:/ }).waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    await takePictures(page, 'sign-in-oidc');
    await signIn(page, 'ada');
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    await page.getByText('ada of the shift (admin)').waitFor();
    expect(page.url()).toBe(`${origin}/console/`);
    // The cookie is the strict one, and no script reads it.
    const cookies = await page.context().cookies(origin);
    expect(cookies.map(({ name }) => name)).toEqual(['__Host-fleetgate']);
    expect(cookies[0]).toMatchObject({ httpOnly: true, secure: true, sameSite: 'Strict' });
    await page.reload();
    await page.getByText('ada of the shift (admin)').waitFor();

    await page.getByRole('link', { name: 'Clients' }).click();
    await page.getByRole('button', { name: 'Register a client' }).click();
    await page.getByRole('dialog').getByLabel('Client id').fill('press-1');
    await page.getByRole('dialog').getByRole('button', { name: 'Register' }).click();
    await page.getByText('This secret is shown once.').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Close', exact: true }).click();
    const audit = await console.admin('GET', '/audit?action=client.create&target=press-1');
    expect(await audit.json()).toMatchObject({ events: [{ actor: 'admin:oidc:ada', result: 'ok' }] });

    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Admin API key').waitFor();
    await page.reload();
    await page.getByLabel('Admin API key').waitFor();
    expect(faults).toEqual([]);
    await close();
  },
);

test.skipIf(isChromiumMissing)(
  'an auditor at the provider is one here, and a visitor gets in by nothing',
  async () => {
    const auditor = await open();
    await signIn(auditor.page, 'bob');
    await auditor.page.getByText('bob of the shift (auditor)').waitFor();
    await auditor.page.getByRole('link', { name: 'Clients' }).click();
    await auditor.page.getByRole('heading', { name: 'Clients' }).waitFor();
    expect(await auditor.page.getByRole('button', { name: 'Register a client' }).count()).toBe(0);
    await auditor.close();

    const visitor = await open();
    await signIn(visitor.page, 'eve');
    await visitor.page.getByText(/gives you no role that opens this console/).waitFor();
    expect(await seriousFindings(visitor.page)).toEqual([]);
    await takePictures(visitor.page, 'sign-in-refused');
    await visitor.page.getByRole('link', { name: 'To the console' }).click();
    await visitor.page.getByLabel('Admin API key').waitFor();
    const refused = await console.admin('GET', '/audit?actor=admin:oidc:eve');
    expect(await refused.json()).toMatchObject({ events: [{ result: 'role_insufficient' }] });
    await visitor.close();
  },
);

test.skipIf(isChromiumMissing)(
  'what touches many at once wants a sign-in anew, in a tab of its own, and goes on by itself',
  async () => {
    const { page, faults, close } = await open();
    await signIn(page, 'ada');
    await page.getByText('ada of the shift (admin)').waitFor();
    // Five minutes after a sign-in the server wants it; until then the page is told so here.
    let isFirst = true;
    await page.route('**/api/v1/keys/rotate', async (route) => {
      if (!isFirst) return route.continue();
      isFirst = false;
      await route.fulfill({
        status: 403,
        contentType: 'application/problem+json',
        body: JSON.stringify({
          status: 403,
          code: 'step_up_required',
          detail: 'prove once more who you are',
        }),
      });
    });
    await page.getByRole('link', { name: 'Keys' }).click();
    await page.getByRole('button', { name: 'Rotate' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Rotate' }).click();
    await page.getByRole('link', { name: 'Sign in anew' }).waitFor();
    expect(await seriousFindings(page)).toEqual([]);
    await takePictures(page, 'step-up-oidc');
    const opened = page.context().waitForEvent('page');
    await page.getByRole('link', { name: 'Sign in anew' }).click();
    const tab = await opened;
    // The provider knows her, and asks all the same.
    await atProvider(tab, 'ada', false);
    await tab.getByText(/^You have signed in anew/).waitFor();
    expect(await seriousFindings(tab)).toEqual([]);
    await tab.close();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    const rotated = await console.admin('GET', '/audit?actor=admin:oidc:ada&result=ok&order=newest');
    const { events } = (await rotated.json()) as { events: { action: string }[] };
    expect(events.map(({ action }) => action)).toContain('key.schedule');
    expect(faults).toEqual([]);
    await close();
  },
);

test.skipIf(isChromiumMissing)(
  'while the provider is away the page says so, and a key opens it',
  async () => {
    const other = await startWith(await freePort());
    const context = await other.browser.newContext();
    const page = await context.newPage();
    await page.goto(`${other.origin}/console/`);
    await page.getByRole('link', { name: /^Sign in with localhost:/ }).click();
    await page.getByText(/^The provider cannot be reached/).waitFor();
    await page.getByRole('link', { name: 'To the console' }).click();
    await page.getByLabel('Admin API key').fill(other.adminKey);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByText('default (admin)').waitFor();
    await context.close();
    await other.close();
  },
);
