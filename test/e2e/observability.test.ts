import { chmodSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { connectAsync } from 'mqtt';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  requestToken,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';
import { parseMetrics } from '../support/prometheus-text.ts';

let data: ReturnType<typeof temporaryDirectory>;
let running: RunningFleetgate | undefined;
beforeEach(() => {
  data = temporaryDirectory();
});
afterEach(async () => {
  await running?.stop();
  running = undefined;
  data.remove();
});

const get = (url: string | undefined, path: string) => fetch(`${url}${path}`);

test('what a device does is seen in /metrics and in the audit file', async () => {
  const auditFile = join(dirname(data.path), 'audit.jsonl');
  running = await startFleetgate([
    'up',
    ...freePorts(data.path),
    ...['--set', `broker.audit_file=${auditFile}`, '--set', 'broker.denied_publish=drop'],
  ]);
  const { ready } = running;
  const created = await runFleetgate([
    ...['client', 'create', '--data', data.path, '--id', 'sensor-1', '--format', 'json'],
    ...['--scope', 'mqtt:publish:devices/{client_id}/#'],
  ]);
  const { client_secret: secret } = JSON.parse(created.stdout) as { client_secret: string };
  const answer = await requestToken(ready['issuer'] as string, 'sensor-1', secret);
  const { access_token: token } = (await answer.json()) as { access_token: string };
  expect((await requestToken(ready['issuer'] as string, 'sensor-1', 'wrong')).status).toBe(401);
  const client = await connectAsync(ready['mqtt'] as string, {
    clientId: 'sensor-1',
    username: 'sensor-1',
    password: token,
    reconnectPeriod: 0,
  });
  await client.publishAsync('devices/sensor-1/t', '21.5', { qos: 1 });
  await client.publishAsync('devices/sensor-2/t', 'forged', { qos: 1 });

  const { value } = parseMetrics(await (await get(ready['admin'], '/metrics')).text());
  expect(value('fleetgate_connects_total', { result: 'accepted' })).toBe(1);
  expect(value('fleetgate_connections', { protocol: 'mqtt' })).toBe(1);
  expect(value('fleetgate_decisions_total', { action: 'publish', result: 'allowed' })).toBe(1);
  expect(value('fleetgate_decisions_total', { action: 'publish', result: 'no_rule' })).toBe(1);
  expect(value('fleetgate_sessions_expiring', { le: '900' })).toBe(1);
  expect(value('fleetgate_revocation_feed_away', { issuer: ready['issuer'] as string })).toBe(0);
  expect(value('fleetgate_audit_events_lost_total')).toBe(0);
  expect(value('fleetgate_token_requests_total', { act: 'issue', result: 'ok' })).toBe(1);
  expect(value('fleetgate_token_requests_total', { act: 'issue', result: 'invalid_client' })).toBe(1);
  expect(
    value('fleetgate_issuer_refusals_total', { listener: 'public', status: '401', reason: 'invalid_client' }),
  ).toBe(1);
  expect(value('fleetgate_registry_ready')).toBe(1);
  expect(value('fleetgate_signing_key_next_published')).toBe(1);
  expect((await get(ready['admin'], '/readyz')).status).toBe(200);
  // Only there.
  expect((await get(ready['issuer'], '/metrics')).status).toBe(404);

  await client.endAsync();
  expect(await running.stop()).toBe(0);
  const lines = readFileSync(auditFile, 'utf8').trimEnd().split('\n');
  const address = '127.0.0.1';
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { event: 'connect_accepted', client_id: 'sensor-1', address },
    {
      event: 'publish_refused',
      client_id: 'sensor-1',
      address,
      reason: 'no_rule',
      topic: 'devices/sensor-2/t',
    },
  ]);
  expect(statSync(auditFile).mode & 0o777).toBe(0o600);
});

test('an audit file that was renamed is opened again by SIGHUP, as logrotate wants it', async () => {
  const auditFile = join(dirname(data.path), 'audit.jsonl');
  running = await startFleetgate(['up', ...freePorts(data.path), '--set', `broker.audit_file=${auditFile}`]);
  const { process, ready, stderr } = running;
  const refused = async () => {
    const options = { clientId: 'sensor-1', password: 'x.y.z', username: '', reconnectPeriod: 0 };
    await expect(connectAsync(ready['mqtt'] as string, options, false)).rejects.toMatchObject({ code: 4 });
  };
  const events = (file: string) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { event: string }).event);
  await refused();
  renameSync(auditFile, `${auditFile}.1`);
  process.kill('SIGHUP');
  await expect.poll(stderr, { timeout: 10_000 }).toContain('"what":"audit_file"');
  await refused();
  await expect.poll(() => events(auditFile), { timeout: 10_000 }).toEqual(['connect_refused']);
  expect(events(`${auditFile}.1`)).toEqual(['connect_refused', 'policy_changed']);
});

test('an audit file that others may write to is refused in one line', async () => {
  const auditFile = join(dirname(data.path), 'audit.jsonl');
  writeFileSync(auditFile, '');
  chmodSync(auditFile, 0o666);
  const args = ['up', ...freePorts(data.path), '--set', `broker.audit_file=${auditFile}`];
  const { code, stdout, stderr } = await runFleetgate(args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toContain(`chmod 600 ${auditFile}`);
});
