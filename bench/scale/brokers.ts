import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Measured, Task } from '../broker/load.ts';
import { createTokenMaker, type TokenMaker } from '../broker/tokens.ts';
import { ask } from '../processes.ts';
import { startRedis } from '../redis.ts';
import { alignColumns, median, type Ratios, ratioOf, whole } from '../report.ts';
import type { BrokerTask } from './serve-broker.ts';

export interface ScaleBrokersOptions {
  readonly rounds: number;
  /** Of each connect measurement. */
  readonly seconds: number;
  /** Scales the messages; 1 for a measurement. */
  readonly scale?: number;
  readonly print?: (line: string) => void;
}

/** Brokers on one Redis; `alone` is one without. */
const subjects = ['alone', '1', '2', '3'] as const;
type Subject = (typeof subjects)[number];

const measures = ['connects', 'qos0', 'qos1', 'fan_out'] as const;
type Measure = (typeof measures)[number];

const counts = { qos0: 100_000, qos1: 40_000, fanOut: 200, subscribers: 300 };
const CONNECTS_PER_SECOND = 6_000;

/** Connections and messages of brokers on one Redis against one without, round by round. */
export async function benchScaleBrokers(options: ScaleBrokersOptions): Promise<Ratios> {
  const { rounds, print = (line) => void process.stdout.write(`${line}\n`) } = options;
  const tokens = createTokenMaker();
  const load = fork(join(import.meta.dirname, '../broker/load.ts'), {
    execArgv: ['--conditions=@fleetgate/source'],
  });
  const figures = new Map<string, number[]>();
  let lost = 0;
  try {
    for (let round = 0; round < rounds; round += 1) {
      for (const [n] of subjects.entries()) {
        const subject = subjects[(n + round) % subjects.length] as Subject;
        const running = await startBrokers(subject, tokens);
        try {
          for (const measure of measures) {
            const task = taskOf(measure, running.ports, tokens, options);
            const { measured, failed } = (await ask(load, task)) as { measured?: Measured; failed?: string };
            if (measured === undefined) throw new Error(`${subject} ${measure}: ${failed}`);
            lost += measured.lost;
            const key = `${subject} ${measure}`;
            figures.set(key, [...(figures.get(key) ?? []), measured.perSecond]);
            process.stderr.write(
              `round ${round + 1} of ${rounds}: brokers ${key} ${whole(measured.perSecond)}/s\n`,
            );
          }
        } finally {
          await running.stop();
        }
      }
    }
  } finally {
    load.kill();
  }
  if (lost > 0) {
    process.stderr.write(`${lost} messages were lost\n`);
    process.exitCode = 1;
  }
  return report(figures, print);
}

async function startBrokers(subject: Subject, { jwks }: TokenMaker) {
  const redis = subject === 'alone' ? undefined : await startRedis({ appendfsync: 'everysec' });
  const children: ChildProcess[] = [];
  const ports: number[] = [];
  for (let n = 0; n < (subject === 'alone' ? 1 : Number(subject)); n += 1) {
    const child = fork(join(import.meta.dirname, 'serve-broker.ts'), {
      execArgv: ['--conditions=@fleetgate/source'],
    });
    children.push(child);
    const start: BrokerTask = { jwks, ...(redis === undefined ? {} : { redis: redis.url }) };
    ports.push(((await ask(child, { start })) as { port: number }).port);
  }
  return {
    ports,
    async stop() {
      for (const child of children) {
        const ended = once(child, 'exit');
        child.kill('SIGTERM');
        await ended;
      }
      await redis?.stop();
    },
  };
}

function taskOf(
  measure: Measure,
  ports: readonly number[],
  tokens: TokenMaker,
  { seconds, scale = 1 }: ScaleBrokersOptions,
): Task {
  const login = (clientId: string) => ({
    clientId,
    username: clientId,
    password: tokens.token(clientId),
  });
  if (measure === 'connects') {
    const count = Math.ceil(seconds * CONNECTS_PER_SECOND);
    return {
      kind: 'connect',
      port: ports,
      seconds,
      logins: Array.from({ length: count }, (_, n) => login(`c-${n}`)),
    };
  }
  const isFanOut = measure === 'fan_out';
  return {
    kind: 'throughput',
    port: ports,
    qos: measure === 'qos1' ? 1 : 0,
    messages: Math.ceil((isFanOut ? counts.fanOut : counts[measure as 'qos0' | 'qos1']) * scale),
    publisher: login('publisher'),
    subscribers: Array.from({ length: isFanOut ? counts.subscribers : 1 }, (_, n) =>
      login(`subscriber-${n}`),
    ),
  };
}

function report(figures: ReadonlyMap<string, readonly number[]>, print: (line: string) => void): Ratios {
  const of = (subject: Subject, measure: Measure) =>
    median([...(figures.get(`${subject} ${measure}`) ?? [])]);
  const rows = [['brokers on one Redis', ...measures.map((measure) => `${measure}/s`)]];
  for (const subject of subjects) {
    rows.push([
      subject === 'alone' ? 'one without' : subject,
      ...measures.map((measure) => whole(of(subject, measure))),
    ]);
  }
  print(alignColumns(rows));
  const ratios: [string, number][] = [];
  for (const subject of subjects.slice(1)) {
    for (const measure of measures) {
      ratios.push([`${measure}.${subject}/alone`, ratioOf(of(subject, measure), of('alone', measure))]);
    }
  }
  return Object.fromEntries(ratios);
}
