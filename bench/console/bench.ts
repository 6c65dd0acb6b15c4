import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Browser } from 'playwright-core';
import { startBrowser } from '../../test/support/browser.ts';
import { freePorts, type RunningFleetgate, startFleetgate } from '../../test/support/fleetgate-process.ts';
import { AUDIENCE } from '../issuer/clients.ts';
import { registerClients } from '../issuer/registration.ts';
import { ask } from '../processes.ts';
import { alignColumns, type Bounds, formatGoal, median, type Ratios } from '../report.ts';
import type { DevicesTask } from './devices.ts';
import { type ConsolePage, openConsole } from './page.ts';

export interface ConsoleBenchOptions {
  readonly rounds: number;
  /** Of each measurement of time on a processor. */
  readonly seconds: number;
  /** Registered. */
  readonly clients: number;
  /** Of them with a session. */
  readonly sessions: number;
  readonly print?: (line: string) => void;
}

/** What all devices publish together, so that the charts move. */
const PUBLISHES_PER_SECOND = 200;

/** The first pages in milliseconds, and the time on processors in hundredths of one core. */
const goals: readonly (Bounds & { readonly figure: string })[] = [
  { figure: 'overview_ms', atMost: 2000 },
  { figure: 'clients_ms', atMost: 2000 },
  { figure: 'page_cpu_percent', atMost: 10 },
  { figure: 'server_cpu_more_percent', atMost: 5 },
];

/** The console of one `fleetgate up` with many clients and sessions, in a real browser. */
export async function benchConsole(options: ConsoleBenchOptions): Promise<Ratios> {
  const { clients, print = (line) => void process.stdout.write(`${line}\n`) } = options;
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-bench-'));
  const data = join(directory, 'data');
  let fleet: RunningFleetgate | undefined;
  let devices: ChildProcess | undefined;
  let browser: Browser | undefined;
  try {
    mkdirSync(data, { mode: 0o700 });
    await registerClients(join(data, 'fleetgate.db'), clients, 'client_secret_basic');
    fleet = await startFleet(data, options);
    devices = await startDevices(fleet, options);
    browser = await startBrowser();
    const origin = fleet.ready['admin'] as string;
    const apiKey = readFileSync(join(data, 'admin.key'), 'utf8').trim();
    const page = await openConsole(await browser.newContext(), origin, apiKey);
    const figures = await measure(page, fleet.process.pid as number, options);
    return report(figures, print);
  } finally {
    await browser?.close();
    devices?.kill();
    await fleet?.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

function startFleet(data: string, { sessions }: ConsoleBenchOptions): Promise<RunningFleetgate> {
  const settings = {
    'broker.audience': AUDIENCE,
    'broker.limits.max_connections_per_address': sessions + 100,
    // All devices ask from one address, as fast as they can.
    'issuer.limits.max_address_requests_per_second': 100_000,
    // No session ends while it is measured.
    'issuer.token_lifetime_seconds': 7200,
  };
  const flags = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  return startFleetgate(['up', ...freePorts(data), ...flags]);
}

async function startDevices(
  { ready }: RunningFleetgate,
  { sessions }: ConsoleBenchOptions,
): Promise<ChildProcess> {
  const devices = fork(join(import.meta.dirname, 'devices.ts'), {
    execArgv: ['--conditions=@fleetgate/source'],
  });
  const task: DevicesTask = {
    issuer: ready['issuer'] as string,
    port: Number(new URL(ready['mqtt'] as string).port),
    sessions,
    publishesPerSecond: PUBLISHES_PER_SECOND,
  };
  const { failed } = (await ask(devices, task)) as { failed?: string };
  if (failed === undefined) return devices;
  devices.kill();
  throw new Error(failed);
}

type Figures = Record<
  | 'overview_ms'
  | 'clients_ms'
  | 'filtered_ms'
  | 'nobody_ms'
  | 'page_cpu_percent'
  | 'page_tasks_percent'
  | 'server_cpu_percent'
  | 'server_cpu_more_percent',
  number[]
>;

async function measure(
  page: ConsolePage,
  serverPid: number,
  { rounds, seconds }: ConsoleBenchOptions,
): Promise<Figures> {
  const figures: Figures = {
    overview_ms: [],
    clients_ms: [],
    filtered_ms: [],
    nobody_ms: [],
    page_cpu_percent: [],
    page_tasks_percent: [],
    server_cpu_percent: [],
    server_cpu_more_percent: [],
  };
  for (let round = 0; round < rounds; round += 1) {
    figures.clients_ms.push(await page.openClients());
    figures.filtered_ms.push(await page.openClients('?seen=last_seen%3C7d&selector=client_id%3Ddevice-9*'));
    // Without an index, so that it goes through all of them.
    figures.nobody_ms.push(await page.openClients('?selector=auth_method%3Doscore'));
    await page.page.goto('about:blank');
    const alone = await percentOf(() => serverSeconds(serverPid), seconds);
    figures.overview_ms.push(await page.openOverview());
    const before = await page.cpu();
    const watched = await percentOf(() => serverSeconds(serverPid), seconds);
    const after = await page.cpu();
    figures.page_cpu_percent.push(((after.process - before.process) / seconds) * 100);
    figures.page_tasks_percent.push(((after.tasks - before.tasks) / seconds) * 100);
    figures.server_cpu_percent.push(alone);
    figures.server_cpu_more_percent.push(watched - alone);
    process.stderr.write(
      `round ${round + 1} of ${rounds}: ${Object.entries(figures)
        .map(([name, values]) => `${name} ${values.at(-1)?.toFixed(1)}`)
        .join(', ')}\n`,
    );
  }
  return figures;
}

/** Of one core, while so many seconds pass. */
async function percentOf(read: () => number, seconds: number): Promise<number> {
  const [startMs, before] = [performance.now(), read()];
  await delay(seconds * 1000);
  return ((read() - before) / ((performance.now() - startMs) / 1000)) * 100;
}

/** Seconds on a processor of a process, its threads and the kernel for it included. Linux: proc(5), ticks of 10 ms. */
function serverSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function report(figures: Figures, print: (line: string) => void): Ratios {
  const medians = Object.fromEntries(
    Object.entries(figures).map(([name, values]) => [name, Math.round(median(values) * 10) / 10]),
  );
  print(alignColumns(Object.entries(medians).map(([name, value]) => [name, value.toFixed(1)])));
  print(goals.map(({ figure, ...bounds }) => formatGoal(figure, bounds, medians[figure])).join('\n'));
  print(JSON.stringify(medians));
  return medians;
}
