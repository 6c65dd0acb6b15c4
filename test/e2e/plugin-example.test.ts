import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { examplePolicy } from '@fleetgate/broker';
import { connectAsync } from 'mqtt';
import { expect, onTestFinished, test } from 'vitest';
import { freePort } from '../../bench/free-port.ts';
import {
  freePorts,
  requestToken,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const root = resolve(import.meta.dirname, '../..');

test.each(['README.md', 'docs/plugin.md'])('the code of %s runs as it stands', async (document) => {
  const [, code = ''] = /```js\n([\s\S]*?)```/.exec(readFileSync(join(root, document), 'utf8')) ?? [];
  expect(code).toContain('auth.attach(broker)');
  const data = temporaryDirectory();
  const fleetgate = await startFleetgate(['issuer', ...freePorts(data.path)]);
  const folder = mkdtempSync(join(tmpdir(), 'fleetgate-example-'));
  onTestFinished(async () => {
    await fleetgate.stop();
    data.remove();
    rmSync(folder, { recursive: true, force: true });
  });
  writeFileSync(join(folder, 'policy.yaml'), examplePolicy);
  const issuer = fleetgate.ready['issuer'] as string;
  const port = await freePort();
  // Only the addresses are others, and the place of the policy.
  const here = code
    .replaceAll('http://127.0.0.1:8080', issuer)
    .replace("listen(1883, '127.0.0.1'", `listen(${port}, '127.0.0.1'`)
    .replace("readFileSync('policy.yaml'", `readFileSync(${JSON.stringify(join(folder, 'policy.yaml'))}`);
  const args = ['--conditions=@fleetgate/source', '--input-type=module', '--eval', here];
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));

  const create = ['client', 'create', '--data', data.path, '--id', 'sensor-1', '--scope', 'telemetry.write'];
  const { client_secret } = JSON.parse((await runFleetgate([...create, '--format', 'json'])).stdout);
  const { access_token } = (await (await requestToken(issuer, 'sensor-1', client_secret)).json()) as {
    access_token: string;
  };
  const connect = (password: string) =>
    connectAsync(
      `mqtt://127.0.0.1:${port}`,
      { clientId: 'sensor-1', username: 'sensor-1', password, reconnectPeriod: 0 },
      false,
    );
  await expect
    .poll(() => connect(access_token).then((client) => client.endAsync()), { timeout: 20_000 })
    .toBe(undefined);
  const client = await connect(access_token);
  await client.publishAsync('devices/sensor-1/telemetry/t', '21.5', { qos: 1 });
  const closed = new Promise<void>((done) => client.once('close', () => done()));
  client.publish('devices/sensor-2/telemetry/t', 'forged', { qos: 1 });
  await closed;
  await expect(connect(`${access_token}x`)).rejects.toMatchObject({ code: 4 });
});
