import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';

const PROGRAM = '/usr/bin/chromium';

/** Whether tests that need it are skipped. With CI set none is, for want of a program. */
export const isChromiumMissing = !existsSync(PROGRAM) && process.env['CI'] === undefined;

/** Debian's Chromium, headless. */
export function startBrowser(): Promise<Browser> {
  // As root there is no sandbox.
  return chromium.launch({ executablePath: PROGRAM, args: ['--no-sandbox'] });
}

export interface WatchedPage {
  readonly page: Page;
  /** What the page said on its console, threw, was refused by its policy, or asked of anywhere else. */
  readonly faults: string[];
}

/** A page that notes what a page must not do. `expected` are answers of the server that are no fault. */
export async function watchedPage(
  context: BrowserContext,
  origin: string,
  expected: readonly RegExp[] = [],
): Promise<WatchedPage> {
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('console', (message) => {
    const text = message.text();
    if (message.type() === 'error' && !expected.some((one) => one.test(text))) faults.push(text);
  });
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('request', (request) => {
    if (!/^(blob|data):/.test(request.url()) && new URL(request.url()).origin !== origin) {
      faults.push(`asked ${request.url()}`);
    }
  });
  return { page, faults };
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface Violation {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly { readonly html: string }[];
}

/** What axe-core finds serious or critical, as text. */
export async function seriousFindings(page: Page): Promise<string[]> {
  // Not as a script element: the policy of the page would refuse it.
  await page.evaluate(axe);
  const violations = (await page.evaluate(
    'axe.run({ resultTypes: ["violations"] }).then((found) => found.violations)',
  )) as Violation[];
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
}
