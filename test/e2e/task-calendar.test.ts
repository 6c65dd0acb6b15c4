import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  runCommand,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

// examples/task-calendar as it stands: two services written by the SuperTokens guide.

const data = temporaryDirectory();
let fleetgate: RunningFleetgate;
let calendar: ReturnType<typeof spawn>;
const env: Record<string, string> = {};

beforeAll(async () => {
  fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
  const created = await runFleetgate([
    ...['client', 'create', '--data', data.path, '--id', 'task-service', '--format', 'json'],
    ...['--scope', 'event.view event.create', '--audience', 'event'],
  ]);
  const { client_secret } = JSON.parse(created.stdout) as { client_secret: string };
  env['CLIENT_SECRET_FILE'] = join(dirname(data.path), 'task-service.secret');
  writeFileSync(env['CLIENT_SECRET_FILE'], client_secret, { mode: 0o600 });
  env['ISSUER_URL'] = fleetgate.ready['issuer'] as string;
  calendar = spawn(process.execPath, ['examples/task-calendar/calendar-service.ts'], {
    env: { ...process.env, ...env, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const line = await new Promise<string>((got) => {
    createInterface({ input: calendar.stdout as NodeJS.ReadableStream }).once('line', got);
  });
  env['CALENDAR_URL'] = line.slice(line.indexOf('http'));
});

afterAll(async () => {
  calendar?.kill();
  await fleetgate?.stop();
  data.remove();
});

const callTaskService = (more: Record<string, string> = {}) =>
  runCommand(process.execPath, ['examples/task-calendar/task-service.ts'], { env: { ...env, ...more } });

test('a token with the scope creates an event', async () => {
  const { code, stdout } = await callTaskService();
  expect(stdout).toContain('token: 200, for 900 s');
  expect(stdout).toContain('event: 201');
  expect(code).toBe(0);
});

test('a token without the scope does not', async () => {
  const { code, stdout } = await callTaskService({ SCOPE: 'event.view' });
  expect(stdout).toContain('token: 200');
  expect(stdout).toContain('event: 401');
  expect(code).toBe(1);
});

test('a scope that is not registered gets no token', async () => {
  const { code, stderr } = await callTaskService({ SCOPE: 'event.delete' });
  expect(stderr).toMatch(/^token: 400 .*event\.delete/);
  expect(code).toBe(1);
});

test('a missing secret file is one line', async () => {
  const { code, stderr } = await callTaskService({ CLIENT_SECRET_FILE: '/nonexistent/secret' });
  expect(stderr).toMatch(/^\/nonexistent\/secret does not exist[^\n]*\n$/);
  expect(code).toBe(1);
});
