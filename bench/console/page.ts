import type { BrowserContext, CDPSession, Page } from 'playwright-core';

/** The console in a browser, signed in. */
export interface ConsolePage {
  readonly page: Page;
  /** From the navigation until the overview has its figures and its chart, and what needs attention is there. */
  openOverview(): Promise<number>;
  /** From the navigation until the first page of the clients is in the table, or it says that there are none. */
  openClients(query?: string): Promise<number>;
  /** Seconds on a processor of the page's process, all its threads, and of those the main thread's tasks. */
  cpu(): Promise<{ readonly process: number; readonly tasks: number }>;
}

/** @param origin of the admin listener */
export async function openConsole(
  context: BrowserContext,
  origin: string,
  apiKey: string,
): Promise<ConsolePage> {
  const page = await context.newPage();
  await page.goto(`${origin}/console/`);
  await page.getByLabel('Admin API key').fill(apiKey);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  const devtools = await context.newCDPSession(page);
  await devtools.send('Performance.enable');

  /** A navigation of the whole page, scripts and all, and not a change of its hash. */
  async function open(hash: string, isThere: () => Promise<void>): Promise<number> {
    await page.goto('about:blank');
    const startMs = performance.now();
    await page.goto(`${origin}/console/${hash}`);
    await isThere();
    return performance.now() - startMs;
  }

  return {
    page,
    openOverview: () =>
      open('#/overview', async () => {
        await page.getByRole('img', { name: /^Connections: connections [1-9]/ }).waitFor();
        const attention = page.getByRole('region', { name: 'Needs attention' });
        await attention.locator('li, p').first().waitFor();
      }),
    openClients: (query = '') =>
      open(`#/clients${query}`, async () => {
        const list = page.locator('section[aria-label="Clients"][aria-busy="false"]');
        await list.locator('tbody tr, .empty').first().waitFor();
      }),
    cpu: () => readCpu(devtools),
  };
}

async function readCpu(devtools: CDPSession) {
  const { metrics } = await devtools.send('Performance.getMetrics');
  const of = (name: string) => metrics.find((metric) => metric.name === name)?.value ?? Number.NaN;
  return { process: of('ProcessTime'), tasks: of('TaskDuration') };
}
