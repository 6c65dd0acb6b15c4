import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const data = temporaryDirectory();
let fleetgate: RunningFleetgate;
beforeAll(async () => {
  fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
});
afterAll(async () => {
  await fleetgate?.stop();
  data.remove();
});

const apiKey = (...args: string[]) => runFleetgate(['api-key', ...args, '--data', data.path]);
const file = (name: string) => join(dirname(data.path), name);
const clients = (keyFile: string, ...args: string[]) =>
  runFleetgate(['client', ...args, '--data', data.path, '--admin-key-file', keyFile]);

test('a key is made into a file of its owner, does what its role may, and no more', async () => {
  const out = file('ci.key');
  const made = await apiKey('create', 'ci', '--role', 'provisioner', '--expires-in', '90d', '--out', out);
  expect(made.code, made.stderr).toBe(0);
  const key = readFileSync(out, 'utf8').trim();
  expect(key).toMatch(/^fgk_/);
  expect(statSync(out).mode & 0o777).toBe(0o600);
  expect(made.stdout + made.stderr).not.toContain(key);
  expect((await clients(out, 'create', '--id', 'sensor-1', '--scope', 'telemetry.write')).code).toBe(0);
  const refused = await runFleetgate(['api-key', 'list', '--data', data.path, '--admin-key-file', out]);
  expect(refused.code).toBe(1);
  for (const part of ['admin or auditor', "'ci'", '--admin-key-file']) expect(refused.stderr).toContain(part);
});

test('without a file it is printed, this once', async () => {
  const made = await apiKey('create', 'printed', '--role', 'auditor', '--format', 'json');
  const { api_key } = JSON.parse(made.stdout) as { api_key: string };
  expect(api_key).toMatch(/^fgk_/);
  const listed = await apiKey('list', '--format', 'json');
  expect(listed.stdout).not.toContain(api_key);
  expect(JSON.parse(listed.stdout)).toContainEqual(
    expect.objectContaining({ name: 'printed', role: 'auditor' }),
  );
  expect((await apiKey('list', '--format', 'csv')).stdout).toMatch(/^name,role,created_at,/);
});

test('a file that is there is not written over by a new key, and no key is made', async () => {
  const out = file('precious');
  writeFileSync(out, 'mine');
  const { code, stderr } = await apiKey('create', 'precious', '--role', 'auditor', '--out', out);
  expect(code).toBe(2);
  expect(stderr).toContain(out);
  expect(readFileSync(out, 'utf8')).toBe('mine');
  expect((await apiKey('list', '-q')).stdout).not.toContain('precious');
});

test('a name that is taken leaves no file', async () => {
  await apiKey('create', 'taken', '--role', 'auditor');
  const out = file('taken.key');
  const again = await apiKey('create', 'taken', '--role', 'auditor', '--out', out);
  expect([again.code, existsSync(out)]).toEqual([1, false]);
  expect(again.stderr).toContain("'taken'");
});

test('a key is rotated in its file', async () => {
  const out = file('r.key');
  await apiKey('create', 'r', '--role', 'provisioner', '--out', out);
  const first = readFileSync(out, 'utf8');
  expect((await apiKey('rotate', 'r', '--out', out)).code).toBe(0);
  expect(readFileSync(out, 'utf8')).not.toBe(first);
  expect(statSync(out).mode & 0o777).toBe(0o600);
  expect((await clients(out, 'list')).code).toBe(0);
});

test('a key is rotated with an overlap into another file, and both are taken', async () => {
  const [old, next] = [file('o.key'), file('o-next.key')];
  await apiKey('create', 'o', '--role', 'provisioner', '--out', old);
  const rotated = await apiKey('rotate', 'o', '--overlap', '1h', '--out', next);
  expect(rotated.stderr).toContain('the old key is taken until');
  expect((await Promise.all([clients(old, 'list'), clients(next, 'list')])).map(({ code }) => code)).toEqual([
    0, 0,
  ]);
});

test('a deleted key is refused, and to delete it again is no failure', async () => {
  const out = file('d.key');
  await apiKey('create', 'd', '--role', 'provisioner', '--out', out);
  expect((await apiKey('delete', 'd')).stdout).toBe('d\n');
  expect((await clients(out, 'list')).code).toBe(1);
  expect((await apiKey('delete', 'd')).code).toBe(0);
});

test.each<[number, string[]]>([
  [2, ['create', 'x']],
  [2, ['create', 'x', '--role', 'root']],
  [2, ['create', 'x', '--role', 'admin', '--expires-in', 'soon']],
  [1, ['create', 'a/b', '--role', 'admin']],
  [1, ['rotate', 'ghost']],
])('exit code %d for api-key %j', async (code, args) => {
  expect((await apiKey(...args)).code).toBe(code);
});
