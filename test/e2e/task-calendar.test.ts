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

// examples/task-calendar as it stands: two services written by the SuperTokens guide, and the calendar on Fastify.

const data = temporaryDirectory();
let fleetgate: RunningFleetgate;
const calendars: ReturnType<typeof spawn>[] = [];
const urls = new Map<string, string>();
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
  for (const name of ['calendar-service', 'calendar-service-fastify']) urls.set(name, await start(name));
});

afterAll(async () => {
  for (const calendar of calendars) calendar.kill();
  await fleetgate?.stop();
  data.remove();
});

/** Starts a calendar service and gives its address. */
async function start(name: string): Promise<string> {
  const args = ['--conditions=@fleetgate/source', `examples/task-calendar/${name}.ts`];
  const calendar = spawn(process.execPath, args, {
    env: { ...process.env, ...env, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  calendars.push(calendar);
  const line = await new Promise<string>((got) => {
    createInterface({ input: calendar.stdout as NodeJS.ReadableStream }).once('line', got);
  });
  return line.slice(line.indexOf('http'));
}

const callTaskService = (more: Record<string, string> = {}, calendar = 'calendar-service') =>
  runCommand(process.execPath, ['examples/task-calendar/task-service.ts'], {
    env: { ...env, CALENDAR_URL: urls.get(calendar) as string, ...more },
  });

test.each(['calendar-service', 'calendar-service-fastify'])(
  'a token with the scope creates an event at %s',
  async (calendar) => {
    const { code, stdout } = await callTaskService({}, calendar);
    expect(stdout).toContain('token: 200, for 900 s');
    expect(stdout).toContain('event: 201');
    expect(code).toBe(0);
  },
);

test.each([
  ['calendar-service', 'event: 401'],
  ['calendar-service-fastify', 'event: 403 {"error":"insufficient_scope"'],
])('a token without the scope does not at %s', async (calendar, answer) => {
  const { code, stdout } = await callTaskService({ SCOPE: 'event.view' }, calendar);
  expect(stdout).toContain('token: 200');
  expect(stdout).toContain(answer);
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
