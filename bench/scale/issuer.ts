import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { backupDatabase } from '../../issuer/registry/sqlite/backup.ts';
import { transferToPostgres } from '../../issuer/registry/transfer/to-postgres.ts';
import type { Measured, Task } from '../issuer/load.ts';
import { registerClients } from '../issuer/registration.ts';
import type { ServeTask, TokenEndpoint } from '../issuer/serve.ts';
import { type Postgres, startPostgres } from '../postgres.ts';
import { ask } from '../processes.ts';
import { alignColumns, median, type Ratios, ratioOf, whole } from '../report.ts';

export interface ScaleIssuerOptions {
  readonly rounds: number;
  /** Of each measurement. */
  readonly seconds: number;
  readonly clients: number;
  /** Tokens before each measurement. Default 5000. */
  readonly warmUpTokens?: number;
  readonly print?: (line: string) => void;
}

type Store = 'sqlite' | 'postgres';

interface Figure extends Measured {
  /** The issuer's time on a processor for each token, in microseconds; PostgreSQL's own is not in it. */
  readonly cpuMicroseconds: number;
}

/** Tokens of an issuer on each store in turn, round by round, of the same clients. Both stores sync each commit. */
export async function benchScaleIssuer(options: ScaleIssuerOptions): Promise<Ratios> {
  const { rounds, clients, print = (line) => void process.stdout.write(`${line}\n`) } = options;
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-bench-'));
  const file = join(directory, 'fleetgate.db');
  const figures = new Map<Store, Figure[]>([
    ['sqlite', []],
    ['postgres', []],
  ]);
  const load = fork(join(import.meta.dirname, '../issuer/load.ts'), {
    execArgv: ['--conditions=@fleetgate/source'],
  });
  let postgres: Postgres | undefined;
  try {
    postgres = await startPostgres({ fsync: 'on' });
    await registerClients(file, clients, 'client_secret_basic');
    // Of a copy: no issuer starts on the file that was carried.
    const carried = join(directory, 'carried.db');
    await backupDatabase(file, carried);
    await transferToPostgres(carried, postgres.url('bench'), { nowMs: Date.now() });
    await postgres.query('ANALYZE');
    const databases: Record<Store, string> = { sqlite: file, postgres: postgres.url('bench') };
    for (const store of figures.keys()) mkdirSync(join(directory, store));
    for (let round = 0; round < rounds; round += 1) {
      const order: Store[] = round % 2 === 0 ? ['sqlite', 'postgres'] : ['postgres', 'sqlite'];
      for (const store of order) {
        // A key file for each: the two registries make keys of their own.
        const place = { directory: join(directory, store), database: databases[store] };
        const figure = await measure(load, place, options);
        process.stderr.write(
          `round ${round + 1} of ${rounds}: ${store} ${whole(figure.perSecond)}/s, p99 ${figure.p99Ms.toFixed(1)} ms\n`,
        );
        figures.get(store)?.push(figure);
      }
    }
  } finally {
    load.kill();
    await postgres?.stop();
    rmSync(directory, { recursive: true, force: true });
  }
  return report(figures, print);
}

async function measure(
  load: ChildProcess,
  place: { readonly directory: string; readonly database: string },
  { seconds, clients, warmUpTokens = 5000 }: ScaleIssuerOptions,
): Promise<Figure> {
  const auth = 'client_secret_basic';
  const start: ServeTask = { subject: 'fleetgate', algorithm: 'ES256', auth, ...place };
  const server = fork(join(import.meta.dirname, '../issuer/serve.ts'), {
    // The limits are those of the `fleetgate` command.
    execArgv: ['--conditions=@fleetgate/source', '--max-semi-space-size=16', '--heap-growing-percent=30'],
  });
  try {
    const { port, path, issuer } = (await ask(server, { start })) as TokenEndpoint;
    const cpu = async () =>
      ((await ask(server, { cpu: true })) as { cpuMicroseconds: number }).cpuMicroseconds;
    const run = async (more: Pick<Task, 'seconds' | 'atLeast'>): Promise<Measured> => {
      const task: Task = { port, path, issuer, auth, clients, ...more };
      const { measured, failed } = (await ask(load, task)) as { measured?: Measured; failed?: string };
      if (measured === undefined) throw new Error(failed);
      return measured;
    };
    await run({ seconds: 0, atLeast: warmUpTokens });
    const before = await cpu();
    const measured = await run({ seconds, atLeast: 1 });
    return { ...measured, cpuMicroseconds: ((await cpu()) - before) / measured.tokens };
  } finally {
    const ended = once(server, 'exit');
    server.kill('SIGTERM');
    await ended;
  }
}

function report(figures: ReadonlyMap<Store, readonly Figure[]>, print: (line: string) => void): Ratios {
  const of = (store: Store, name: keyof Figure) =>
    median((figures.get(store) ?? []).map((figure) => figure[name] as number));
  const rows = [['issuer on', 'tokens/s', 'p99 ms', 'cpu us']];
  for (const store of figures.keys()) {
    rows.push([
      store,
      whole(of(store, 'perSecond')),
      of(store, 'p99Ms').toFixed(1),
      whole(of(store, 'cpuMicroseconds')),
    ]);
  }
  print(alignColumns(rows));
  return {
    'per_second.postgres/sqlite': ratioOf(of('postgres', 'perSecond'), of('sqlite', 'perSecond')),
    'p99_ms.postgres/sqlite': ratioOf(of('postgres', 'p99Ms'), of('sqlite', 'p99Ms')),
    'cpu_us.postgres/sqlite': ratioOf(of('postgres', 'cpuMicroseconds'), of('sqlite', 'cpuMicroseconds')),
  };
}
