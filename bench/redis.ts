import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from './free-port.ts';

const PROGRAM = '/usr/bin/redis-server';

/** Whether tests that need it are skipped. With CI set none is, for want of a program. */
export const isRedisMissing = !existsSync(PROGRAM) && process.env['CI'] === undefined;

/** How long it may take to load its data. */
const MAX_START_MS = 30_000;

/** A Redis server of its own, on a loopback port that it keeps. */
export interface Redis {
  readonly port: number;
  readonly url: string;
  readonly process: ChildProcess;
  /** Stops it from doing anything, with its connections open. */
  freeze(): void;
  thaw(): void;
  /** Ends it at once, as a crash does. */
  kill(): Promise<void>;
  /** Starts it again on the same data and port. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts Debian's Redis with a file it appends to before each answer. `settings` are of its configuration. */
export async function startRedis(settings: Record<string, string> = {}): Promise<Redis> {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-redis-'));
  const port = await freePort();
  const all = {
    port: String(port),
    bind: '127.0.0.1',
    dir: directory,
    save: '',
    appendonly: 'yes',
    appendfsync: 'always',
    ...settings,
  };
  const args = Object.entries(all).flatMap(([name, value]) => [`--${name}`, value]);
  let child: ChildProcess;

  async function start(): Promise<void> {
    const started = spawn(PROGRAM, args, { cwd: directory, stdio: ['ignore', 'pipe', 'inherit'] });
    child = started;
    const lines = createInterface({ input: started.stdout });
    let output = '';
    await new Promise<void>((ready, fail) => {
      const timer = setTimeout(() => fail(new Error(`redis-server is not ready: ${output}`)), MAX_START_MS);
      started.once('error', fail);
      started.once('exit', (code) => fail(new Error(`redis-server ended with ${code}: ${output}`)));
      lines.on('line', (line) => {
        output = `${output}${line}\n`.slice(-4096);
        if (!line.includes('Ready to accept connections')) return;
        clearTimeout(timer);
        ready();
      });
    });
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'close');
    child.kill(signal);
    // A process that is frozen ends by SIGKILL only.
    child.kill('SIGCONT');
    await ended;
  }

  await start();
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    get process() {
      return child;
    },
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    kill: () => end('SIGKILL'),
    start,
    async stop() {
      await end('SIGTERM');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
