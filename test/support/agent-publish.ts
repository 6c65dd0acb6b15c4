import { resolve } from 'node:path';
import { runCommand } from './fleetgate-process.ts';

const main = resolve(import.meta.dirname, '../../agent/main.ts');

/** Publishes a message with QoS 1 by `fleetgate-agent`; its exit code. */
export async function agentPublish(
  credentials: string,
  broker: string,
  topic: string,
  env: Record<string, string> = {},
): Promise<number | null> {
  const args = [
    'publish',
    '--credentials',
    credentials,
    '--broker',
    broker,
    topic,
    '-m',
    '21.5',
    '--qos',
    '1',
  ];
  const { code } = await runCommand(process.execPath, ['--conditions=@fleetgate/source', main, ...args], {
    env,
  });
  return code;
}
