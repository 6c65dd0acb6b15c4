import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clientPatch } from '../../cli/commands/client-changes.ts';
import { UsageError } from '../../cli/exit.ts';
import {
  freePorts,
  type RunningFleetgate,
  requestToken,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const data = temporaryDirectory();
let fleetgate: RunningFleetgate;
beforeAll(async () => {
  fleetgate = await startFleetgate(['up', ...freePorts(data.path)]);
});
afterAll(async () => {
  await fleetgate?.stop();
  data.remove();
});

const client = (...args: string[]) => runFleetgate(['client', ...args, '--data', data.path]);
type Json = Record<string, unknown>;
const parsed = (stdout: string) => JSON.parse(stdout) as Json;
async function create(id: string, ...args: string[]): Promise<string> {
  const { stdout } = await client(
    'create',
    '--id',
    id,
    '--scope',
    'telemetry.write',
    ...args,
    '--format',
    'json',
  );
  return parsed(stdout)['client_secret'] as string;
}
const tokenStatus = async (id: string, secret: string) =>
  (await requestToken(fleetgate.ready['issuer'] as string, id, secret)).status;

describe('client update', () => {
  test('changes what is named, and prints the client', async () => {
    await create('u-1', '--group', 'g', '--label', 'a=1', '--label', 'b=2');
    const args = ['--scope', 'commands.read', '--label', 'c=3', '--remove-label', 'a', '--unset', 'group'];
    const { code, stdout, stderr } = await client('update', 'u-1', ...args, '--format', 'json');
    expect([code, stderr]).toEqual([0, '']);
    expect(parsed(stdout)).toMatchObject({ scope: 'commands.read', labels: { b: '2', c: '3' } });
    expect(parsed(stdout)).not.toHaveProperty('group');
  });

  test('with --revoke-tokens revokes, without it not', async () => {
    await create('u-2');
    const revoked = async () => {
      const { stdout } = await runFleetgate(['revoke', 'list', '--format', 'json', '--data', data.path]);
      return (JSON.parse(stdout) as Json[]).filter((one) => one['client_id'] === 'u-2').length;
    };
    await client('update', 'u-2', '--name', 'n');
    expect(await revoked()).toBe(0);
    await client('update', 'u-2', '--name', 'm', '--revoke-tokens');
    expect(await revoked()).toBe(1);
  });

  test('of no client is a failure that names it; of nothing, or of no field, bad usage', async () => {
    const unknown = await client('update', 'ghost', '--name', 'n');
    expect([unknown.code, unknown.stdout]).toEqual([1, '']);
    expect(unknown.stderr).toContain("'ghost'");
    expect((await client('update', 'ghost')).code).toBe(2);
    const field = await client('update', 'ghost', '--unset', 'id');
    expect(field.code).toBe(2);
    expect(field.stderr).toContain('token-lifetime-seconds');
  });
});

test.each<[string, Parameters<typeof clientPatch>[0], unknown]>([
  ['a field', { name: 'n' }, { name: 'n' }],
  ['an empty scope', { scope: '' }, { scope: '' }],
  ['labels', { label: ['a=1', 'b='], removeLabel: ['c'] }, { labels: { a: '1', b: '', c: null } }],
  ['a lifetime', { tokenLifetimeSeconds: '60' }, { token_lifetime_seconds: 60 }],
  [
    'a default',
    { unset: ['auth', 'token-lifetime-seconds'] },
    { auth_method: null, token_lifetime_seconds: null },
  ],
])('the patch of %s', (_name, flags, patch) => {
  expect(clientPatch(flags)).toEqual(patch);
});

test.each<[string, Parameters<typeof clientPatch>[0]]>([
  ['nothing', {}],
  ['a field both set and unset', { group: 'g', unset: ['group'] }],
  ['a label without a value', { label: ['a'] }],
  ['a lifetime that is no number', { tokenLifetimeSeconds: '1h' }],
])('there is no patch of %s', (_name, flags) => {
  expect(() => clientPatch(flags)).toThrow(UsageError);
});

describe('quarantine', () => {
  test('takes machines out of service until they are released', async () => {
    const secret = await create('q-1');
    const done = await client('quarantine', 'q-1', '--reason', 'lost', '--format', 'json');
    expect(done.code).toBe(0);
    expect(JSON.parse(done.stdout)).toMatchObject([{ state: 'quarantined', quarantine_reason: 'lost' }]);
    expect(await tokenStatus('q-1', secret)).toBe(401);
    expect((await client('list', '-q', '--state', 'quarantined')).stdout).toBe('q-1\n');
    expect((await client('release', 'q-1')).code).toBe(0);
    expect(await tokenStatus('q-1', secret)).toBe(200);
    expect((await client('release', 'q-1')).code).toBe(0);
  });

  test('of several of which some are unknown is done for the others, exit code 3; of none known 1', async () => {
    await create('q-2');
    const some = await client('quarantine', 'ghost', 'q-2', '--reason', 'x');
    expect(some.code).toBe(3);
    expect(some.stderr).toContain("'ghost'");
    expect(some.stdout).toContain('q-2');
    expect((await client('release', 'ghost')).code).toBe(1);
    expect((await client('quarantine', 'q-2')).code).toBe(2);
  });
});

describe('client list', () => {
  test('is of those that fit, as CSV with all there is of each', async () => {
    await create('l-1', '--group', 'g-l', '--label', 'hw=a', '--name', 'one, "two"');
    await create('l-2', '--group', 'g-l');
    expect((await client('list', '-q', '--group', 'g-l')).stdout).toBe('l-1\nl-2\n');
    const { stdout } = await client('list', '--label', 'hw=a', '--format', 'csv');
    const [head, line, end] = stdout.split('\r\n');
    expect(head).toMatch(/^client_id,name,scope,/);
    expect(line).toMatch(/^l-1,"one, ""two""",telemetry.write,/);
    expect(end).toBe('');
  });

  test('with a state that does not exist is bad usage, with a label that is none a failure', async () => {
    expect((await client('list', '--state', 'gone')).code).toBe(2);
    const label = await client('list', '--label', 'hw');
    expect(label.code).toBe(1);
    expect(label.stderr).toContain('name=value');
  });
});

test('the help of each command shows how it is used', async () => {
  for (const name of ['update', 'quarantine', 'release']) {
    const { code, stdout } = await runFleetgate(['client', name, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain(`  fleetgate client ${name} sensor-1`);
  }
});
