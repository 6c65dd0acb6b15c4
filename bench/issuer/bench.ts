import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ask } from '../processes.ts';
import { type FigureName, type Measure, measures, type SubjectName } from './goals.ts';
import type { Measured, Task } from './load.ts';
import { registerClients } from './registration.ts';
import { type Figures, formatGoals, formatTable, ratiosOf } from './report.ts';
import type { ServeTask, TokenEndpoint } from './serve.ts';

export interface IssuerBenchOptions {
  readonly rounds: number;
  /** Of each measurement. */
  readonly seconds: number;
  /** How many clients are many. */
  readonly clients: number;
  readonly only?: readonly string[] | undefined;
  /** Tokens before each measurement. Default 5000. */
  readonly warmUpTokens?: number;
  readonly print?: (line: string) => void;
}

/** Tokens before a measurement, so that what is measured is compiled, also on a busy machine. */
const WARM_UP_TOKENS = 5000;

interface Run {
  readonly load: ChildProcess;
  readonly directory: string;
  readonly options: IssuerBenchOptions;
}

/** Measures every subject in turn, round by round, so that what disturbs the machine disturbs all. */
export async function benchIssuer(options: IssuerBenchOptions): Promise<void> {
  const { rounds, print = (line) => void process.stdout.write(`${line}\n`) } = options;
  const chosen = choose(options.only);
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-bench-'));
  const load = fork(join(import.meta.dirname, 'load.ts'), { execArgv: ['--conditions=@fleetgate/source'] });
  const run: Run = { load, directory, options };
  const figures: Figures = new Map();
  try {
    for (const measure of chosen) await prepare(run, measure);
    for (let round = 0; round < rounds; round += 1) {
      for (const measure of chosen) {
        const order = round % 2 === 0 ? measure.subjects : measure.subjects.toReversed();
        for (const subject of order) {
          const measured = await measureOne(run, measure, subject);
          note(
            `round ${round + 1} of ${rounds}: ${measure.name} ${subject} ${Math.round(measured.per_second)}/s, ` +
              `p99 ${measured.p99_ms.toFixed(1)} ms`,
          );
          add(figures, measure, subject, measured);
        }
      }
    }
  } finally {
    load.kill();
    rmSync(directory, { recursive: true, force: true });
  }
  const ratios = ratiosOf(figures);
  print(formatTable(figures));
  print(formatGoals(ratios));
  print(JSON.stringify(ratios));
}

function choose(only: readonly string[] | undefined): readonly Measure[] {
  const names = measures.map(({ name }) => name);
  for (const name of only ?? []) {
    if (!names.includes(name)) throw new Error(`--only takes ${names.join(', ')}, not ${name}`);
  }
  return only === undefined ? measures : measures.filter(({ name }) => only.includes(name));
}

const directoryOf = ({ directory }: Run, { name }: Measure) => join(directory, name);
const clientsOf = ({ options }: Run, { clients }: Measure) => (clients === 'one' ? 1 : options.clients);

async function prepare(run: Run, measure: Measure): Promise<void> {
  const directory = directoryOf(run, measure);
  mkdirSync(directory);
  const count = clientsOf(run, measure);
  if (count > 1) note(`${measure.name}: registering ${count} clients`);
  await registerClients(join(directory, 'fleetgate.db'), count, measure.auth);
}

async function measureOne(
  run: Run,
  measure: Measure,
  subject: SubjectName,
): Promise<Record<FigureName, number>> {
  const { algorithm, auth } = measure;
  const task: ServeTask = { subject, algorithm, auth, directory: directoryOf(run, measure) };
  const server = fork(join(import.meta.dirname, 'serve.ts'), {
    // The limit is that of the `fleetgate` command.
    execArgv: [
      '--conditions=@fleetgate/source',
      '--expose-gc',
      ...(subject === 'fleetgate' ? ['--max-semi-space-size=16', '--heap-growing-percent=30'] : []),
    ],
    // Warnings that a provider is configured for a bench.
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  try {
    const endpoint = (await ask(server, { start: task })) as TokenEndpoint;
    const requests = { ...endpoint, auth, clients: clientsOf(run, measure) };
    await measureLoad(run, { ...requests, seconds: 0, atLeast: run.options.warmUpTokens ?? WARM_UP_TOKENS });
    const before = await cpuOf(server);
    const { tokens, perSecond, p99Ms } = await measureLoad(run, {
      ...requests,
      seconds: run.options.seconds,
      atLeast: 1,
    });
    const cpu_us = ((await cpuOf(server)) - before) / tokens;
    const { rssBytes } = (await ask(server, { memory: true })) as { rssBytes: number };
    return { per_second: perSecond, p99_ms: p99Ms, cpu_us, resident_bytes: rssBytes };
  } finally {
    const ended = once(server, 'exit');
    server.kill('SIGTERM');
    await ended;
  }
}

async function cpuOf(server: ChildProcess): Promise<number> {
  return ((await ask(server, { cpu: true })) as { cpuMicroseconds: number }).cpuMicroseconds;
}

async function measureLoad({ load }: Run, task: Task): Promise<Measured> {
  const answer = (await ask(load, task)) as { measured?: Measured; failed?: string };
  if (answer.measured === undefined) throw new Error(answer.failed);
  return answer.measured;
}

function add(
  figures: Figures,
  { name }: Measure,
  subject: SubjectName,
  measured: Record<FigureName, number>,
): void {
  const subjects = figures.get(name) ?? new Map<SubjectName, Map<FigureName, number[]>>();
  figures.set(name, subjects);
  const of = subjects.get(subject) ?? new Map<FigureName, number[]>();
  subjects.set(subject, of);
  for (const [figure, value] of Object.entries(measured) as [FigureName, number][]) {
    of.set(figure, [...(of.get(figure) ?? []), value]);
  }
}

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
