import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type Ended,
  freePorts,
  type RunningFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';
import { pageScripts, pageShell } from '../support/page-shell.ts';

const root = resolve(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/fleet.md'), 'utf8');

/** Each goes on where the one before ended. */
const scripts = pageScripts(page);

const data = temporaryDirectory();
const work = temporaryDirectory();
let running: RunningFleetgate;
let bash: (script: string) => Promise<Ended>;

beforeAll(async () => {
  running = await startFleetgate(['up', ...freePorts(data.path)]);
  bash = pageShell(work.path, running, data.path);
});
afterAll(async () => {
  await running?.stop();
  data.remove();
  work.remove();
});

test('the page has a script for each of its cases', () => {
  expect(scripts).toHaveLength(5);
});

test.each(scripts.map((script, i) => [i + 1, script]))(
  'script %i runs as it stands',
  { timeout: 120_000 },
  async (_number, script) => {
    const done = await bash(script as string);
    expect([done.code, done.stderr]).toEqual([0, expect.any(String)]);
  },
);

test('what the scripts made is there', async () => {
  const listed = await bash('fleetgate client list -q');
  expect(listed.stdout.trim().split('\n')).toEqual([
    'meter-M0001',
    'press-P0001',
    'press-P0099',
    'sensor-A0001',
    'sensor-A0002',
    'sensor-A0003',
  ]);
  expect(readFileSync(join(work.path, 'token'), 'utf8')).toMatch(/^ey/);
});

test.each(['provision.sh', 'provision.ts'])(
  'examples/provision/%s registers the devices of a file',
  async (name) => {
    const script = join(root, 'examples/provision', name);
    const serial = name.replace('.', '-');
    writeFileSync(
      join(work.path, 'devices.jsonl'),
      `{"serial":"${serial}-1","plant":"9","hw":"x"}\n{"serial":"${serial}-2","plant":"9","hw":"x"}\n`,
    );
    if (name.endsWith('.sh')) {
      const done = await bash(`'${script}' sensor devices.jsonl by-curl`);
      expect([done.code, JSON.parse(done.stdout)]).toEqual([
        0,
        { state: 'done', created: 2, failed: 0, total: 2 },
      ]);
      expect(readdirSync(join(work.path, 'by-curl')).sort()).toEqual([
        `sensor-${serial}-1.json`,
        `sensor-${serial}-2.json`,
      ]);
      expect((await bash(`fleetgate-agent token --credentials by-curl/sensor-${serial}-1.json`)).code).toBe(
        0,
      );
      return;
    }
    const done = await bash(`'${process.execPath}' '${script}' sensor devices.jsonl`);
    expect(done.code).toBe(0);
    const lines = done.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { client_id: string });
    expect(lines.map(({ client_id }) => client_id)).toEqual([`sensor-${serial}-1`, `sensor-${serial}-2`]);
  },
);

test('provision.sh that was stopped goes on with the same job, and writes what is missing', async () => {
  const rows = Array.from({ length: 450 }, (_, i) => `{"serial":"S${i}","plant":"9","hw":"x"}`).join('\n');
  writeFileSync(join(work.path, 'many.jsonl'), `${rows}\n`);
  const script = join(root, 'examples/provision/provision.sh');
  await bash(`timeout -s KILL 2.5 '${script}' sensor many.jsonl many || true`);
  const done = await bash(`'${script}' sensor many.jsonl many`);
  expect(done).toMatchObject({ code: 0 });
  expect(JSON.parse(done.stdout)).toEqual({ state: 'done', created: 450, failed: 0, total: 450 });
  expect(readdirSync(join(work.path, 'many'))).toHaveLength(450);
}, 120_000);
