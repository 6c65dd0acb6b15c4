import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { agentPublish } from '../support/agent-publish.ts';
import {
  type RunningFleetgate,
  runCommand,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';
import { type CollectedSpan, type OtlpCollector, startOtlpCollector } from '../support/otlp-collector.ts';

// Agent, issuer and broker are a process each, as in a fleet.

const data = temporaryDirectory();
const folder = join(data.path, '..');
let collector: OtlpCollector;
let issuer: RunningFleetgate;
let broker: RunningFleetgate;
let env: Record<string, string>;
const credentials = join(folder, 'device.json');

beforeAll(async () => {
  collector = await startOtlpCollector();
  env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_SCHEDULE_DELAY: '100' };
  const set = (...all: string[]) => all.flatMap((one) => ['--set', one]);
  issuer = await startFleetgate(
    [
      ...['issuer', '--json', '--data', data.path],
      ...set('issuer.http.port=0', 'issuer.coap.port=0', 'admin.port=0'),
    ],
    env,
  );
  broker = await startFleetgate(
    [
      ...['broker', '--json', '--data', join(folder, 'broker')],
      ...set('admin.port=0', 'broker.listeners.0.port=0'),
      ...set(`broker.trusted_issuers.0.issuer=${issuer.ready['issuer']}`),
    ],
    env,
  );
  const create = [
    'client',
    'create',
    '--data',
    data.path,
    '--id',
    'canary-device',
    '--scope',
    'telemetry.write',
  ];
  expect(await runFleetgate([...create, '--out', credentials])).toMatchObject({ code: 0 });
}, 60_000);

afterAll(async () => {
  await Promise.all([issuer?.stop(), broker?.stop()]);
  collector?.close();
  data.remove();
});

const publish = (file: string, more: Record<string, string> = env) =>
  agentPublish(file, broker.ready['mqtt'] as string, 'devices/canary-device/telemetry/t', more);

function agentToken(file: string, more: Record<string, string> = env) {
  const main = join(import.meta.dirname, '../../agent/main.ts');
  const args = ['--conditions=@fleetgate/source', main, 'token', '--credentials', file];
  return runCommand(process.execPath, args, { env: more });
}

async function span(service: string, name: string, result: string): Promise<CollectedSpan> {
  const find = () =>
    collector.spans.findLast(
      (one) => one.service === service && one.name === name && one.attributes['fleetgate.result'] === result,
    );
  await expect.poll(find, { timeout: 10_000, message: `${service} ${name} ${result}` }).toBeDefined();
  return find() as CollectedSpan;
}

test('a trace goes from the agent through the issuer and back, and its token id leads to the broker', async () => {
  expect(await publish(credentials)).toBe(0);
  const asked = await span('fleetgate-agent', 'fleetgate.token', 'ok');
  const issued = await span('fleetgate-issuer', 'fleetgate.issue', 'ok');
  const connected = await span('fleetgate-agent', 'fleetgate.connect', 'ok');
  const admitted = await span('fleetgate-broker', 'fleetgate.connect', 'accepted');
  expect(asked.parentSpanId).toBe('');
  expect([issued.traceId, issued.parentSpanId]).toEqual([asked.traceId, asked.spanId]);
  expect([connected.traceId, connected.parentSpanId]).toEqual([asked.traceId, asked.spanId]);
  const tokenIds = [asked, issued, connected, admitted].map(
    ({ attributes }) => attributes['fleetgate.token_id'],
  );
  expect(new Set(tokenIds)).toEqual(new Set([expect.stringMatching(/^[\w-]{20,}$/)]));
  expect(admitted.attributes).toMatchObject({ 'fleetgate.protocol': 'mqtt' });
  expect([asked, issued, connected, admitted].map(({ isError }) => isError)).toEqual([
    false,
    false,
    false,
    false,
  ]);
});

test('over CoAP, where no traceparent goes along, the token id leads to the issuer', async () => {
  const file = join(folder, 'coap.json');
  const create = ['client', 'create', '--data', data.path, '--id', 'canary-coap', '--auth', 'oscore'];
  expect(await runFleetgate([...create, '--scope', 'telemetry.write', '--out', file])).toMatchObject({
    code: 0,
  });
  expect(JSON.parse(readFileSync(file, 'utf8')).token_endpoint).toMatch(/^coap:/);
  const before = collector.spans.length;
  expect(await agentToken(file)).toMatchObject({ code: 0 });
  const named = (name: string) => collector.spans.slice(before).find((one) => one.name === name);
  await expect.poll(() => [named('fleetgate.token'), named('fleetgate.issue')]).not.toContain(undefined);
  const [asked, issued] = [named('fleetgate.token'), named('fleetgate.issue')];
  expect(issued?.attributes['fleetgate.token_id']).toBe(asked?.attributes['fleetgate.token_id']);
  expect(issued).toMatchObject({ parentSpanId: '' });
});

test('a refusal is a result on both sides, and an error of the agent alone', async () => {
  const wrong = join(folder, 'wrong.json');
  const own = JSON.parse(readFileSync(credentials, 'utf8'));
  own.auth.client_secret = 'canary'.padEnd(43, 'x');
  writeFileSync(wrong, JSON.stringify(own), { mode: 0o600 });
  expect(await publish(wrong)).toBe(1);
  const asked = await span('fleetgate-agent', 'fleetgate.token', 'invalid_client');
  const find = () =>
    collector.spans.find(({ name, traceId }) => name === 'fleetgate.issue' && traceId === asked.traceId);
  await expect.poll(find, { timeout: 10_000 }).toBeDefined();
  const refused = find();
  expect(refused).toMatchObject({ parentSpanId: asked.spanId, isError: false });
  expect(refused?.attributes).toEqual({ 'fleetgate.result': expect.stringMatching(/^[a-z_]+$/) });
  expect(asked.isError).toBe(true);
});

test.each([
  ['what is none', 'canary'],
  ['one of another version', 'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
  ['a trace id of zeros', '00-00000000000000000000000000000000-b7ad6b7169203331-01'],
])('%s in place of a traceparent begins a trace of its own', async (_what, traceparent) => {
  const before = collector.spans.length;
  const headers = { traceparent, tracestate: 'canary=canary', baggage: 'canary=canary' };
  await fetch(`${issuer.ready['issuer']}/oauth/token`, { method: 'POST', headers });
  const later = () => collector.spans.slice(before).filter(({ service }) => service === 'fleetgate-issuer');
  await expect.poll(later, { timeout: 10_000 }).toHaveLength(1);
  expect(later()[0]).toMatchObject({ name: 'fleetgate.issue', parentSpanId: '' });
  expect(later()[0]?.traceId).not.toContain('0af7651916cd43dd');
});

test('where the variables say no nothing is sent', async () => {
  const before = collector.spans.length;
  for (const off of [{ OTEL_SDK_DISABLED: 'true' }, { OTEL_TRACES_EXPORTER: 'none' }, {}]) {
    const endpoint = Object.keys(off).length === 0 ? {} : env;
    expect(await publish(credentials, { ...endpoint, ...off })).toBe(0);
  }
  // Those of the issuer and the broker alone, each a root.
  const admitted = () => collector.spans.slice(before).filter(({ name }) => name === 'fleetgate.connect');
  await expect.poll(admitted, { timeout: 10_000 }).toHaveLength(3);
  const services = collector.spans.slice(before).map(({ service }) => service);
  expect(services).not.toContain('fleetgate-agent');
});

test('a collector that is away keeps no device from its work, and is told of', async () => {
  const away = { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' };
  const began = performance.now();
  const { code, stdout, stderr } = await agentToken(credentials, away);
  expect([code, stdout.split('.')]).toEqual([
    0,
    [expect.any(String), expect.any(String), expect.any(String)],
  ]);
  expect(stderr).toMatch(/^fleetgate-agent: spans are not exported: .*ECONNREFUSED.*\n$/);
  expect(performance.now() - began).toBeLessThan(15_000);
});

test('of a server the log tells of it, once, and requests are served', async () => {
  const away = { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' };
  const set = ['issuer.http.port=0', 'issuer.coap.port=0', 'admin.port=0'].flatMap((one) => ['--set', one]);
  const running = await startFleetgate(['issuer', '--json', '--data', join(folder, 'away'), ...set], away);
  const ask = () => fetch(`${running.ready['issuer']}/oauth/token`, { method: 'POST' });
  const told = () => running.stderr().match(/"event":"traces_not_exported".*ECONNREFUSED/g) ?? [];
  expect((await ask()).status).toBe(400);
  await expect.poll(told, { timeout: 15_000 }).toHaveLength(1);
  expect((await ask()).status).toBe(400);
  expect(await running.stop()).toBe(0);
  expect(told()).toHaveLength(1);
});

test.each([
  [{ OTEL_TRACES_EXPORTER: 'console' }, /OTEL_TRACES_EXPORTER is 'console'/],
  [
    { OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
    /OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'/,
  ],
])('%o is refused with what is known', async (more, message) => {
  expect(await agentToken(credentials, more as Record<string, string>)).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(message),
  });
});

test('nothing that was sent holds a client, a topic, a token or what a caller made up', () => {
  const all = collector.received.join('\n');
  expect(all).toContain('fleetgate.issue');
  expect(all).not.toMatch(/canary|devices\/|eyJ/);
});
