import { dirname, join } from 'node:path';
import { createAgent, readCredentialsFile } from '@fleetgate/agent';
import type { Credentials } from '@fleetgate/shared';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

// The agent against the real issuer and broker.

const data = temporaryDirectory();
let fleetgate: RunningFleetgate;

beforeAll(async () => {
  fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
});

afterAll(async () => {
  await fleetgate?.stop();
  data.remove();
});

async function register(id: string, scope: string, ...more: string[]): Promise<Credentials> {
  const out = join(dirname(data.path), `${id}.json`);
  const args = ['client', 'create', '--data', data.path, '--id', id, '--scope', scope, '--out', out];
  const { code, stderr } = await runFleetgate([...args, ...more]);
  expect(code, stderr).toBe(0);
  return readCredentialsFile(out);
}

test('a publisher whose token lives for 3 seconds renews by reconnecting and loses no QoS 1 message', async () => {
  await using observer = createAgent(await register('observer', 'fleet.observe'));
  await using device = createAgent(
    await register('brief', 'telemetry.write', '--token-lifetime-seconds', '3'),
  );
  const received = new Map<string, number>();
  await observer.subscribe('devices/+/telemetry/#', { qos: 1 }, ({ payload }) => {
    const text = Buffer.from(payload).toString();
    received.set(text, (received.get(text) ?? 0) + 1);
  });
  let renewals = 0;
  device.on('renewed', () => {
    renewals += 1;
  });
  let sent = 0;
  while (renewals < 3) {
    await device.publish('devices/brief/telemetry/t', String(sent), { qos: 1 });
    sent += 1;
  }
  await expect.poll(() => received.size, { timeout: 10_000 }).toBe(sent);
  expect([...received.values()].every((count) => count >= 1)).toBe(true);
});

test('a filter outside the grants is refused, and the agent stays connected', async () => {
  await using device = createAgent(await register('nosy', 'commands.read telemetry.write'));
  await expect(device.subscribe('devices/#', { qos: 1 }, () => undefined)).rejects.toMatchObject({
    code: 'broker_refused',
  });
  await device.publish('devices/nosy/telemetry/t', 'still here', { qos: 1 });
  expect(device.phase).toBe('connected');
});

test('a command reaches its device', async () => {
  await using device = createAgent(await register('worker', 'commands.read'));
  await using control = createAgent(await register('control', 'commands.write'));
  const got = new Promise<string>((done, fail) => {
    device
      .subscribe('devices/worker/commands/#', { qos: 1 }, ({ payload }) =>
        done(Buffer.from(payload).toString()),
      )
      .then(() => control.publish('devices/worker/commands/go', 'now', { qos: 1 }))
      .catch(fail);
  });
  expect(await got).toBe('now');
});
