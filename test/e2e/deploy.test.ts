import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { runFleetgate, startFleetgate } from '../support/fleetgate-process.ts';

const root = resolve(import.meta.dirname, '../..');
const scratch = mkdtempSync(join(tmpdir(), 'fleetgate-deploy-'));
// Hundreds of megabytes of packages.
afterAll(() => rmSync(scratch, { recursive: true, force: true }), 300_000);

/** Instructions of a Dockerfile in order, continued lines joined. */
function instructions(file: string): { name: string; text: string }[] {
  return readFileSync(join(root, file), 'utf8')
    .replace(/^#.*\n/gm, '')
    .replace(/\\\n\s*/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [name = '', ...rest] = line.trim().split(' ');
      return { name, text: rest.join(' ') };
    });
}

const source = join(scratch, 'source');

/** Runs a command of a Dockerfile where its `COPY . .` has put the repository. */
function runThere(command: string, path: string): void {
  const env = { ...process.env, PATH: path };
  const { status, stderr } = spawnSync('sh', ['-ec', command], { cwd: source, encoding: 'utf8', env });
  if (status !== 0) throw new Error(`${command}: ${stderr}`);
}

// No container engine is at hand where this runs: the commands of the file are run as they stand, in folders of their own.
describe('deploy/docker/fleetgate.Dockerfile', () => {
  const all = instructions('deploy/docker/fleetgate.Dockerfile');
  const folders = {
    '/packages': join(scratch, 'packages'),
    '/opt/fleetgate': join(scratch, 'opt'),
    '/data': join(scratch, 'data'),
  };
  const here = (text: string) =>
    Object.entries(folders).reduce((path, [from, to]) => path.replaceAll(from, to), text);
  const last = (name: string) => all.findLast((one) => one.name === name)?.text ?? '';
  // The Node of the image, which brings its npm.
  const env = {
    ...process.env,
    PATH: `${join(folders['/opt/fleetgate'], 'node_modules', '.bin')}:${dirname(process.execPath)}:${process.env['PATH']}`,
    FLEETGATE_DATA_DIR: folders['/data'],
    NODE_ENV: 'production',
  };

  beforeAll(() => {
    const files = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
      cwd: root,
    });
    for (const file of files
      .toString()
      .split('\0')
      .filter((name) => name !== '' && existsSync(join(root, name)))) {
      mkdirSync(dirname(join(source, file)), { recursive: true });
      cpSync(join(root, file), join(source, file));
    }
    const second = all.findLastIndex(({ name }) => name === 'FROM');
    for (const { name, text } of all.slice(0, second)) {
      if (name !== 'RUN') continue;
      runThere(here(text), env.PATH);
    }
  }, 600_000);

  test('its commands make what is copied and started, with no tools of the build in it', () => {
    expect(here(last('COPY'))).toBe(`--from=build ${folders['/opt/fleetgate']} ${folders['/opt/fleetgate']}`);
    const installed = readdirSync(join(folders['/opt/fleetgate'], 'node_modules'));
    for (const unwanted of ['typescript', 'vitest', 'vite', 'playwright-core', 'node']) {
      expect(installed).not.toContain(unwanted);
    }
  });

  test('spans can be exported from it, by what the tests run with', () => {
    const run = all.find(({ text }) => text.startsWith('npm install'))?.text ?? '';
    const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const pinned = Array.from(run.matchAll(/(@opentelemetry\/[\w-]+)@(\S+)/g), ([, name, version]) => [
      name,
      version,
    ]);
    expect(pinned).toHaveLength(3);
    for (const [name, version] of pinned) expect(devDependencies[name as string]).toBe(version);
    const start = `import { startTracing } from '@fleetgate/agent/tracing';
      await (await startTracing({ serviceName: 's', onProblem() {}, environment: { OTEL_TRACES_EXPORTER: 'otlp' } })).stop();`;
    const ran = spawnSync(process.execPath, ['--input-type=module', '-e', start], {
      cwd: folders['/opt/fleetgate'],
      encoding: 'utf8',
    });
    expect([ran.status, ran.stderr]).toEqual([0, '']);
  });

  test('it runs as nobody in particular, says when it is healthy, and ends in time', async () => {
    expect(last('USER')).toBe('1000:1000');
    const [entry] = JSON.parse(last('ENTRYPOINT')) as [string];
    const command = JSON.parse(last('CMD')) as string[];
    const health = JSON.parse(/CMD (\[.*\])/.exec(last('HEALTHCHECK'))?.[1] ?? '') as [string, string];
    const check = () => spawnSync(health[0], [here(health[1])], { env, encoding: 'utf8' });
    expect(check().status).toBe(1);
    const ports = ['issuer.http.port=0', 'issuer.coap.port=0', 'admin.port=0', 'broker.listeners.0.port=0'];
    const child = spawn(entry, [...command, ...ports.flatMap((set) => ['--set', set])], {
      env,
      stdio: 'pipe',
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const lines = createInterface({ input: child.stdout });
    await once(lines, 'line');
    await expect.poll(() => check().status, { timeout: 20_000 }).toBe(0);
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    expect((await ended)[0]).toBe(0);
    expect(check().status).toBe(1);
  });
});

test('deploy/docker/agent.Dockerfile: its command makes the one file that it starts', {
  timeout: 300_000,
}, () => {
  const all = instructions('deploy/docker/agent.Dockerfile');
  const last = (name: string) => all.findLast((one) => one.name === name)?.text ?? '';
  const [made = '', there = ''] =
    /^--from=build \/fleetgate\/(\S+) (\S+)$/.exec(last('COPY'))?.slice(1) ?? [];
  runThere(last('RUN').replace('/usr/local/bin/node', process.execPath), process.env['PATH'] ?? '');
  const folder = join(scratch, 'agent');
  mkdirSync(folder);
  cpSync(join(source, made), join(folder, basename(made)));
  const [program, file] = JSON.parse(last('ENTRYPOINT')) as [string, string];
  expect([program, file]).toEqual(['node', `${there}${basename(made)}`]);
  const { status, stdout } = spawnSync(process.execPath, [join(folder, basename(made)), '--version'], {
    cwd: folder,
    encoding: 'utf8',
  });
  expect([status, stdout]).toEqual([0, expect.stringMatching(/^\d+\.\d+\.\d+\n$/)]);
  expect(last('USER')).toBe('1000:1000');
});

test('what `docker run` is told to start, starts, and tells devices where they reach the broker', async () => {
  const [, told = ''] = /docker run .* fleetgate (up \\\n.*)\n/.exec(
    readFileSync(join(root, 'docs/operations.md'), 'utf8'),
  ) ?? [''];
  const words = told.replaceAll('\\\n', ' ').trim().split(/\s+/);
  const header = readFileSync(join(root, 'deploy/docker/fleetgate.Dockerfile'), 'utf8');
  expect(header.replaceAll(/\\\n# +/g, '')).toContain(words.join(' '));
  const data = join(scratch, 'docker-run');
  const ports = ['issuer.http.port=0', 'issuer.coap.port=0', 'admin.port=0', 'broker.listeners.0.port=0'];
  const running = await startFleetgate([
    ...words,
    ...['--json', '--data', data],
    ...ports.flatMap((set) => ['--set', set]),
  ]);
  const out = join(scratch, 'of-docker.json');
  const made = await runFleetgate(['client', 'create', '--data', data, '--id', 's1', '--out', out]);
  await running.stop();
  expect([made.code, running.ready['mqtt']]).toEqual([0, expect.stringMatching(/^mqtt:\/\/0\.0\.0\.0:\d+$/)]);
  const { broker } = JSON.parse(readFileSync(out, 'utf8')) as { broker: { url: string } };
  expect(broker.url).toBe(running.ready['mqtt']?.toString().replace('0.0.0.0', '127.0.0.1'));
});

describe('deploy/compose.yaml', () => {
  const compose = parse(readFileSync(join(root, 'deploy/compose.yaml'), 'utf8')) as {
    services: Record<
      string,
      {
        command?: string[];
        volumes?: string[];
        build?: { context: string; dockerfile: string };
        ports?: string[];
      }
    >;
    volumes: Record<string, unknown>;
  };

  test('mounts files that are there, and volumes it names', () => {
    for (const { volumes = [], build } of Object.values(compose.services)) {
      for (const volume of volumes) {
        const [from = ''] = volume.split(':');
        if (from.startsWith('.')) expect(existsSync(join(root, 'deploy', from)), from).toBe(true);
        else expect(Object.keys(compose.volumes)).toContain(from);
      }
      if (build !== undefined) {
        expect(existsSync(join(root, 'deploy', build.context, build.dockerfile))).toBe(true);
      }
    }
  });

  test('publishes nothing beyond this machine', () => {
    for (const port of Object.values(compose.services).flatMap(({ ports = [] }) => ports)) {
      expect(port).toMatch(/^127\.0\.0\.1:/);
    }
  });

  test('its command starts, and Prometheus is told where it is', async () => {
    const command = compose.services['fleetgate']?.command ?? [];
    const ports = ['issuer.http.port=0', 'issuer.coap.port=0', 'admin.port=0', 'broker.listeners.0.port=0'];
    const running = await startFleetgate([
      ...command,
      ...['--json', '--data', join(scratch, 'compose')],
      ...ports.flatMap((set) => ['--set', set]),
    ]);
    const metrics = await fetch(`${running.ready['admin']}/metrics`);
    expect(metrics.status).toBe(200);
    await running.stop();
    const { scrape_configs: jobs, rule_files: rules } = parse(
      readFileSync(join(root, 'deploy/prometheus/prometheus.yaml'), 'utf8'),
    ) as {
      scrape_configs: { job_name: string; static_configs: { targets: string[] }[] }[];
      rule_files: string[];
    };
    expect(jobs).toMatchObject([
      { job_name: 'fleetgate', static_configs: [{ targets: ['fleetgate:8081'] }] },
    ]);
    for (const file of rules) expect(existsSync(join(root, 'deploy/prometheus', file))).toBe(true);
  });
});

const isSystemdMissing = spawnSync('systemd-analyze', ['--version']).error !== undefined;

describe.skipIf(isSystemdMissing && process.env['CI'] === undefined)(
  'units (Debian: apt-get install systemd)',
  () => {
    test.each(['fleetgate', 'fleetgate-issuer', 'fleetgate-broker'])('%s.service', async (name) => {
      const unit = readFileSync(join(root, `deploy/systemd/${name}.service`), 'utf8');
      const path = join(scratch, `${name}.service`);
      // The program is where an operator installs it; the account is made by the operator.
      writeFileSync(path, unit.replace('/usr/local/bin/fleetgate', '/bin/true').replace(/^User=.*\n/m, ''));
      const { stderr, status } = spawnSync('systemd-analyze', ['verify', '--man=no', path], {
        encoding: 'utf8',
      });
      expect([status, stderr.split('\n').filter((line) => line.includes('fleetgate'))]).toEqual([0, []]);
      const security = spawnSync('systemd-analyze', ['security', '--offline=yes', path], {
        encoding: 'utf8',
      });
      expect(Number(/exposure level for \S+: ([\d.]+)/.exec(security.stdout)?.[1])).toBeLessThan(4);
      const [, role = '', options = ''] = /^ExecStart=\S+ (\w+) (.*)$/m.exec(unit) ?? [];
      const help = await runFleetgate([role, '--help']);
      for (const option of options.match(/--\w+/g) ?? []) expect(help.stdout).toContain(option);
    });
  },
);
