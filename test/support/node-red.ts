import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { freePort } from '../../bench/free-port.ts';

const root = resolve(import.meta.dirname, '../..');

/** The version the nodes are tested with. It is no development dependency: it would be a third of all packages. */
const VERSION = '5.0.7';

const env = {
  ...process.env,
  // As a user's shell has it: no node_modules/.bin of this checkout, a Node that is new enough.
  PATH: [
    dirname(process.execPath),
    ...(process.env['PATH'] ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules')),
  ].join(delimiter),
};

export interface NodeRedInstallation {
  /** User directory of Node-RED, where files of the nodes are looked for. */
  readonly userDirectory: string;
  start(flows: readonly object[], credentials?: object): Promise<RunningNodeRed>;
  remove(): void;
}

export interface RunningNodeRed {
  /** Of its admin API. */
  readonly url: string;
  output(): string;
  stop(): Promise<void>;
}

/** Node-RED from the registry, with the nodes as their package has them. */
export function installNodeRed(): NodeRedInstallation {
  const home = mkdtempSync(join(tmpdir(), 'fleetgate-node-red-'));
  const packed = join(home, 'packed');
  const userDirectory = join(home, 'user');
  mkdirSync(packed);
  mkdirSync(userDirectory);
  // What is tested is what is packed, and not a dist of yesterday.
  execFileSync(
    process.execPath,
    [join(root, 'node_modules/typescript/bin/tsc'), '-b', 'tsconfig.build.json'],
    {
      cwd: root,
    },
  );
  const rooms = ['shared', 'verifier', 'broker', 'agent', 'adapters/node-red'];
  npm(root, [
    ...['pack', '--silent', '--ignore-scripts', '--pack-destination', packed],
    ...rooms.flatMap((room) => ['--workspace', room]),
  ]);
  writeFileSync(join(home, 'package.json'), '{"private":true}');
  npm(home, ['install', '--ignore-scripts', `node-red@${VERSION}`]);
  writeFileSync(join(userDirectory, 'package.json'), '{"private":true}');
  npm(userDirectory, ['install', ...readdirSync(packed).map((name) => join(packed, name))]);
  return {
    userDirectory,
    start: (flows, credentials = {}) => startNodeRed(home, userDirectory, flows, credentials),
    remove: () => rmSync(home, { recursive: true, force: true }),
  };
}

function npm(cwd: string, args: readonly string[]): void {
  execFileSync('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

async function startNodeRed(
  home: string,
  userDirectory: string,
  flows: readonly object[],
  credentials: object,
): Promise<RunningNodeRed> {
  const port = await freePort();
  const settings = {
    uiHost: '127.0.0.1',
    uiPort: port,
    flowFile: 'flows.json',
    // Left as they are, so that the test can write them.
    credentialSecret: false,
    mqttReconnectTime: 500,
    telemetry: { enabled: false },
  };
  writeFileSync(join(userDirectory, 'settings.js'), `module.exports = ${JSON.stringify(settings)};\n`);
  writeFileSync(join(userDirectory, 'flows.json'), JSON.stringify(flows));
  writeFileSync(join(userDirectory, 'flows_cred.json'), JSON.stringify(credentials));
  const red = join(home, 'node_modules/node-red/red.js');
  const child = spawn(process.execPath, [red, '--userDir', userDirectory], { env, cwd: home });
  let output = '';
  const started = new Promise<void>((done, fail) => {
    const read = (chunk: Buffer) => {
      output += chunk;
      if (output.includes('Started flows')) done();
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    child.once('exit', (code) => fail(new Error(`Node-RED ended with ${code}: ${output}`)));
  });
  await started;
  return {
    url: `http://127.0.0.1:${port}`,
    output: () => output,
    stop: () => ended(child),
  };
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((done) => {
    if (child.exitCode !== null) return done();
    const kill = setTimeout(() => child.kill('SIGKILL'), 10_000);
    child.once('exit', () => {
      clearTimeout(kill);
      done();
    });
    child.kill('SIGTERM');
  });
}
