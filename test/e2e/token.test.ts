import { chmodSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  runCommand,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const data = temporaryDirectory();
const credentials = join(dirname(data.path), 'sensor-1.json');
let fleetgate: RunningFleetgate;

beforeAll(async () => {
  fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
  const { code, stderr } = await runFleetgate([
    ...['client', 'create', '--data', data.path, '--id', 'sensor-1', '--scope', 'telemetry.write'],
    ...['--out', credentials],
  ]);
  expect(code, stderr).toBe(0);
});

afterAll(async () => {
  await fleetgate?.stop();
  data.remove();
});

test('fleetgate token request prints a token that token inspect reads from standard input', async () => {
  const { stdout: token } = await runFleetgate(['token', 'request', '--credentials', credentials]);
  expect(token).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  const { code, stdout } = await runFleetgate(['token', 'inspect', '--format', 'json'], token);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    header: { typ: 'at+jwt' },
    claims: { client_id: 'sensor-1', aud: ['mqtt'], scp: ['telemetry.write'] },
    verified: false,
  });
});

test('token inspect waits for a pipe that is empty at first', async () => {
  const line = `(sleep 0.5; "$0" --conditions=@fleetgate/source cli/main.ts token request --credentials "$1") | "$0" --conditions=@fleetgate/source cli/main.ts token inspect`;
  const { code, stdout, stderr } = await runCommand('sh', ['-c', line, process.execPath, credentials]);
  expect(code, stderr).toBe(0);
  expect(stdout).toContain('sensor-1');
});

test('fleetgate-agent token prints a token', async () => {
  const args = ['--conditions=@fleetgate/source', 'agent/main.ts', 'token', '--credentials', credentials];
  const { code, stdout, stderr } = await runCommand(process.execPath, args);
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
});

test('credentials that others can read are refused with the chmod to run', async () => {
  chmodSync(credentials, 0o644);
  const { stdout, stderr } = await runFleetgate(['token', 'request', '--credentials', credentials]);
  expect(stdout).toBe('');
  expect(stderr).toContain(`chmod 600 ${credentials}`);
  chmodSync(credentials, 0o600);
});

test('a credentials file is never written over', async () => {
  const { code, stderr } = await runFleetgate([
    ...['client', 'create', '--data', data.path, '--id', 'sensor-2', '--out', credentials],
  ]);
  expect(code).toBe(2);
  expect(stderr).toContain('EEXIST');
  const { stdout } = await runFleetgate(['client', 'list', '--data', data.path, '-q']);
  expect(stdout).toBe('sensor-1\n');
});
