import { renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createAgent, readCredentialsFile } from '@fleetgate/agent';
import { expect, onTestFinished, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const policy = (filter: string) => `version: 1\nscopes:\n  s: { publish: [ '${filter}' ] }\n`;

async function start(): Promise<{
  fleetgate: RunningFleetgate;
  file: string;
  device: () => ReturnType<typeof createAgent>;
}> {
  const data = temporaryDirectory();
  const file = join(dirname(data.path), 'policy.yaml');
  writeFileSync(file, policy('a/#'));
  const fleetgate = await startFleetgate([
    'up',
    ...freePorts(data.path),
    '--set',
    `broker.policy_file=${file}`,
  ]);
  const out = join(dirname(data.path), 'd1.json');
  const create = ['client', 'create', '--data', data.path, '--id', 'd1', '--scope', 's', '--out', out];
  expect((await runFleetgate(create)).code).toBe(0);
  const credentials = await readCredentialsFile(out);
  const agents: ReturnType<typeof createAgent>[] = [];
  onTestFinished(async () => {
    for (const agent of agents) await agent.stop();
    await fleetgate.stop();
    data.remove();
  });
  return {
    fleetgate,
    file,
    device() {
      const agent = createAgent(credentials);
      agents.push(agent);
      return agent;
    },
  };
}

const publishes = (agent: ReturnType<typeof createAgent>, topic: string) =>
  agent.publish(topic, 'x', { qos: 1 }).then(
    () => 'acknowledged',
    (error) => error.code,
  );

test('a policy file that is replaced is in force within seconds, for sessions in place', async () => {
  const { file, device } = await start();
  const agent = device();
  const interruptions: string[] = [];
  agent.on('disconnected', ({ reason }) => interruptions.push(reason));
  expect(await publishes(agent, 'a/x')).toBe('acknowledged');
  expect(await publishes(agent, 'b/x')).toBe('broker_refused');
  writeFileSync(`${file}.new`, policy('b/#'));
  renameSync(`${file}.new`, file);
  await expect.poll(() => publishes(agent, 'b/x'), { timeout: 15_000 }).toBe('acknowledged');
  expect(await publishes(agent, 'a/x')).toBe('broker_refused');
  expect(interruptions).toEqual([]);
});

test('SIGHUP reads it at once; a file that does not parse leaves the old one in force, and says so', async () => {
  const { fleetgate, file, device } = await start();
  const agent = device();
  expect(await publishes(agent, 'a/x')).toBe('acknowledged');
  writeFileSync(file, 'version: 1\nscopes: { s: { publsh: [ c/# ] } }\n');
  fleetgate.process.kill('SIGHUP');
  await expect.poll(() => fleetgate.stderr(), { timeout: 10_000 }).toContain('reload_failed');
  expect(fleetgate.stderr()).toContain('publish');
  expect(await publishes(agent, 'a/x')).toBe('acknowledged');
  writeFileSync(file, policy('c/#'));
  fleetgate.process.kill('SIGHUP');
  await expect.poll(() => publishes(agent, 'c/x'), { timeout: 10_000 }).toBe('acknowledged');
});
