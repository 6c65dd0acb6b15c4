import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { examplePolicy } from '@fleetgate/broker';
import { httpGuard } from '@fleetgate/verifier';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../../bench/free-port.ts';
import {
  freePorts,
  type RunningFleetgate,
  requestToken,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';
import { installNodeRed, type NodeRedInstallation, type RunningNodeRed } from '../support/node-red.ts';

// Node-RED from the registry, with the nodes of adapters/node-red as their package has them.

/** Short, so that the test sees it renewed. */
const TOKEN_LIFETIME_SECONDS = 10;

const readme = join(import.meta.dirname, '../../adapters/node-red/README.md');
const data = temporaryDirectory();
let fleetgate: RunningFleetgate;
let issuer: string;
let nodeRed: NodeRedInstallation;
let boardSecret: string;
let sensorSecret: string;

async function register(id: string, scope: string, ...more: string[]): Promise<string> {
  const created = await runFleetgate([
    ...['client', 'create', '--data', data.path, '--id', id, '--scope', scope, '--format', 'json'],
    ...more,
  ]);
  expect(created.code, created.stderr).toBe(0);
  return (JSON.parse(created.stdout) as { client_secret: string }).client_secret;
}

beforeAll(async () => {
  const lifetime = ['--set', `issuer.token_lifetime_seconds=${TOKEN_LIFETIME_SECONDS}`];
  fleetgate = await startFleetgate(['up', ...freePorts(data.path), ...lifetime]);
  issuer = fleetgate.ready['issuer'] as string;
  sensorSecret = await register('sensor-1', 'telemetry.write');
  boardSecret = await register('board', 'fleet.observe');
  nodeRed = installNodeRed();
  writeFileSync(join(nodeRed.userDirectory, 'policy.yaml'), examplePolicy);
}, 300_000);

afterAll(async () => {
  await fleetgate?.stop();
  nodeRed?.remove();
  data.remove();
});

async function started(flows: readonly object[], credentials?: object): Promise<RunningNodeRed> {
  const running = await nodeRed.start([{ id: 'tab', type: 'tab', label: 'test' }, ...flows], credentials);
  onTestFinished(() => running.stop());
  return running;
}

/** A client in the fields of its node, the secret kept apart. */
const sensor = { id: 'sensor', type: 'fleetgate-credentials', clientId: 'sensor-1' };
const secrets = () => ({ sensor: { clientSecret: sensorSecret } });
const token = (first: string[], connect: string[]) => ({
  ...{ id: 'token', z: 'tab', type: 'fleetgate-token', source: 'sensor' },
  wires: [first, connect],
});

/** The flow of the README as the editor imports it; only the issuer and the port are others. */
function flowOfReadme(port: number): object[] {
  const [, json = ''] = /```json\n([\s\S]*?)```/.exec(readFileSync(readme, 'utf8')) ?? [];
  const nodes = JSON.parse(json.replace('http://127.0.0.1:8080', issuer).replace('"1883"', `"${port}"`));
  const isConfig = ({ type }: { type: string }) => ['fleetgate-credentials', 'mqtt-broker'].includes(type);
  return nodes.map((node: { type: string }) => (isConfig(node) ? node : { ...node, z: 'tab' }));
}

/** The board at the broker, once it hears what sensors say. */
async function board(port: number): Promise<{ client: MqttClient; heard: string[] }> {
  const answer = await requestToken(issuer, 'board', boardSecret);
  const { access_token } = (await answer.json()) as { access_token: string };
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, {
    ...{ clientId: 'board', username: 'board', password: access_token, reconnectPeriod: 0 },
  });
  onTestFinished(() => client.endAsync(true));
  const heard: string[] = [];
  client.on('message', (topic, payload) => heard.push(`${topic} ${payload}`));
  await client.subscribeAsync('devices/+/telemetry/#');
  return { client, heard };
}

test('a flow publishes with a token at the broker of a flow, also once the token was renewed', async () => {
  const port = await freePort();
  const running = await started(
    [
      {
        ...{ id: 'broker', z: 'tab', type: 'fleetgate-broker', port: String(port), issuer, audience: '' },
        ...{ policyFile: 'policy.yaml', wires: [[]] },
      },
      ...flowOfReadme(port),
    ],
    secrets(),
  );
  await expect.poll(running.output, { timeout: 20_000 }).toContain(`broker at mqtt://127.0.0.1:${port}`);
  const first = await board(port);
  await expect.poll(() => first.heard.length, { timeout: 20_000 }).toBeGreaterThan(0);
  expect(new Set(first.heard)).toEqual(new Set(['devices/sensor-1/telemetry/t 21.5']));
  // The session of the board ends with its token, and by then so has the first token of the flow.
  if (first.client.connected) await new Promise<void>((closed) => first.client.once('close', () => closed()));
  const second = await board(port);
  await expect.poll(() => second.heard.length, { timeout: 20_000 }).toBeGreaterThan(0);
}, 120_000);

test('a message gets a token on its way to a service that wants one', async () => {
  const guard = httpGuard({ issuer, audience: 'mqtt' });
  const service = createServer(async (request, response) => {
    const { token: verified, refusal } = await guard.admit(request);
    response.writeHead(refusal?.status ?? 200).end(verified?.clientId);
  });
  await new Promise<void>((listening) => {
    service.listen(0, '127.0.0.1', listening);
  });
  onTestFinished(() => void service.close());
  const { port } = service.address() as AddressInfo;
  const running = await started(
    [
      { ...sensor, issuer },
      { id: 'in', z: 'tab', type: 'http in', url: '/ask', method: 'get', wires: [['token']] },
      token(['request'], []),
      {
        ...{ id: 'request', z: 'tab', type: 'http request', method: 'GET', ret: 'txt', paytoqs: 'ignore' },
        ...{ url: `http://127.0.0.1:${port}/`, headers: [], wires: [['out']] },
      },
      { id: 'out', z: 'tab', type: 'http response', statusCode: '', headers: {}, wires: [] },
    ],
    secrets(),
  );
  const answer = await fetch(`${running.url}/ask`);
  expect([answer.status, await answer.text()]).toEqual([200, 'sensor-1']);
}, 120_000);

test('what cannot be started says why in the log of Node-RED, and no secret', async () => {
  const running = await started(
    [
      { ...sensor, issuer, clientId: 'sensor-2' },
      token([], []),
      {
        ...{ id: 'broker', z: 'tab', type: 'fleetgate-broker', port: '0', issuer, wires: [[]] },
        policyFile: 'missing.yaml',
      },
    ],
    secrets(),
  );
  await expect.poll(running.output, { timeout: 20_000 }).toContain('no new token: ');
  await expect.poll(running.output, { timeout: 20_000 }).toContain('missing.yaml');
  expect(running.output()).not.toContain(sensorSecret);
}, 120_000);

test('a credentials file takes the place of the fields', async () => {
  const file = join(dirname(data.path), 'sensor-3.json');
  const created = await runFleetgate([
    ...[
      'client',
      'create',
      '--data',
      data.path,
      '--id',
      'sensor-3',
      '--scope',
      'telemetry.write',
      '--out',
      file,
    ],
  ]);
  expect(created.code, created.stderr).toBe(0);
  const copy = join(nodeRed.userDirectory, 'sensor-3.json');
  writeFileSync(copy, readFileSync(file), { mode: 0o600 });
  const running = await started([
    { id: 'sensor', type: 'fleetgate-credentials', file: 'sensor-3.json' },
    { id: 'in', z: 'tab', type: 'http in', url: '/token', method: 'get', wires: [['token']] },
    token(['claims'], []),
    {
      ...{ id: 'claims', z: 'tab', type: 'function', outputs: 1, wires: [['out']] },
      func: "msg.payload = Buffer.from(msg.token.split('.')[1], 'base64url').toString(); return msg;",
    },
    { id: 'out', z: 'tab', type: 'http response', statusCode: '', headers: {}, wires: [] },
  ]);
  const claims = (await (await fetch(`${running.url}/token`)).json()) as { client_id: string };
  expect(claims.client_id).toBe('sensor-3');
}, 120_000);
