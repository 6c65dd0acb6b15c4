import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import {
  type Ended,
  freePorts,
  runCommand,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

let data: ReturnType<typeof temporaryDirectory>;
beforeEach(() => {
  data = temporaryDirectory();
});
afterEach(() => data.remove());

interface Key {
  kid: string;
  state: string;
  activates_at?: string;
}

const keys = (...args: string[]) => runFleetgate(['keys', ...args, '--data', data.path]);
const parsed = ({ code, stdout, stderr }: Ended) => {
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Key[];
};
const listed = async () => parsed(await keys('list', '--format', 'json'));

async function start() {
  const fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
  onTestFinished(async () => void (await fleetgate.stop()));
  return fleetgate;
}

describe('fleetgate keys', () => {
  test('lists, rotates and retires, and says what becomes of the keys', async () => {
    await start();
    const [active, next] = await listed();
    const table = await keys('list');
    expect(table.stdout).toMatch(/^STATE +ALGORITHM +KID +CREATED AT +NEXT STEP\n/);
    expect(table.stdout).toContain(`signs from ${next?.activates_at}`);

    // The next key was published a moment ago.
    const waiting = await keys('rotate', '--format', 'json');
    expect(parsed(waiting)[0]).toEqual(active);
    expect(waiting.stderr).toContain(parsed(waiting)[1]?.activates_at);
    const rotated = await keys('rotate', '--now', '--format', 'json');
    expect(parsed(rotated).map(({ kid, state }) => [kid, state])).toEqual([
      [next?.kid, 'active'],
      [expect.any(String), 'next'],
      [active?.kid, 'retired'],
    ]);

    const repeated = await keys('retire', active?.kid as string);
    expect([repeated.code, repeated.stderr]).toEqual([0, expect.stringContaining('nothing to do')]);
    const retired = await keys('retire', next?.kid as string, '--format', 'json');
    expect(parsed(retired).find(({ kid }) => kid === next?.kid)?.state).toBe('retired');
    const compromised = parsed(
      await keys('retire', active?.kid as string, '--compromised', '--format', 'json'),
    );
    expect(compromised.map(({ kid }) => kid)).not.toContain(active?.kid);
    expect(await listed()).toEqual(compromised);
  });

  test('tells of a key that is not there, and exits 1', async () => {
    await start();
    for (const args of [[], ['--compromised']]) {
      const { code, stdout, stderr } = await keys('retire', 'nobody', ...args);
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toMatch(/^fleetgate: .*no signing key.*\n$/);
    }
  });
});

describe('the key encryption key', () => {
  test('is replaced while nothing runs; then the new one is needed, and the old one refused', async () => {
    const running = await startFleetgate(['up', ...freePorts(data.path)]);
    const before = await listed();
    const newKey = join(dirname(data.path), 'new.key');
    const tooEarly = await keys('reencrypt', '--new-key-file', newKey);
    expect([tooEarly.code, tooEarly.stderr]).toEqual([1, expect.stringContaining('in use')]);
    expect(existsSync(newKey)).toBe(false);
    await running.stop();

    const { code, stderr } = await keys('reencrypt', '--new-key-file', newKey);
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^2 keys/)]);
    expect(statSync(newKey).mode & 0o777).toBe(0o600);
    const again = await keys('reencrypt', '--new-key-file', newKey);
    expect([again.code, again.stderr]).toEqual([0, expect.stringContaining('nothing to do')]);

    const refused = await runFleetgate(['up', ...freePorts(data.path)]);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('key-encryption.key')]);
    renameSync(newKey, join(data.path, 'key-encryption.key'));
    await start();
    expect(await listed()).toEqual(before);
  });

  test('may come by the environment, and is in no log line and no file then', async () => {
    const key = randomBytes(32).toString('base64');
    const child = { FLEETGATE_KEY_ENCRYPTION_KEY: key };
    process.env['FLEETGATE_KEY_ENCRYPTION_KEY'] = key;
    const first = await startFleetgate(['up', ...freePorts(data.path)]).finally(() => {
      delete process.env['FLEETGATE_KEY_ENCRYPTION_KEY'];
    });
    await first.stop();
    expect(first.stderr()).not.toContain(key);
    expect(existsSync(join(data.path, 'key-encryption.key'))).toBe(false);
    expect(readFileSync(join(data.path, 'fleetgate.db')).includes(Buffer.from(key, 'base64'))).toBe(false);

    // Without it the keys do not decrypt.
    const { code, stderr } = await runFleetgate(['up', ...freePorts(data.path)]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('key-encryption.key is missing')]);

    const main = join(import.meta.dirname, '../../cli/main.ts');
    const both = await runCommand(
      process.execPath,
      [
        '--conditions=@fleetgate/source',
        main,
        'up',
        ...freePorts(data.path),
        '--set',
        `issuer.key_encryption_key_file=${join(data.path, 'x.key')}`,
      ],
      { env: child },
    );
    expect([both.code, both.stderr]).toEqual([2, expect.stringContaining('FLEETGATE_KEY_ENCRYPTION_KEY')]);
    expect(both.stderr).not.toContain(key);

    const file = join(data.path, 'mounted');
    writeFileSync(file, `${key}\n`, { mode: 0o444 });
    process.env['FLEETGATE_KEY_ENCRYPTION_KEY_FILE'] = file;
    const again = await startFleetgate(['up', ...freePorts(data.path)]).finally(() => {
      delete process.env['FLEETGATE_KEY_ENCRYPTION_KEY_FILE'];
    });
    await again.stop();
    expect(existsSync(join(data.path, 'key-encryption.key'))).toBe(false);
  });
});
