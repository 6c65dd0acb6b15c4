import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createAgent, readCredentialsFile } from '@fleetgate/agent';
import { expect, onTestFinished, test } from 'vitest';
import { freePorts, runFleetgate, startFleetgate, temporaryDirectory } from '../support/fleetgate-process.ts';

test('a broker in a process of its own cuts a device that the issuer revoked, within a second of the admin call', async () => {
  const [first, second] = [temporaryDirectory(), temporaryDirectory()];
  const issuer = await startFleetgate(['issuer', ...freePorts(first.path)]);
  const url = issuer.ready['issuer'] as string;
  const create = async (id: string, scope: string) => {
    const out = join(dirname(first.path), `${id}.json`);
    const args = ['client', 'create', '--data', first.path, '--id', id, '--scope', scope, '--out', out];
    const { code, stderr } = await runFleetgate(args);
    expect(code, stderr).toBe(0);
    return out;
  };
  const feed = await create('broker-1', 'fleetgate.revocations');
  const device = await readCredentialsFile(await create('sensor-1', 'telemetry.write'));
  const trusted = {
    issuer: url,
    jwks_uri: `${url}/.well-known/jwks.json`,
    credentials_file: feed,
    refuse_when_feed_away: 'true',
  };
  const sets = Object.entries(trusted).flatMap(([key, value]) => [
    '--set',
    `broker.trusted_issuers.0.${key}=${value}`,
  ]);
  const broker = await startFleetgate([
    'broker',
    '--json',
    '--data',
    second.path,
    ...['admin.port=0', 'broker.listeners.0.port=0'].flatMap((set) => ['--set', set]),
    ...sets,
  ]);
  const agent = createAgent(device, { brokerUrl: broker.ready['mqtt'] as string });
  onTestFinished(async () => {
    await agent.stop();
    await broker.stop();
    await issuer.stop();
    first.remove();
    second.remove();
  });
  await agent.publish('devices/sensor-1/telemetry/t', 'x', { qos: 1 });
  const cut = new Promise<number>((resolve) => {
    agent.on('disconnected', () => resolve(performance.now()));
  });
  const askedMs = performance.now();
  const revoked = await fetch(`${issuer.ready['admin']}/v1/revocations`, {
    method: 'POST',
    headers: {
      'api-key': readFileSync(join(first.path, 'admin.key'), 'utf8').trim(),
      'content-type': 'application/json',
    },
    body: JSON.stringify({ kind: 'client', client_id: 'sensor-1' }),
  });
  expect(revoked.status).toBe(201);
  expect((await cut) - askedMs).toBeLessThan(1000);
});
