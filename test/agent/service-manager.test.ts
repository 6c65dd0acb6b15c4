import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { formatCredentials } from '@fleetgate/shared';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { serviceManager } from '../../agent/service-manager.ts';
import { credentialsFor, goodBody, startEndpoint } from './token-endpoint-double.ts';

const root = resolve(import.meta.dirname, '../..');

describe('the service manager', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  function told(environment: Record<string, string>) {
    const sent: string[] = [];
    const problems: string[] = [];
    let failure: Error | null = null;
    const manager = serviceManager({
      environment,
      onProblem: (text) => problems.push(text),
      send(assignments, done) {
        sent.push(...assignments);
        done(failure);
      },
    });
    onTestFinished(() => manager[Symbol.dispose]());
    const fail = (error: Error) => {
      failure = error;
    };
    return { manager, sent, problems, fail };
  }
  const socket = { NOTIFY_SOCKET: '/run/notify' };

  test('is told each state once', () => {
    const { manager, sent } = told(socket);
    manager.status('not ready');
    manager.status('not ready');
    for (let i = 0; i < 2; i += 1) {
      manager.status('ok');
      manager.ready();
    }
    manager.stopping();
    expect(sent).toEqual(['STATUS=not ready', 'STATUS=ok', 'READY=1', 'STOPPING=1']);
  });

  test('is told nothing where there is none', () => {
    const { manager, sent } = told({ WATCHDOG_USEC: '1000000' });
    manager.ready();
    vi.advanceTimersByTime(10_000);
    expect(sent).toEqual([]);
  });

  test.each<[string, Record<string, string>, number]>([
    ['for this process', { WATCHDOG_USEC: '1000000', WATCHDOG_PID: String(process.pid) }, 20],
    ['for whoever it is', { WATCHDOG_USEC: '1000000' }, 20],
    ['for another process', { WATCHDOG_USEC: '1000000', WATCHDOG_PID: '1' }, 0],
    ['of no number', { WATCHDOG_USEC: 'x' }, 0],
    ['of no time', { WATCHDOG_USEC: '0' }, 0],
  ])('with a watchdog %s it is fed twice in its time, or not', (_what, environment, count) => {
    const { sent } = told({ ...socket, ...environment });
    vi.advanceTimersByTime(10_000);
    expect(sent).toEqual(Array.from({ length: count }, () => 'WATCHDOG=1'));
  });

  test('that cannot be told is a line, once, and no fault', () => {
    const { manager, problems, fail } = told(socket);
    fail(new Error('spawn systemd-notify ENOENT'));
    manager.status('a');
    manager.ready();
    expect(problems).toEqual(['the service manager cannot be told: spawn systemd-notify ENOENT']);
  });
});

/** Prints each datagram as a line; Node has no such sockets. A descriptor that comes with one is closed: that ends a barrier. */
const RECEIVER = `
  use Socket;
  $| = 1;
  socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die $!;
  bind($socket, sockaddr_un($ARGV[0])) or die $!;
  while (defined recv($socket, my $message, 65536, 0)) { print "$message\\n" }
`;

const isMissing = ['systemd-notify', 'systemd-analyze', 'perl'].some(
  (program) => spawnSync(program, ['--version']).error !== undefined,
);

describe.skipIf(isMissing && process.env['CI'] === undefined)(
  'with systemd (Debian: apt-get install systemd perl-base)',
  () => {
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'fleetgate-notify-'));
    });
    afterEach(() => rmSync(folder, { recursive: true, force: true }));

    test('a run is ready with its first token, says why it is not before, feeds the watchdog and says that it stops', async () => {
      const socket = join(folder, 'notify');
      let received = '';
      const receiver = spawn('perl', ['-e', RECEIVER, socket]);
      receiver.stdout.setEncoding('utf8').on('data', (text: string) => {
        received += text;
      });
      onTestFinished(() => void receiver.kill());
      await expect.poll(() => existsSync(socket), { timeout: 5_000 }).toBe(true);
      let isUp = false;
      const { origin } = await startEndpoint((_request, response) => {
        const [status, body] = isUp ? [200, goodBody] : [503, {}];
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      });
      const credentials = join(folder, 'device.json');
      writeFileSync(credentials, formatCredentials(credentialsFor(origin)), { mode: 0o600 });
      const agent = spawn(
        process.execPath,
        [
          '--conditions=@fleetgate/source',
          join(root, 'agent/main.ts'),
          ...['run', '--credentials', credentials, '--sink-file', join(folder, 'token')],
        ],
        { env: { ...process.env, NOTIFY_SOCKET: socket, WATCHDOG_USEC: '1000000' } },
      );
      onTestFinished(() => void agent.kill('SIGKILL'));
      const said = () => received.split('\n');
      await expect.poll(said, { timeout: 20_000 }).toContain('STATUS=not ready: no valid token');
      await expect.poll(said, { timeout: 10_000 }).toContain('WATCHDOG=1');
      expect(said()).not.toContain('READY=1');
      isUp = true;
      await expect.poll(said, { timeout: 20_000 }).toContain('READY=1');
      expect(said()).toContain('STATUS=ok');
      agent.kill('SIGTERM');
      await once(agent, 'exit');
      await expect.poll(said, { timeout: 5_000 }).toContain('STOPPING=1');
    });

    test('the unit is one that systemd takes, and its options are of the command', () => {
      const unit = readFileSync(join(root, 'deploy/systemd/fleetgate-agent@.service'), 'utf8');
      const path = join(folder, 'fleetgate-agent@press-7.service');
      // The program is where an operator installs it; the account is made by the operator.
      writeFileSync(
        path,
        unit.replace('/usr/local/bin/fleetgate-agent', '/bin/true').replace(/^User=.*\n/m, ''),
      );
      const { stderr, status } = spawnSync('systemd-analyze', ['verify', '--man=no', path], {
        encoding: 'utf8',
      });
      expect([status, stderr.split('\n').filter((line) => line.includes('fleetgate'))]).toEqual([0, []]);
      const options = [...(/^ExecStart=.*$/m.exec(unit)?.[0] ?? '').matchAll(/--[a-z-]+/g)].map(
        ([option]) => option,
      );
      const main = join(root, 'agent/main.ts');
      const help = execFileSync(process.execPath, ['--conditions=@fleetgate/source', main, 'run', '--help']);
      expect(options.length).toBeGreaterThan(2);
      for (const option of options) expect(help.toString()).toContain(option);
    });
  },
);
