import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runFleetgate } from './fleetgate-process.ts';

/**
 * Registers devices `sensor-001` and so on, in four groups `plant-1` to `plant-4`, and runs their agents in a process of
 * its own until it is stopped. Resolves when each has subscribed.
 *
 * @param data the data directory of a running `fleetgate up`
 */
export async function startAgentFleet(data: string, size: number): Promise<{ stop(): Promise<void> }> {
  const work = join(data, 'agent-fleet');
  const credentials = join(work, 'credentials');
  mkdirSync(work);
  const template = join(work, 'sensor.yaml');
  const rows = join(work, 'devices.csv');
  writeFileSync(
    template,
    `template: sensor
id: sensor-{serial}
scope: telemetry.write commands.read
group: plant-{plant}
labels: { hw: "{hw}" }
`,
  );
  const lines = Array.from({ length: size }, (_, n) => {
    const serial = String(n + 1).padStart(3, '0');
    return `${serial},${1 + (n % 4)},${n % 3 === 0 ? 'rev-b' : 'rev-a'}`;
  });
  writeFileSync(rows, `serial,plant,hw\n${lines.join('\n')}\n`);
  await done('template', 'apply', template, '--data', data);
  await done(
    ...[
      'fleet',
      'provision',
      '--data',
      data,
      '--template',
      'sensor',
      '--from',
      rows,
      '--out-dir',
      credentials,
    ],
  );

  const child = spawn(
    process.execPath,
    ['--conditions=@fleetgate/source', join(import.meta.dirname, 'agent-fleet-process.ts'), credentials],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  const code = await Promise.race([once(child.stdout, 'data').then(() => 'up' as const), ended]);
  if (code !== 'up') throw new Error(`the agents ended with ${code}`);
  return {
    async stop() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

async function done(...args: string[]): Promise<void> {
  const { code, stderr } = await runFleetgate(args);
  if (code !== 0) throw new Error(`fleetgate ${args[0]} ended with ${code}: ${stderr}`);
}
