import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type Ended,
  fleetgateCommand,
  freePorts,
  type RunningFleetgate,
  runCommand,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const root = resolve(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/fleet.md'), 'utf8');

/** The scripts of the page, in their order: each goes on where the one before ended. */
const scripts = Array.from(page.matchAll(/```sh\n(.*?)```/gs), ([, script]) => script as string);

const data = temporaryDirectory();
const work = temporaryDirectory();
let running: RunningFleetgate;
let env: Record<string, string>;

beforeAll(async () => {
  const bin = join(work.path, 'bin');
  mkdirSync(bin, { recursive: true });
  const agent = ['--conditions=@fleetgate/source', join(root, 'agent/main.ts')];
  for (const [name, command] of [
    ['fleetgate', fleetgateCommand],
    ['fleetgate-agent', agent],
  ] as const) {
    const words = [process.execPath, ...command].map((word) => `'${word}'`).join(' ');
    writeFileSync(join(bin, name), `#!/bin/sh\nexec ${words} "$@"\n`);
    chmodSync(join(bin, name), 0o755);
  }
  running = await startFleetgate(['up', ...freePorts(data.path)]);
  env = {
    PATH: `${bin}:${process.env['PATH']}`,
    FLEETGATE_DATA_DIR: data.path,
    ISSUER: running.ready['issuer'] as string,
    ADMIN_URL: running.ready['admin'] as string,
    API_KEY_FILE: join(data.path, 'admin.key'),
  };
});
afterAll(async () => {
  await running?.stop();
  data.remove();
  work.remove();
});

const bash = (script: string): Promise<Ended> =>
  runCommand('bash', ['-euo', 'pipefail', '-c', `cd '${work.path}'\n${script}`], { env, timeoutMs: 120_000 });

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
