import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const data = temporaryDirectory();
const exported = join(dirname(data.path), 'audit.jsonl');
let running: RunningFleetgate | undefined;
let api: string[];

beforeAll(async () => {
  running = await startFleetgate(['issuer', ...freePorts(data.path).slice(0, -2)]);
  api = ['--admin-url', running.ready['admin'] as string, '--admin-key-file', join(data.path, 'admin.key')];
  for (const id of ['a', 'b', 'b']) await runFleetgate(['client', 'create', '--data', data.path, '--id', id]);
});
afterAll(async () => {
  await running?.stop();
  data.remove();
});

const audit = (...args: string[]) => runFleetgate(['audit', ...args]);
const fromDatabase = ['--data', data.path];
/** Rows of the export. */
const rows = () => readFileSync(exported, 'utf8').trimEnd().split('\n').length;

test('the database and the API tell the same trail, and both verify', async () => {
  const list = ['list', '--format', 'json', '--limit', '10'];
  const [byDatabase, byApi] = await Promise.all([audit(...list, ...fromDatabase), audit(...list, ...api)]);
  const events = JSON.parse(byDatabase.stdout) as { action: string; result: string }[];
  expect(JSON.parse(byApi.stdout)).toEqual(events);
  expect(events.slice(-3).map(({ action, result }) => [action, result])).toEqual([
    ['client.create', 'ok'],
    ['client.create', 'ok'],
    ['client.create', 'registry_conflict'],
  ]);
  for (const where of [fromDatabase, api]) {
    const { code, stdout } = await audit('verify', '--format', 'json', ...where);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ intact: true, rows: events.length, first: 1 });
  }
});

test('the list shows the newest that match, the last at the end', async () => {
  const { stdout } = await audit('list', '--client', 'b', '--limit', '1', ...fromDatabase);
  expect(stdout.trimEnd().split('\n')).toHaveLength(2);
  expect(stdout).toMatch(/registry_conflict/);
});

test('an export is a private file that is not overwritten, verifies by itself, and names its checkpoint', async () => {
  const { code, stderr } = await audit('export', '--out', exported, ...fromDatabase);
  expect(code).toBe(0);
  expect(statSync(exported).mode & 0o777).toBe(0o600);
  expect(await audit('export', '--out', exported, ...fromDatabase)).toMatchObject({ code: 2 });
  const checkpoint = stderr.trim().replace('checkpoint ', '');
  expect(await audit('verify', '--file', exported, '--expect', checkpoint)).toMatchObject({ code: 0 });
  const { stdout } = await audit('export', '--after', String(rows() - 2), ...api);
  expect(readFileSync(exported, 'utf8').endsWith(stdout)).toBe(true);
  expect(stdout.trimEnd().split('\n')).toHaveLength(2);
});

test('a line that was changed is named, and one that is no event is an error', async () => {
  writeFileSync(exported, readFileSync(exported, 'utf8').replace('"target":"b"', '"target":"c"'));
  const { code, stdout } = await audit('verify', '--format', 'json', '--file', exported);
  expect({ code, ...JSON.parse(stdout) }).toMatchObject({ code: 1, intact: false, broken_at: rows() - 1 });
  writeFileSync(exported, 'not a line of it\n');
  expect(await audit('verify', '--file', exported)).toMatchObject({ code: 1, stdout: '' });
});

test('a row changed in the database is named, while an issuer runs on it and after', async () => {
  const database = new Sqlite(join(data.path, 'fleetgate.db'));
  database.exec("DROP TRIGGER audit_is_never_changed; UPDATE audit SET result = 'ok' WHERE result <> 'ok'");
  database.close();
  for (const where of [fromDatabase, api]) {
    const { code, stdout } = await audit('verify', ...where);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^broken: row \d+ /);
  }
  expect(await running?.stop()).toBe(0);
  running = undefined;
  expect(await audit('verify', ...fromDatabase)).toMatchObject({ code: 1 });
});

test.each([
  [['verify', '--expect', '4'], 2],
  [['verify', '--file', '/nowhere/audit.jsonl'], 2],
  [['list', '--since', 'yesterday'], 2],
  [['list', '--limit', 'many'], 2],
  [['list', '--data', '/nowhere'], 1],
])('%j is refused in one line', async (args, expected) => {
  const { code, stdout, stderr } = await audit(
    ...(args.includes('--data') ? args : [...args, ...fromDatabase]),
  );
  expect({ code, stdout }).toEqual({ code: expected, stdout: '' });
  expect(stderr.trimEnd()).toMatch(/^fleetgate: [^\n]+$/);
});
