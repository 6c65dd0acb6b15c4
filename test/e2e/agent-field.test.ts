import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

// What the field does to an agent, in its own process, with issuer and broker in theirs.

const root = resolve(import.meta.dirname, '../..');
const data = temporaryDirectory();
const folder = resolve(data.path, '..');
let fleetgate: RunningFleetgate;

beforeAll(async () => {
  fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
});

afterAll(async () => {
  await fleetgate?.stop();
  data.remove();
});

async function command(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runFleetgate([...args, '--data', data.path]);
  expect(code, stderr).toBe(0);
  return stdout;
}

async function register(id: string): Promise<string> {
  const file = join(folder, `${id}.json`);
  await command('client', 'create', '--id', id, '--scope', 'telemetry.write', '--out', file);
  return file;
}

interface RunningAgent {
  readonly process: ChildProcess;
  readonly output: () => string;
  readonly says: (text: string) => Promise<void>;
  /** Publishes a message, and resolves when the broker has acknowledged it. */
  readonly publish: (topic: string, payload: string) => Promise<void>;
  /** An answer of the health listener. */
  readonly health: (path: string) => Promise<string>;
}

/** `fleetgate-agent run` with a bridge; it is connected. */
async function startAgent(file: string, ...more: string[]): Promise<RunningAgent> {
  const args = ['run', '--credentials', file, '--mqtt', '--bridge', '--health', '127.0.0.1:0', ...more];
  const main = join(root, 'agent/main.ts');
  const child = spawn(process.execPath, ['--conditions=@fleetgate/source', main, ...args], { cwd: root });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  onTestFinished(async () => {
    child.kill('SIGTERM');
    if (child.exitCode === null) await once(child, 'exit');
  });
  const says = (text: string) => expect.poll(() => output, { timeout: 40_000 }).toContain(text);
  let count = 0;
  await says('health at http');
  const [, url] = /health at (http:\S+)/.exec(output) ?? [];
  await says('connected');
  return {
    process: child,
    output: () => output,
    says,
    async publish(topic, payload) {
      count += 1;
      child.stdin.write(`${JSON.stringify({ topic, payload, qos: 1, id: count })}\n`);
      await says(`{"id":${count},"ok":true}`);
    },
    health: async (path) => (await fetch(`${url}${path}`)).text(),
  };
}

test('issuer and broker restarted: what was published meanwhile arrives, and the agent is ready again', async () => {
  const agent = await startAgent(await register('restart'));
  const { port } = new URL(fleetgate.ready['mqtt'] as string);
  const issuerPort = new URL(fleetgate.ready['issuer'] as string).port;
  await fleetgate.stop();
  await agent.says('cannot be reached');
  expect(await agent.health('/readyz')).toBe('not ready: no MQTT session\n');
  const published = agent.publish('devices/restart/telemetry/t', 'meanwhile');
  const ports = [
    `issuer.http.port=${issuerPort}`,
    'issuer.coap.port=0',
    'admin.port=0',
    `broker.listeners.0.port=${port}`,
  ];
  const sets = ports.flatMap((set) => ['--set', set]);
  fleetgate = await startFleetgate(['up', '--json', '--data', data.path, ...sets]);
  await published;
  expect(await agent.health('/readyz')).toBe('ok\n');
});

test('tokens revoked: the agent fetches another and goes on', async () => {
  const agent = await startAgent(await register('revoked'));
  await agent.publish('devices/revoked/telemetry/t', 'before');
  await command('revoke', 'client', 'revoked');
  await agent.says('disconnected');
  await agent.publish('devices/revoked/telemetry/t', 'after');
  expect(agent.output()).toContain('refused the connection with 4');
  expect(await agent.health('/metrics')).toContain('fleetgate_agent_token_requests_total{result="ok"} 2\n');
});

test('secret rotated without overlap: the new one is taken from the file', async () => {
  const file = await register('rotated');
  const agent = await startAgent(file);
  await command('client', 'rotate-secret', 'rotated', '--overlap', '0', '--out', file);
  await agent.says('the new credentials are in use');
  await agent.publish('devices/rotated/telemetry/t', 'after');
  expect(agent.output()).not.toContain('disconnected');
});

test('credential deleted: cut off, dead after a second refusal, and no load from then on', async () => {
  const agent = await startAgent(await register('deleted'));
  await command('client', 'delete', 'deleted');
  await agent.says('no new token');
  agent.process.kill('SIGUSR1');
  await agent.says('disconnected');
  await expect
    .poll(() => agent.health('/readyz'), { timeout: 20_000 })
    .toBe('not ready: the issuer refuses the credentials\n');
  const metrics = await agent.health('/metrics');
  expect(metrics).toContain('fleetgate_agent_token_failing{kind="dead"} 1\n');
  expect(metrics).toContain('fleetgate_agent_token_requests_total{result="failed"} 2\n');
});
