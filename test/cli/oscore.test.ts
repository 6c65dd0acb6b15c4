import { readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseCredentials } from '@fleetgate/shared';
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
const folder = dirname(data.path);
let fleetgate: RunningFleetgate;

beforeAll(async () => {
  fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
});
afterAll(async () => {
  await fleetgate?.stop();
  data.remove();
});

const client = (...args: string[]) => runFleetgate(['client', ...args, '--data', data.path]);
const create = (id: string, ...more: string[]) =>
  client('create', '--id', id, '--scope', 'telemetry.write', '--auth', 'oscore', ...more);
const masterSecret = /[0-9a-f]{32}/;

async function token(file: string): Promise<string> {
  const main = resolve(import.meta.dirname, '../../agent/main.ts');
  const args = ['--conditions=@fleetgate/source', main, 'token', '--credentials', file];
  const { code, stdout, stderr } = await runCommand(process.execPath, args);
  expect(code, stderr).toBe(0);
  return stdout;
}

test.each(['table', 'json', 'csv'])('a context is printed as %s where no file takes it', async (format) => {
  const made = await create(`printed-${format}`, '--format', format);
  expect(made.code, made.stderr).toBe(0);
  expect(made.stdout).toMatch(/"?"master_secret"?"?: ?"?"?[0-9a-f]{32}/);
  const rotated = await client('rotate-secret', `printed-${format}`, '--format', format);
  expect(rotated.stdout).toMatch(/"?"master_secret"?"?: ?"?"?[0-9a-f]{32}/);
  expect(rotated.stdout).not.toContain('[object');
});

test('a credentials file has the context and where to ask, and a token comes by it, also after a rotation', async () => {
  const file = join(folder, 'device.json');
  const { code, stdout, stderr } = await create('device', '--out', file);
  expect([code, stdout.match(masterSecret)]).toEqual([0, null]);
  expect(stderr).not.toMatch(masterSecret);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const before = parseCredentials(readFileSync(file, 'utf8'));
  expect(before).toMatchObject({
    token_endpoint: `${fleetgate.ready['coap']}/token`,
    auth: { method: 'oscore', recipient_id: '00' },
  });
  expect((await token(file)).split('.')).toHaveLength(3);

  const rotated = await client('rotate-secret', 'device', '--out', file);
  expect([rotated.code, rotated.stdout.match(masterSecret)]).toEqual([0, null]);
  const after = parseCredentials(readFileSync(file, 'utf8'));
  expect(after.token_endpoint).toBe(before.token_endpoint);
  expect(after.auth).not.toEqual(before.auth);
  expect((await token(file)).split('.')).toHaveLength(3);
});

test('an issuer that serves no CoAP says how it would', async () => {
  const other = temporaryDirectory();
  const running = await startFleetgate([
    'up',
    ...freePorts(other.path),
    '--set',
    'issuer.coap.enabled=false',
  ]);
  try {
    expect(running.ready).not.toHaveProperty('coap');
    const args = ['client', 'create', '--data', other.path, '--id', 'a', '--auth', 'oscore'];
    const { code, stderr } = await runFleetgate(args);
    expect([code, stderr]).toEqual([1, expect.stringContaining('issuer.coap.enabled')]);
  } finally {
    await running.stop();
    other.remove();
  }
});
