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

test('a publisher whose token lives for 3 seconds renews in place, and each QoS 1 message comes once', async () => {
  await using observer = createAgent(await register('observer', 'fleet.observe'));
  await using device = createAgent(
    await register('brief', 'telemetry.write', '--token-lifetime-seconds', '3'),
  );
  const received: string[] = [];
  await observer.subscribe('devices/+/telemetry/#', { qos: 1 }, ({ payload }) => {
    received.push(Buffer.from(payload).toString());
  });
  const renewals: boolean[] = [];
  const interruptions: string[] = [];
  device.on('renewed', ({ inPlace }) => renewals.push(inPlace));
  device.on('disconnected', ({ reason }) => interruptions.push(reason));
  let sent = 0;
  while (renewals.length < 3) {
    await device.publish('devices/brief/telemetry/t', String(sent), { qos: 1 });
    sent += 1;
  }
  await expect.poll(() => received.length, { timeout: 10_000 }).toBe(sent);
  expect(received).toEqual(Array.from({ length: sent }, (_, n) => String(n)));
  expect(renewals).toEqual([true, true, true]);
  expect(interruptions).toEqual([]);
});

test('a publish the broker would refuse is an error in the caller’s hand, and the connection stays', async () => {
  await using device = createAgent(await register('eager', 'telemetry.write'));
  const interruptions: string[] = [];
  device.on('disconnected', ({ reason }) => interruptions.push(reason));
  await device.publish('devices/eager/telemetry/t', 'first', { qos: 1 });
  await expect(device.publish('devices/other/telemetry/t', 'x', { qos: 1 })).rejects.toMatchObject({
    code: 'broker_refused',
  });
  await device.publish('devices/eager/telemetry/t', 'second', { qos: 1 });
  expect(interruptions).toEqual([]);
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
