import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  requestToken,
  runFleetgate,
  startFleetgate,
} from '../support/fleetgate-process.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function run(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function emptyDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-disk-'));
  closers.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const canMount = (() => {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-mount-'));
  const isMounted = run('mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory);
  if (isMounted) run('umount', directory);
  rmSync(directory, { recursive: true });
  return isMounted;
})();
const canLimit = run('prlimit', '--version');

/** A file system of its own, of 4 MiB. */
function smallDisk(): string {
  const directory = emptyDirectory();
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', directory]);
  closers.push(() => void run('umount', directory));
  return directory;
}

async function start(directory: string): Promise<RunningFleetgate> {
  const running = await startFleetgate(['issuer', ...freePorts(join(directory, 'data')).slice(0, -2)]);
  closers.push(() => running.stop());
  return running;
}

/** Tokens are refused while there is no room, and issued again once there is, by the same process. */
async function expectRecovery(
  directory: string,
  running: RunningFleetgate,
  room: { take(): void; give(): void },
) {
  const { issuer, admin } = running.ready as { issuer: string; admin: string };
  const data = join(directory, 'data');
  const created = await runFleetgate(['client', 'create', '--data', data, '--id', 'a', '--format', 'json']);
  const { client_secret: secret } = JSON.parse(created.stdout) as { client_secret: string };
  expect((await requestToken(issuer, 'a', secret)).status).toBe(200);

  room.take();
  let refused: Response | undefined;
  for (let i = 0; i < 2000 && refused === undefined; i += 1) {
    const response = await requestToken(issuer, 'a', secret);
    if (response.status !== 200) refused = response;
  }
  expect(refused?.status).toBe(503);
  expect(refused?.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
  expect(await refused?.json()).toMatchObject({ error: 'temporarily_unavailable' });
  expect((await fetch(`${issuer}/readyz`)).status).toBe(503);
  expect((await fetch(`${issuer}/livez`)).status).toBe(200);
  const problems = await fetch(`${admin}/readyz`);
  expect(await problems.json()).toMatchObject({ problems: [expect.stringContaining('registry')] });

  room.give();
  expect((await fetch(`${issuer}/readyz`)).status).toBe(200);
  expect((await requestToken(issuer, 'a', secret)).status).toBe(200);
  expect(await runFleetgate(['audit', 'verify', '--data', data])).toMatchObject({ code: 0 });
}

// Mounting takes rights that a container often has not.
test.skipIf(!canMount)('a full disk: 503 until there is room again, without a restart', async () => {
  const directory = smallDisk();
  const running = await start(directory);
  const filler = join(directory, 'filler');
  await expectRecovery(directory, running, {
    take() {
      // As large as it can be.
      for (let bytes = 4 * 1_048_576; bytes >= 4096; bytes /= 2) {
        try {
          writeFileSync(filler, Buffer.alloc(bytes), { flag: 'a' });
        } catch {
          // No room for that much more.
        }
      }
    },
    give: () => rmSync(filler),
  });
});

// The tool is of util-linux; the limit is one that anybody may set.
test.skipIf(!canLimit)('files that may grow no more: 503 until they may, without a restart', async () => {
  const directory = emptyDirectory();
  const running = await start(directory);
  const limit = (bytes: string) =>
    execFileSync('prlimit', ['--pid', String(running.process.pid), `--fsize=${bytes}:`]);
  await expectRecovery(directory, running, {
    take: () => limit(String(statSync(join(directory, 'data', 'fleetgate.db-wal')).size + 20_000)),
    give: () => limit('unlimited'),
  });
});

test.skipIf(!canMount)('a start on a file system that is read-only is refused in one line', async () => {
  const directory = smallDisk();
  const running = await start(directory);
  expect(await running.stop()).toBe(0);
  execFileSync('mount', ['-o', 'remount,ro', directory]);
  const { code, stderr } = await runFleetgate(['issuer', ...freePorts(join(directory, 'data')).slice(0, -2)]);
  expect(code).toBe(1);
  expect(stderr.trimEnd().split('\n').at(-1)).toMatch(/^fleetgate: [^\n]*fleetgate\.db/);
});
