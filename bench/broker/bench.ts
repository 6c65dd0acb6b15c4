import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type MeasureName, measureNames } from './goals.ts';
import type { Measured, Task } from './load.ts';
import { type Figures, formatGoals, formatTable, ratiosOf } from './report.ts';
import { type Subject, type SubjectName, startSubject, subjectNames, untilAtRest } from './subjects.ts';
import { createTokenMaker, type TokenMaker } from './tokens.ts';

export interface BenchOptions {
  readonly rounds: number;
  /** Of each connect measurement. */
  readonly seconds: number;
  readonly only?: readonly string[] | undefined;
  readonly subjects?: readonly string[] | undefined;
  /** Scales messages and connections; 1 for a measurement, less to try the harness out. */
  readonly scale?: number;
  readonly print?: (line: string) => void;
}

/** At scale 1. */
const counts = { qos0: 300_000, qos1: 100_000, fanoutMessages: 400, subscribers: 500, idle: 5_000 };

/** Connects one second may see; tokens are made beforehand. */
const MAX_CONNECTS_PER_SECOND = 15_000;

/** Tokens that come again and again. */
const SEEN_TOKENS = 1_000;

interface Run {
  readonly tokens: TokenMaker;
  readonly load: ChildProcess;
  readonly options: BenchOptions;
  lost: number;
}

/** Measures every subject in turn, round by round, so that what disturbs the machine disturbs all. */
export async function benchBroker(options: BenchOptions): Promise<void> {
  const { rounds, print = (line) => void process.stdout.write(`${line}\n`) } = options;
  const measures = choose(measureNames, options.only, '--only');
  const names = choose(subjectNames, options.subjects, '--subjects');
  const load = fork(join(import.meta.dirname, 'load.ts'), { execArgv: ['--conditions=@fleetgate/source'] });
  const run: Run = { tokens: createTokenMaker(), load, options, lost: 0 };
  const figures: Figures = new Map();
  try {
    for (let round = 0; round < rounds; round += 1) {
      const order = names.map((_, n) => names[(n + round) % names.length] as SubjectName);
      for (const name of order) {
        const subject = await startSubject(name, run.tokens);
        if (subject === undefined) {
          if (round === 0) note(`${name} is not installed and not measured`);
          continue;
        }
        try {
          for (const measure of measures) {
            await untilAtRest(subject);
            const figure = await measureOne(run, subject, measure);
            note(`round ${round + 1} of ${rounds}: ${name} ${measure} ${Math.round(figure)}`);
            const of = figures.get(name) ?? new Map<MeasureName, number[]>();
            figures.set(name, of);
            of.set(measure, [...(of.get(measure) ?? []), figure]);
          }
        } finally {
          await subject.stop();
        }
      }
    }
  } finally {
    load.kill();
  }
  const ratios = ratiosOf(figures);
  print(formatTable(figures, ratios));
  print(formatGoals(ratios));
  if (run.lost > 0) {
    note(`${run.lost} messages were lost`);
    process.exitCode = 1;
  }
  print(JSON.stringify(ratios));
}

async function measureOne(run: Run, subject: Subject, measure: MeasureName): Promise<number> {
  const { scale = 1, seconds } = run.options;
  const { port } = subject;
  const many = (count: number) => Math.max(1, Math.round(count * scale));
  const login = (id: string) => subject.login(id, run.tokens.token(id));
  const logins = (prefix: string, count: number) =>
    Array.from({ length: count }, (_, n) => login(`${prefix}${n}`));
  const throughput = async (qos: 0 | 1, messages: number, subscribers: number) => {
    const task = { kind: 'throughput', port, qos, messages, publisher: login('p') } as const;
    const { perSecond, lost } = await ask(run.load, { ...task, subscribers: logins('s', subscribers) });
    run.lost += lost;
    return perSecond;
  };
  switch (measure) {
    case 'connect_first': {
      const all = logins('c', Math.ceil(MAX_CONNECTS_PER_SECOND * seconds));
      return (await ask(run.load, { kind: 'connect', port, seconds, logins: all })).perSecond;
    }
    case 'connect_seen': {
      const seen = logins('c', SEEN_TOKENS);
      // Once to be seen, then again and again.
      await ask(run.load, { kind: 'connect', port, seconds: 60, logins: seen });
      const times = Math.ceil((MAX_CONNECTS_PER_SECOND * seconds) / SEEN_TOKENS);
      const again = Array.from({ length: times }, () => seen).flat();
      return (await ask(run.load, { kind: 'connect', port, seconds, logins: again })).perSecond;
    }
    case 'qos0':
      return throughput(0, many(counts.qos0), 1);
    case 'qos1':
      return throughput(1, many(counts.qos1), 1);
    case 'fanout':
      return throughput(0, many(counts.fanoutMessages), many(counts.subscribers));
    case 'memory': {
      // The first connections load code and grow the heap's pages: what one more costs is measured behind them.
      await ask(run.load, { kind: 'idle', port, logins: logins('w', many(counts.idle / 10)) });
      const before = await subject.memory();
      const count = many(counts.idle);
      await ask(run.load, { kind: 'idle', port, logins: logins('i', count) });
      const after = await subject.memory();
      await ask(run.load, { kind: 'release' });
      return (after - before) / count;
    }
  }
}

async function ask(load: ChildProcess, task: Task): Promise<Measured> {
  load.send(task);
  const [answer] = (await once(load, 'message')) as [{ measured?: Measured; failed?: string }];
  if (answer.measured === undefined) throw new Error(`${task.kind}: ${answer.failed}`);
  return answer.measured;
}

function choose<Name extends string>(
  all: readonly Name[],
  asked: readonly string[] | undefined,
  flag: string,
): readonly Name[] {
  for (const name of asked ?? []) {
    if (!(all as readonly string[]).includes(name))
      throw new Error(`${flag} takes ${all.join(', ')}, not ${name}`);
  }
  return asked === undefined ? all : all.filter((name) => asked.includes(name));
}

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
