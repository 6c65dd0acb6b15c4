import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from '../../bench/redis.ts';
import type { TestIssuer } from './broker-tokens.ts';
import { type RunningFleetgate, startFleetgate, temporaryDirectory } from './fleetgate-process.ts';
import type { Fault, FaultKind } from './history.ts';
import { type Link, startLink } from './link.ts';

export interface ClusterOptions {
  readonly brokers: number;
  /** Without one the broker keeps all in its memory. */
  readonly redis?: Redis;
  readonly issuer: TestIssuer;
  /** The text of the policy file. */
  readonly policy: string;
}

/** Brokers on one Redis, each a process, with links that can be cut, and started again when they end. */
export interface BrokerCluster {
  /** Where devices connect, by broker; each keeps its port. */
  readonly ports: readonly number[];
  readonly deviceLinks: readonly Link[];
  readonly redisLinks: readonly Link[];
  /** What was done so far, and brokers that ended by themselves. */
  readonly faults: readonly Fault[];
  /** Acts and notes it as a fault that lasts as long. */
  during(kind: FaultKind, broker: number | undefined, act: () => Promise<void>): Promise<void>;
  /** Stops it from doing anything, with its connections open. */
  freeze(broker: number): void;
  thaw(broker: number): void;
  /** Ends it at once, as a crash does; it stays down until `start`. */
  kill(broker: number): Promise<void>;
  start(broker: number): Promise<void>;
  /** Resolves when each of them runs. */
  allUp(): Promise<void>;
  /** What it wrote to stderr, over all its lives. */
  stderr(broker: number): string;
  stop(): Promise<void>;
}

/** Time without a sign of life after which the others take a broker for dead. */
export const DEAD_AFTER_SECONDS = 8;

/** What a supervisor waits before it starts again what ended. */
const RESTART_PAUSE_MS = 500;

interface Member {
  running: RunningFleetgate | undefined;
  /** That it is to run: an end is not wanted. */
  isWanted: boolean;
  starting: Promise<void>;
  stderrBefore: string;
}

export async function startBrokerCluster(options: ClusterOptions): Promise<BrokerCluster> {
  const { brokers, redis, issuer, policy } = options;
  const work = temporaryDirectory();
  const faults: Fault[] = [];
  const members: Member[] = [];
  const deviceLinks: Link[] = [];
  const redisLinks: Link[] = [];

  const portOf = (n: number) => Number(new URL(members[n]?.running?.ready['mqtt'] ?? 'mqtt://x:1').port);
  const directoryOf = (n: number) => join(work.path, `broker-${n}`);

  async function launch(n: number): Promise<void> {
    const member = members[n] as Member;
    const running = await startFleetgate([
      ...['broker', '--json', '--data', directoryOf(n)],
      ...['--config', join(directoryOf(n), 'fleetgate.yaml')],
    ]);
    if (!member.isWanted) {
      await running.stop('SIGKILL');
      return;
    }
    member.running = running;
    running.process.once('exit', () => ended(n, running));
  }

  /** As a supervisor does: again, as long as it does not start. */
  async function run(n: number): Promise<void> {
    const member = members[n] as Member;
    while (member.isWanted) {
      try {
        return await launch(n);
      } catch (error) {
        member.stderrBefore += `${(error as Error).message}\n`;
        await sleep(RESTART_PAUSE_MS);
      }
    }
  }

  function ended(n: number, running: RunningFleetgate): void {
    const member = members[n] as Member;
    member.stderrBefore += running.stderr();
    if (member.running === running) member.running = undefined;
    if (!member.isWanted) return;
    const beganMs = Date.now();
    member.starting = sleep(RESTART_PAUSE_MS)
      .then(() => run(n))
      .then(() => void faults.push({ kind: 'broker_ended', broker: n, beganMs, endedMs: Date.now() }));
  }

  const start = (n: number) => {
    const member = members[n] as Member;
    member.isWanted = true;
    member.starting = run(n);
    return member.starting;
  };

  for (let n = 0; n < brokers; n += 1) {
    const redisLink = redis === undefined ? undefined : await startLink(() => redis.port);
    if (redisLink !== undefined) redisLinks.push(redisLink);
    const directory = directoryOf(n);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeFileSync(join(directory, 'keys.json'), JSON.stringify(issuer.jwks()));
    writeFileSync(join(directory, 'policy.yaml'), policy);
    writeFileSync(join(directory, 'fleetgate.yaml'), configuration(issuer, redisLink?.port));
    members.push({
      running: undefined,
      isWanted: true,
      starting: Promise.resolve(),
      stderrBefore: '',
    });
    deviceLinks.push(await startLink(() => portOf(n)));
    await launch(n);
  }

  async function allUp(): Promise<void> {
    while (members.some(({ running }) => running === undefined)) {
      await Promise.all(members.map(({ starting }) => starting));
    }
  }

  return {
    ports: deviceLinks.map(({ port }) => port),
    deviceLinks,
    redisLinks,
    faults,
    async during(kind, broker, act) {
      const beganMs = Date.now();
      await act();
      const fault = { kind, beganMs, endedMs: Date.now() };
      faults.push(broker === undefined ? fault : { ...fault, broker });
    },
    freeze: (n) => void members[n]?.running?.process.kill('SIGSTOP'),
    thaw: (n) => void members[n]?.running?.process.kill('SIGCONT'),
    async kill(n) {
      const member = members[n] as Member;
      member.isWanted = false;
      await member.running?.stop('SIGKILL');
    },
    start,
    allUp,
    stderr: (n) => `${members[n]?.stderrBefore}${members[n]?.running?.stderr() ?? ''}`,
    async stop() {
      for (const member of members) member.isWanted = false;
      await Promise.all(
        members.map(async (member) => {
          await member.running?.stop('SIGKILL');
          await member.starting;
        }),
      );
      await Promise.all([...deviceLinks, ...redisLinks].map((link) => link.close()));
      work.remove();
    },
  };
}

function configuration({ name }: TestIssuer, redisPort: number | undefined): string {
  const settings = {
    admin: { port: 0 },
    broker: {
      listeners: [{ protocol: 'mqtt', port: 0 }],
      trusted_issuers: [{ issuer: name, jwks_file: 'keys.json' }],
      ...(redisPort === undefined
        ? {}
        : { cluster: { redis: `redis://127.0.0.1:${redisPort}`, dead_after_seconds: DEAD_AFTER_SECONDS } }),
    },
    log: { level: 'warn' },
  };
  // JSON is YAML.
  return JSON.stringify(settings);
}
