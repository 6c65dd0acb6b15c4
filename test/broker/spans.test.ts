import { SpanStatusCode, trace } from '@opentelemetry/api';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { publishPacket, startTestBroker, subscribe } from '../support/broker-fixture.ts';

const exporter = new InMemorySpanExporter();
const failing = { isFailing: false };
const provider = new BasicTracerProvider({
  spanProcessors: [
    new SimpleSpanProcessor(exporter),
    {
      onStart() {
        if (failing.isFailing) throw new Error('a processor that fails');
      },
      onEnd() {
        if (failing.isFailing) throw new Error('a processor that fails');
      },
      forceFlush: async () => {},
      shutdown: async () => {},
    },
  ],
});

beforeAll(() => {
  // After the plugin was imported: it takes whatever is registered, whenever that is.
  expect(trace.setGlobalTracerProvider(provider)).toBe(true);
});
beforeEach(() => {
  exporter.reset();
  failing.isFailing = false;
});
afterAll(async () => {
  trace.disable();
  await provider.shutdown();
});

const spans = () =>
  exporter.getFinishedSpans().map(({ name, attributes, status }) => ({ name, attributes, status }));
const of = (result: string) => ({ 'fleetgate.protocol': 'mqtt', 'fleetgate.result': result });
/** The same with a token that was verified. */
const ofToken = (result: string) => ({ ...of(result), 'fleetgate.token_id': expect.any(String) });
const unset = { code: SpanStatusCode.UNSET };

test('a CONNECT and a renewal are a span each, a publish and a delivery are none', async () => {
  const broker = await startTestBroker();
  const client = await broker.session('device-1');
  await subscribe(client, ['devices/device-1/#']);
  for (const [topic, payload] of [
    ['devices/device-1/x', 'x'],
    ['$fleetgate/token', broker.token('device-1')],
    ['$fleetgate/token', 'x.y.z'],
  ] as const) {
    client.send(publishPacket(topic, payload, { qos: 1 }));
    await client.next('puback');
  }
  await broker.connack('device-2', 'x.y.z');
  expect(spans()).toEqual([
    { name: 'fleetgate.connect', attributes: ofToken('accepted'), status: unset },
    { name: 'fleetgate.renew', attributes: ofToken('accepted'), status: unset },
    { name: 'fleetgate.renew', attributes: ofToken('token_malformed'), status: unset },
    { name: 'fleetgate.connect', attributes: of('token_malformed'), status: unset },
  ]);
});

test('a span holds no client, topic, address or token', async () => {
  const broker = await startTestBroker();
  const token = broker.token('canary-client');
  const client = await broker.session('canary-client', {}, token);
  client.send(publishPacket('$fleetgate/token', token, { qos: 1 }));
  await client.next('puback');
  const written = exporter
    .getFinishedSpans()
    .map(({ name, attributes, events, links, status }) =>
      JSON.stringify({ name, attributes, events, links, status }),
    )
    .join();
  expect(written).toContain('fleetgate.renew');
  expect(written).not.toMatch(/canary|127\.0\.0\.1/);
  expect(written).not.toContain(token.slice(0, 20));
});

test('a fault of the broker is an error of its span', async () => {
  let isBroken = false;
  const broker = await startTestBroker({
    now: () => {
      if (isBroken) throw new Error('broken clock');
      return Date.now();
    },
  });
  isBroken = true;
  expect(await broker.connack('device-1', broker.token('device-1'))).toBe(3);
  expect(spans()).toEqual([
    { name: 'fleetgate.connect', attributes: of('internal_error'), status: { code: SpanStatusCode.ERROR } },
  ]);
});

test('a tracer that fails keeps nobody from connecting', async () => {
  const broker = await startTestBroker();
  failing.isFailing = true;
  const client = await broker.session('device-1');
  client.send(publishPacket('$fleetgate/token', broker.token('device-1'), { qos: 1 }));
  await client.next('puback');
  expect(broker.refusals).toEqual([]);
  expect(broker.log()).toContain('internal_error');
});
