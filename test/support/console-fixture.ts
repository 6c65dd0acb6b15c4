import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import mqtt, { type MqttClient } from 'mqtt';
import type { Browser, Page } from 'playwright-core';
import { startAgentFleet } from './agent-fleet.ts';
import { startBrowser } from './browser.ts';
import {
  freePorts,
  type RunningFleetgate,
  requestToken,
  startFleetgate,
  temporaryDirectory,
} from './fleetgate-process.ts';

/** Where pictures of the pages are put, to be looked at; unset: none are taken. */
const pictures = process.env['FLEETGATE_PICTURES'];

/** `fleetgate up` with a browser to look at its console. */
export interface ConsoleFixture {
  readonly fleet: RunningFleetgate;
  readonly browser: Browser;
  /** Of the admin listener, without a path. */
  readonly origin: string;
  readonly adminKey: string;
  /** The data directory of the process. */
  readonly data: string;
  /** A request to the admin API; `path` is below `/v1`. */
  admin(method: string, path: string, body?: unknown): Promise<Response>;
  /** A registered device with a live session. */
  device(id: string): Promise<MqttClient>;
  /** Opens the console and signs in; by default with the key of the data directory. */
  signIn(page: Page, key?: string): Promise<void>;
  close(): Promise<void>;
}

/**
 * @param flags of `fleetgate up`, beside free ports and the data directory
 * @param agents how many agents there are of its fleet, see `startAgentFleet`
 */
export async function startConsoleFixture(
  flags: readonly string[] = [],
  agents = 0,
): Promise<ConsoleFixture> {
  const data = temporaryDirectory();
  const clients: MqttClient[] = [];
  const fleet = await startFleetgate(['up', ...freePorts(data.path), ...flags]);
  const origin = fleet.ready['admin'] as string;
  const adminKey = readFileSync(join(data.path, 'admin.key'), 'utf8').trim();
  const browser = await startBrowser();
  const running =
    agents === 0
      ? undefined
      : await startAgentFleet(data.path, agents).catch(async (error) => {
          await browser.close();
          await fleet.stop();
          throw error;
        });

  const admin: ConsoleFixture['admin'] = (method, path, body) =>
    fetch(`${origin}/v1${path}`, {
      method,
      headers: { 'api-key': adminKey, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });

  return {
    fleet,
    browser,
    origin,
    adminKey,
    data: data.path,
    admin,
    async device(id) {
      const created = await admin('POST', '/clients', {
        client_id: id,
        scope: 'telemetry.write commands.read',
        group: 'plant-7',
        labels: { hw: 'rev-a' },
      });
      const { client_secret: secret } = (await created.json()) as { client_secret: string };
      const answer = await requestToken(fleet.ready['issuer'] as string, id, secret);
      const { access_token: token } = (await answer.json()) as { access_token: string };
      const client = await mqtt.connectAsync(fleet.ready['mqtt'] as string, {
        clientId: id,
        username: id,
        password: token,
        reconnectPeriod: 0,
      });
      client.on('error', () => {});
      clients.push(client);
      return client;
    },
    async signIn(page, key = adminKey) {
      await page.goto(`${origin}/console/`);
      await page.getByLabel('Admin API key').fill(key);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByRole('heading', { name: 'Overview' }).waitFor();
    },
    async close() {
      for (const client of clients) client.end(true);
      await running?.stop();
      await browser.close();
      await fleet.stop();
      data.remove();
    },
  };
}

/** The page is asked who it is before anybody has signed in. */
export const signedOut = [/401 \(Unauthorized\)/];

/** As `name-light-desktop.png` and so on, where pictures are wanted; leaves the page light and wide. */
export async function takePictures(page: Page, name: string): Promise<void> {
  if (pictures === undefined) return;
  mkdirSync(pictures, { recursive: true });
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    for (const [size, width, height] of [
      ['desktop', 1280, 800],
      ['phone', 390, 844],
    ] as const) {
      await page.setViewportSize({ width, height });
      await page.waitForTimeout(150);
      await page.screenshot({ path: join(pictures, `${name}-${colorScheme}-${size}.png`) });
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 1280, height: 800 });
}
