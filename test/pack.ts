/**
 * Packs every package and installs each alone, with plain npm, in an empty directory: what a user gets from the
 * registry. Prints a line for each and exits 1 when one does not hold. Run by `npm run test:pack`.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { publint } from 'publint';

interface Package {
  folder: string;
  /** Packages of ours that it needs: their tarballs are installed beside it, as no registry has them yet. */
  needs: readonly string[];
  bin?: string;
  /** Packages that must not be in its installed tree. */
  forbidden: readonly string[];
}

const packages: readonly Package[] = [
  { folder: 'shared', needs: [], forbidden: ['better-sqlite3', 'fastify', 'aedes', 'mqtt'] },
  { folder: 'verifier', needs: ['shared'], forbidden: ['aedes', 'fastify', 'ioredis', 'jose', 'ws', 'yaml'] },
  {
    folder: 'broker',
    needs: ['shared', 'verifier'],
    forbidden: ['better-sqlite3', 'fastify', 'mqtt', 'prom-client'],
  },
  ...['express', 'fastify', 'nestjs'].map((name) => ({
    folder: `adapters/${name}`,
    needs: ['shared', 'verifier'],
    forbidden: ['aedes', 'better-sqlite3', 'mqtt', 'jose'],
  })),
  { folder: 'issuer', needs: ['shared'], forbidden: ['aedes', 'mqtt'] },
  {
    folder: 'agent',
    needs: ['shared'],
    bin: 'fleetgate-agent',
    forbidden: ['better-sqlite3', 'fastify', 'express', 'koa', 'aedes', '@opentelemetry/api'],
  },
  {
    folder: 'adapters/node-red',
    needs: ['shared', 'verifier', 'broker', 'agent'],
    forbidden: ['better-sqlite3', 'fastify', 'node-red'],
  },
  { folder: 'console', needs: [], forbidden: ['preact', 'vite', 'uplot'] },
  {
    folder: 'cli',
    needs: ['shared', 'verifier', 'broker', 'issuer', 'agent', 'console'],
    bin: 'fleetgate',
    forbidden: [],
  },
];

const root = resolve(import.meta.dirname, '..');
const scratch = mkdtempSync(join(tmpdir(), 'fleetgate-pack-'));
// A newcomer's shell has no node_modules/.bin of this checkout on PATH, only a Node that is new enough.
const path = [
  dirname(process.execPath),
  ...(process.env['PATH'] ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules')),
].join(delimiter);
const env = { ...process.env, PATH: path, npm_config_update_notifier: 'false' };

try {
  const tarballs = new Map(packages.map(({ folder }) => [folder, pack(folder)]));
  for (const one of packages) await check(one, tarballs);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

function pack(folder: string): string {
  const target = join(scratch, 'tarballs', folder);
  mkdirSync(target, { recursive: true });
  execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', target], {
    cwd: join(root, folder),
    env,
  });
  const [name] = readdirSync(target);
  if (name === undefined) throw new Error(`npm pack made nothing of ${folder}`);
  return join(target, name);
}

async function check(
  { folder, needs, bin, forbidden }: Package,
  tarballs: Map<string, string>,
): Promise<void> {
  const home = join(scratch, folder);
  mkdirSync(home, { recursive: true });
  const dependencies = Object.fromEntries(
    [...needs, folder].map((name) => [nameOf(name), `file:${tarballs.get(name)}`]),
  );
  writeFileSync(join(home, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies }));
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: home,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const name = nameOf(folder);
  const said = run(home, process.execPath, [
    '-e',
    `import(${JSON.stringify(name)}).then((m) => console.log(Object.keys(m).length))`,
  ]);
  if (!(Number(said) > 0)) fail(`${name}: its import has no exports`);
  if (
    bin !== undefined &&
    !run(home, join(home, 'node_modules', '.bin', bin), ['--help']).includes('Usage')
  ) {
    fail(`${name}: ${bin} --help says nothing`);
  }
  for (const unwanted of forbidden) {
    if (existsSync(join(home, 'node_modules', unwanted))) fail(`${name}: installs ${unwanted}`);
  }
  const manifest = join(home, 'node_modules', name);
  if (!existsSync(join(manifest, 'LICENSE'))) fail(`${name}: has no LICENSE`);
  const { exports } = JSON.parse(readFileSync(join(manifest, 'package.json'), 'utf8')) as {
    exports: { '.': { types: string } };
  };
  if (!existsSync(join(manifest, exports['.'].types))) fail(`${name}: has no declarations`);
  const { messages } = await publint({ pkgDir: manifest, strict: true });
  const errors = messages.filter(({ type }) => type === 'error');
  if (errors.length > 0) fail(`${name}: publint: ${JSON.stringify(errors)}`);
  process.stdout.write(`${name}: installed alone, imported${bin === undefined ? '' : `, ${bin} --help`}\n`);
}

function run(cwd: string, command: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, env, encoding: 'utf8' });
  if (status !== 0) fail(`${command} ${args.join(' ')} ended with ${status}: ${stderr}`);
  return stdout;
}

function nameOf(folder: string): string {
  return (JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) as { name: string }).name;
}

function fail(message: string): never {
  throw new Error(message);
}
