import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectAsync, type MqttClient } from 'mqtt';
import { bundleAgent, bundleProgram } from '../../deploy/bundle-agent.ts';
import { type Bounds, formatGoal, median, type Ratios, ratioOf, whole } from '../report.ts';

export interface AgentBenchOptions {
  readonly rounds: number;
  /** Messages of QoS 1 that each publishes before its memory is looked at. Default 5000. */
  readonly messages?: number;
  readonly print?: (line: string) => void;
}

const DEVICE = 'bench-device';
const TOPIC = `devices/${DEVICE}/telemetry/t`;

/** Messages on their way to one program at once, fewer than its queue takes. */
const BURST = 500;

/** Between the last message and the look at the memory. */
const REST_MS = 1000;

const goals: readonly (Bounds & { ratio: string })[] = [
  { ratio: 'bundle_bytes.agent/600000', atMost: 1 },
  { ratio: 'resident_bytes.agent/mqtt.js', atMost: 1.15 },
];

type SubjectName = 'agent' | 'mqtt.js';

interface Figure {
  /** From the start of the process until its first message is delivered; of the agent with a token request. */
  readonly startMs: number;
  readonly residentBytes: number;
}

/** Each subject is one file for Node that gets the same lines to publish, round by round. */
export async function benchAgent(options: AgentBenchOptions): Promise<void> {
  const { rounds, messages = 5000, print = (line) => void process.stdout.write(`${line}\n`) } = options;
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-bench-'));
  const fleetgate = await startFleetgate(directory);
  const figures = new Map<SubjectName, Figure[]>([
    ['agent', []],
    ['mqtt.js', []],
  ]);
  let observer: MqttClient | undefined;
  try {
    const agent = await bundleAgent(directory);
    const bare = join(directory, 'bare.mjs');
    await bundleProgram(join(import.meta.dirname, 'bare.ts'), bare);
    const credentials = createClient(directory, DEVICE, 'telemetry.write');
    const observing = createClient(directory, 'bench-observer', 'fleet.observe');
    const tokenFile = join(directory, 'token');
    const token = (file: string) => run(agent, ['token', '--credentials', file]).trim();
    writeFileSync(tokenFile, token(credentials), { mode: 0o600 });
    observer = await connectAsync(fleetgate.mqtt, {
      clientId: 'bench-observer',
      username: 'bench-observer',
      password: token(observing),
    });
    await observer.subscribeAsync(TOPIC, { qos: 1 });
    const argumentsOf: Record<SubjectName, readonly string[]> = {
      agent: [agent, 'run', '--credentials', credentials, '--mqtt', '--bridge'],
      'mqtt.js': [bare, fleetgate.mqtt, DEVICE, tokenFile],
    };
    for (let round = 0; round < rounds; round += 1) {
      const order: SubjectName[] = round % 2 === 0 ? ['agent', 'mqtt.js'] : ['mqtt.js', 'agent'];
      for (const subject of order) {
        const figure = await measure(argumentsOf[subject], observer, messages);
        process.stderr.write(
          `round ${round + 1} of ${rounds}: ${subject} first publish after ${whole(figure.startMs)} ms, ` +
            `resident ${whole(figure.residentBytes / 1024 / 1024)} MiB\n`,
        );
        figures.get(subject)?.push(figure);
      }
    }
    report(figures, statSync(agent).size, print);
  } finally {
    await observer?.endAsync(true);
    fleetgate.process.kill('SIGTERM');
    await fleetgate.ended;
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(program: readonly string[], observer: MqttClient, messages: number): Promise<Figure> {
  let delivered = 0;
  let wake = () => {};
  const count = () => {
    delivered += 1;
    wake();
  };
  observer.on('message', count);
  const beganMs = performance.now();
  const child = spawn(process.execPath, program, { stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = once(child, 'exit');
  const untilDelivered = async (wanted: number) => {
    while (delivered < wanted) {
      const { promise, resolve: woken } = Promise.withResolvers<void>();
      wake = woken;
      if (child.exitCode !== null) throw new Error(`${program[0]} ended with ${child.exitCode}`);
      await Promise.race([promise, ended]);
    }
  };
  try {
    send(child, 1);
    await untilDelivered(1);
    const startMs = performance.now() - beganMs;
    for (let sent = 1; sent < messages; sent += BURST) {
      const more = Math.min(BURST, messages - sent);
      send(child, more);
      await untilDelivered(sent + more);
    }
    await sleep(REST_MS);
    return { startMs, residentBytes: residentBytes(child) };
  } finally {
    observer.off('message', count);
    child.kill('SIGTERM');
    await ended;
  }
}

function send({ stdin }: ChildProcess, count: number): void {
  const line = JSON.stringify({ topic: TOPIC, payload: 'x'.repeat(64), qos: 1 });
  stdin?.write(`${line}\n`.repeat(count));
}

/** Linux alone says it of another process. */
function residentBytes({ pid }: ChildProcess): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

function report(
  figures: ReadonlyMap<SubjectName, readonly Figure[]>,
  bundleBytes: number,
  print: (line: string) => void,
): void {
  const of = (subject: SubjectName, figure: keyof Figure) =>
    median((figures.get(subject) ?? []).map((one) => one[figure]));
  const ratios: Ratios = {
    'bundle_bytes.agent/600000': ratioOf(bundleBytes, 600_000),
    'start_ms.agent/mqtt.js': ratioOf(of('agent', 'startMs'), of('mqtt.js', 'startMs')),
    'resident_bytes.agent/mqtt.js': ratioOf(of('agent', 'residentBytes'), of('mqtt.js', 'residentBytes')),
  };
  for (const subject of figures.keys()) {
    const mebibytes = of(subject, 'residentBytes') / 1024 / 1024;
    print(
      `${subject}: first publish after ${whole(of(subject, 'startMs'))} ms, resident ${mebibytes.toFixed(1)} MiB`,
    );
  }
  print(`bundle of the agent: ${whole(bundleBytes)} bytes`);
  print(goals.map((goal) => formatGoal(goal.ratio, goal, ratios[goal.ratio])).join('\n'));
  print(JSON.stringify(ratios));
}

const sources = ['--conditions=@fleetgate/source'];
const cli = resolve(import.meta.dirname, '../../cli/main.ts');

/** Issuer and broker as an operator runs them. */
async function startFleetgate(directory: string) {
  const ports = ['issuer.http.port=0', 'issuer.coap.port=0', 'admin.port=0', 'broker.listeners.0.port=0'];
  const child = spawn(
    process.execPath,
    [
      ...sources,
      cli,
      'up',
      '--json',
      '--data',
      join(directory, 'data'),
      ...ports.flatMap((set) => ['--set', set]),
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const ended = once(child, 'exit');
  const [line] = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), ended]);
  if (typeof line !== 'string') throw new Error(`fleetgate up ended with ${line}`);
  return { process: child, ended, mqtt: JSON.parse(line).mqtt as string };
}

function createClient(directory: string, id: string, scope: string): string {
  const out = join(directory, `${id}.json`);
  const data = join(directory, 'data');
  run(cli, ['client', 'create', '--data', data, '--id', id, '--scope', scope, '--out', out]);
  return out;
}

function run(program: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...sources, program, ...args], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}
