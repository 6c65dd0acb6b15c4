import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTokenSource } from '@fleetgate/agent';
import { parseCredentials } from '@fleetgate/shared';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type Ended,
  fleetgateCommand,
  freePorts,
  type RunningFleetgate,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const DEVICES = 5000;
const BATCH_SIZE = 500;

const data = temporaryDirectory();
const work = temporaryDirectory();
const directory = join(work.path, 'credentials');
const delivered = join(work.path, 'delivered');
let running: RunningFleetgate;

beforeAll(async () => {
  mkdirSync(work.path, { recursive: true });
  running = await startFleetgate(['up', ...freePorts(data.path)]);
  writeFileSync(join(work.path, 'box.yaml'), 'template: box\nid: box-{n:05}\nscope: telemetry.write\n');
  await fleetgate('template', 'apply', join(work.path, 'box.yaml'));
  const made = await fleetgate(
    'fleet',
    'provision',
    '--template',
    'box',
    '--count',
    `${DEVICES}`,
    '--out-dir',
    directory,
  );
  expect(made.code).toBe(0);
}, 120_000);
afterAll(async () => {
  await running?.stop();
  data.remove();
  work.remove();
});

const fleetgate = (...args: string[]): Promise<Ended> => runFleetgate([...args, '--data', data.path]);

/** What a device holds: the credentials file as it was brought to it last. */
const held = new Map<string, string>();

async function hasAccess(clientId: string): Promise<boolean> {
  const source = createTokenSource(parseCredentials(held.get(clientId) as string));
  return source.get().then(
    () => true,
    () => false,
  );
}

/** Brings files to their devices as they are delivered: each then asks for a token with what it holds. */
function bringFiles(isLost: (clientId: string) => boolean) {
  let [seen, isEnded] = [0, false];
  const refused: string[] = [];
  async function loop(): Promise<void> {
    while (!isEnded) {
      const paths = existsSync(delivered) ? readFileSync(delivered, 'utf8').split('\n').slice(0, -1) : [];
      const fresh = paths.slice(seen);
      seen = paths.length;
      for (let i = 0; i < fresh.length; i += 25) {
        await Promise.all(
          fresh.slice(i, i + 25).map(async (path) => {
            const clientId = basename(path, '.json');
            if (isLost(clientId)) return;
            held.set(clientId, readFileSync(path, 'utf8'));
            if (!(await hasAccess(clientId))) refused.push(clientId);
          }),
        );
      }
      // And whoever else has something to send.
      const others = Array.from({ length: 20 }, () => idOf(Math.ceil(Math.random() * DEVICES)));
      for (const clientId of others) if (!(await hasAccess(clientId))) refused.push(clientId);
      await sleep(50);
    }
  }
  const done = loop();
  return {
    refused,
    async end() {
      isEnded = true;
      await done;
    },
  };
}

const idOf = (number: number) => `box-${String(number).padStart(5, '0')}`;

async function campaign(...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, [
    ...fleetgateCommand,
    'campaign',
    ...args,
    '--data',
    data.path,
    '--format',
    'json',
  ]);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (text) => {
    stdout += text;
  });
  child.stderr.on('data', (text) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((done) => child.once('close', done));
  return { code, stdout, stderr };
}

test(`the secrets of ${DEVICES} devices are rotated, with a pause when a tenth of a batch is not reached`, {
  timeout: 240_000,
}, async () => {
  for (const file of readdirSync(directory)) {
    held.set(basename(file, '.json'), readFileSync(join(directory, file), 'utf8'));
  }
  const before = new Map(held);
  // A tenth of the third batch is never reached.
  const lost = new Set(Array.from({ length: BATCH_SIZE / 10 }, (_, i) => idOf(2 * BATCH_SIZE + 1 + i)));
  const bringing = bringFiles((clientId) => lost.has(clientId));
  const paused = await campaign(
    'start',
    ...['--selector', 'template=box', '--dir', directory, '--batch-size', `${BATCH_SIZE}`],
    ...['--confirm-within', '15s', '--pause-at', '0.1', '--deliver', `cat >> ${delivered}`],
  );
  expect([paused.code, paused.stderr]).toEqual([
    1,
    expect.stringContaining('paused: 50 of 500 in batch 3 failed'),
  ]);
  const { campaign_id: campaignId, ...how } = JSON.parse(paused.stdout);
  expect(how).toMatchObject({ state: 'paused', confirmed: 1450, failed: 50, batch: 3 });
  const failed = await campaign('devices', campaignId, '--state', 'failed');
  expect(JSON.parse(failed.stdout).map(({ client_id }: { client_id: string }) => client_id)).toEqual(
    Array.from(lost),
  );

  const done = await campaign('resume', '--dir', directory);
  await bringing.end();
  expect(bringing.refused).toEqual([]);
  expect([done.code, JSON.parse(done.stdout)]).toMatchObject([
    3,
    { state: 'done', confirmed: DEVICES - 50, failed: 50, selected: DEVICES },
  ]);
  expect(existsSync(`${directory}.campaign`)).toBe(false);
  // What those have that were not reached is still good, and the rest has something new.
  for (const clientId of lost) expect(await hasAccess(clientId)).toBe(true);
  const same = Array.from(held).filter(([clientId, text]) => before.get(clientId) === text);
  expect(same.map(([clientId]) => clientId).sort()).toEqual(Array.from(lost).sort());
});

test('a campaign of a selector that nobody fits says so', async () => {
  const empty = join(work.path, 'empty');
  const done = await fleetgate('campaign', 'start', '--selector', 'group=nowhere', '--dir', empty);
  expect(done).toMatchObject({ code: 0, stderr: expect.stringContaining('no client is group=nowhere') });
});

test('a campaign whose files cannot be delivered pauses, and no device is without', {
  timeout: 60_000,
}, async () => {
  const other = join(work.path, 'other');
  const started = await campaign(
    ...['start', '--selector', 'client_id=box-01001', '--dir', other, '--deliver', 'exit 1'],
  );
  expect([started.code, started.stderr]).toEqual([1, expect.stringContaining('batch 1 was not delivered')]);
  expect(await hasAccess('box-01001')).toBe(true);
});
