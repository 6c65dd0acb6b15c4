import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const root = resolve(import.meta.dirname, '../..');
const main = join(root, 'cli', 'main.ts');

/** What `node` is called with to run `fleetgate` from the sources; the limit is that of its bin. */
export const fleetgateCommand = [
  '--max-semi-space-size=16',
  '--heap-growing-percent=30',
  '--conditions=@fleetgate/source',
  main,
] as const;

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunningFleetgate {
  readonly ready: Record<string, string>;
  readonly process: ChildProcess;
  /** What stderr has held so far. */
  stderr(): string;
  /** Ends it by `signal` and waits. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Arguments by which `fleetgate up` takes free ports and the given directory. */
export function freePorts(dataDirectory: string): string[] {
  return [
    '--json',
    '--data',
    dataDirectory,
    ...['issuer.http.port=0', 'issuer.coap.port=0', 'admin.port=0', 'broker.listeners.0.port=0'].flatMap(
      (set) => ['--set', set],
    ),
  ];
}

/** A directory that is removed when the test file ends; `path` does not exist yet. */
export function temporaryDirectory(): { path: string; remove: () => void } {
  const parent = mkdtempSync(join(tmpdir(), 'fleetgate-e2e-'));
  return { path: join(parent, 'data'), remove: () => rmSync(parent, { recursive: true, force: true }) };
}

/** Starts `fleetgate` from the sources and waits for its ready line. `env` is added to that of this process. */
export async function startFleetgate(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<RunningFleetgate> {
  const child = spawn(process.execPath, [...fleetgateCommand, ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = new Promise<number | null>((done) => {
    child.once('close', (code) => done(code));
  });
  const line = await Promise.race([
    new Promise<string>((got) => {
      createInterface({ input: child.stdout }).once('line', got);
    }),
    ended.then((code) => {
      throw new Error(`fleetgate ended with ${code}: ${stderr}`);
    }),
  ]);
  return {
    ready: JSON.parse(line) as Record<string, string>,
    process: child,
    stderr: () => stderr,
    stop: (signal = 'SIGTERM') => {
      child.kill(signal);
      return ended;
    },
  };
}

/** Runs `fleetgate` to its end. */
export function runFleetgate(args: readonly string[], input = ''): Promise<Ended> {
  // Some read a hundred thousand rows, on a machine that has other things to do.
  return runCommand(process.execPath, [...fleetgateCommand, ...args], { input, timeoutMs: 120_000 });
}

/** Runs any command to its end, or kills it after `timeoutMs`. */
export function runCommand(
  command: string,
  args: readonly string[],
  options: { input?: string; env?: Record<string, string>; timeoutMs?: number } = {},
): Promise<Ended> {
  return new Promise((done, fail) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...options.env },
      timeout: options.timeoutMs ?? 40_000,
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', fail);
    child.once('close', (code) => done({ code, stdout, stderr }));
    child.stdin.on('error', () => undefined).end(options.input ?? '');
  });
}

/** An access token by form and Basic, as any OAuth client asks for it. */
export async function requestToken(issuer: string, clientId: string, secret: string): Promise<Response> {
  return fetch(`${issuer}/oauth/token`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`${clientId}:${secret}`).toString('base64')}`,
      'content-type': 'application/x-www-form-urlencoded',
    },
    body: 'grant_type=client_credentials',
  });
}
