import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openIssuer } from '../../issuer/open-issuer.ts';
import { resolveOptions } from '../../issuer/options.ts';
import { AUDIENCE, SCOPE } from '../issuer/clients.ts';
import type { Measured, Task } from '../issuer/load.ts';
import { registerClients } from '../issuer/registration.ts';
import type { ServeTask, TokenEndpoint } from '../issuer/serve.ts';
import { ask } from '../processes.ts';
import { alignColumns, type Bounds, formatGoal, median, type Ratios, ratioOf, whole } from '../report.ts';
import type { BenchDevice, CoapTask } from './load.ts';

export interface CoapBenchOptions {
  readonly rounds: number;
  /** Of each measurement. */
  readonly seconds: number;
  /** Tokens before each measurement. Default 5000. */
  readonly warmUpTokens?: number;
  readonly print?: (line: string) => void;
}

/** As many as there are connections over HTTP, each with one request under way. */
const DEVICES = 64;

const goal: Bounds & { ratio: string } = { ratio: 'per_second.coap/http', atLeast: 1 };

type Way = 'coap' | 'http';

interface Figure extends Measured {
  /** The server's time on a processor for each token, which a busy machine changes least, in microseconds. */
  readonly cpuMicroseconds: number;
}

/** Tokens of one issuer over CoAP and over HTTP in turn, round by round. */
export async function benchCoap(options: CoapBenchOptions): Promise<void> {
  const {
    rounds,
    seconds,
    warmUpTokens = 5000,
    print = (line) => void process.stdout.write(`${line}\n`),
  } = options;
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-bench-'));
  const figures = new Map<Way, Figure[]>([
    ['coap', []],
    ['http', []],
  ]);
  const started: ChildProcess[] = [];
  const run = (file: string) => {
    // The limit is that of the `fleetgate` command.
    const child = fork(file, {
      execArgv: ['--conditions=@fleetgate/source', '--max-semi-space-size=16', '--heap-growing-percent=30'],
    });
    started.push(child);
    return child;
  };
  try {
    await registerClients(join(directory, 'fleetgate.db'), 1, 'client_secret_basic');
    const devices = await registerDevices(directory);
    const serve: ServeTask = {
      subject: 'fleetgate',
      algorithm: 'ES256',
      auth: 'client_secret_basic',
      hasCoap: true,
      directory,
    };
    const server = run(join(import.meta.dirname, '../issuer/serve.ts'));
    const { port, path, issuer, coapPort } = (await ask(server, { start: serve })) as TokenEndpoint;
    const loads = {
      coap: run(join(import.meta.dirname, 'load.ts')),
      http: run(join(import.meta.dirname, '../issuer/load.ts')),
    };
    let firstNumber = 0;
    const cpu = async () =>
      ((await ask(server, { cpu: true })) as { cpuMicroseconds: number }).cpuMicroseconds;
    const measure = async (way: Way, more: { seconds: number; atLeast: number }): Promise<Figure> => {
      const before = await cpu();
      const overCoap: CoapTask = { port: coapPort as number, devices, firstNumber, ...more };
      const overHttp: Task = { port, path, issuer, auth: 'client_secret_basic', clients: 1, ...more };
      firstNumber += 1_000_000;
      const answer = await ask(loads[way], way === 'coap' ? overCoap : overHttp);
      const { measured, failed } = answer as { measured?: Measured; failed?: string };
      if (measured === undefined) throw new Error(failed);
      return { ...measured, cpuMicroseconds: ((await cpu()) - before) / measured.tokens };
    };
    for (const way of figures.keys()) await measure(way, { seconds: 0, atLeast: warmUpTokens });
    for (let round = 0; round < rounds; round += 1) {
      const order: Way[] = round % 2 === 0 ? ['coap', 'http'] : ['http', 'coap'];
      for (const way of order) {
        const measured = await measure(way, { seconds, atLeast: 1 });
        process.stderr.write(
          `round ${round + 1} of ${rounds}: ${way} ${whole(measured.perSecond)}/s, p99 ${measured.p99Ms.toFixed(1)} ms\n`,
        );
        figures.get(way)?.push(measured);
      }
    }
  } finally {
    for (const child of started) {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    }
    rmSync(directory, { recursive: true, force: true });
  }
  report(figures, print);
}

/** Devices with a context each, made by the issuer's own acts. */
async function registerDevices(directory: string): Promise<BenchDevice[]> {
  const core = await openIssuer(
    resolveOptions({
      http: { host: '127.0.0.1', port: 0 },
      coap: { host: '127.0.0.1', port: 0 },
      database: join(directory, 'fleetgate.db'),
      keyEncryptionKeyFile: join(directory, 'key-encryption.key'),
    }),
    () => 'http://127.0.0.1',
  );
  const by = { keyName: 'bench', address: undefined, requestId: undefined };
  const devices: BenchDevice[] = [];
  for (let n = 0; n < DEVICES; n += 1) {
    const device = { clientId: `constrained-${n}`, scope: SCOPE, audience: [AUDIENCE], authMethod: 'oscore' };
    const { shown } = await core.clients.create(device, by);
    devices.push(shown.oscore as BenchDevice);
  }
  await core.close();
  return devices;
}

function report(figures: ReadonlyMap<Way, readonly Figure[]>, print: (line: string) => void): void {
  const of = (way: Way, figure: 'perSecond' | 'p99Ms' | 'cpuMicroseconds') =>
    median((figures.get(way) ?? []).map((one) => one[figure]));
  const rows = Array.from(figures.keys(), (way) => [
    way,
    whole(of(way, 'perSecond')),
    of(way, 'p99Ms').toFixed(1),
    whole(of(way, 'cpuMicroseconds')),
  ]);
  const ratios: Ratios = {
    'per_second.coap/http': ratioOf(of('coap', 'perSecond'), of('http', 'perSecond')),
    'p99_ms.coap/http': ratioOf(of('coap', 'p99Ms'), of('http', 'p99Ms')),
    'cpu_us.coap/http': ratioOf(of('coap', 'cpuMicroseconds'), of('http', 'cpuMicroseconds')),
  };
  print(alignColumns([['way', 'tokens/s', 'p99 ms', 'cpu us'], ...rows]));
  print(formatGoal(goal.ratio, goal, ratios[goal.ratio]));
  print(JSON.stringify(ratios));
}
