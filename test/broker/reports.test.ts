import { describe, expect, test } from 'vitest';
import { silentObserver } from '../../broker/observer.ts';
import type { DecisionEvent } from '../../broker/reports.ts';
import { publishPacket, startTestBroker, subscribe, until } from '../support/broker-fixture.ts';

test('onDecision is told of each decision, allowed or refused', async () => {
  const decisions: DecisionEvent[] = [];
  const broker = await startTestBroker({
    deniedPublish: 'drop',
    onDecision: (decision) => void decisions.push(decision),
  });
  const client = await broker.session('device-1', {
    will: { topic: 'devices/device-1/will/x', payload: Buffer.from('x'), qos: 0, retain: false },
  });
  await subscribe(client, ['devices/device-1/+', 'devices/device-2/+']);
  for (const [topic, payload] of [
    ['devices/device-1/a', 'x'],
    ['devices/device-2/a', 'x'],
    ['$fleetgate/token', broker.token('device-1')],
    ['$fleetgate/token', 'x.y.z'],
  ] as const) {
    client.send(publishPacket(topic, payload, { qos: 1 }));
    await client.next('puback');
  }
  await client.settle();
  await broker.connack('device-2', 'x.y.z');
  await client.end();
  await until(() => decisions.some(({ action }) => action === 'will'));
  const clientId = 'device-1';
  const expected: DecisionEvent[] = [
    { action: 'connect', allowed: true, clientId },
    { action: 'subscribe', allowed: true, clientId, topic: 'devices/device-1/+' },
    { action: 'subscribe', allowed: false, reason: 'no_rule', clientId, topic: 'devices/device-2/+' },
    { action: 'publish', allowed: true, clientId, topic: 'devices/device-1/a' },
    { action: 'receive', allowed: true, clientId, topic: 'devices/device-1/a' },
    { action: 'publish', allowed: false, reason: 'no_rule', clientId, topic: 'devices/device-2/a' },
    { action: 'renewal', allowed: true, clientId },
    { action: 'renewal', allowed: false, reason: 'token_malformed', clientId },
    { action: 'connect', allowed: false, reason: 'token_malformed' },
    { action: 'will', allowed: true, clientId, topic: 'devices/device-1/will/x' },
  ];
  const inOrder = (list: readonly DecisionEvent[]) =>
    list.map((decision) => JSON.stringify(decision, Object.keys(decision).sort())).sort();
  expect(inOrder(decisions)).toEqual(inOrder(expected));
});

test('a session that ends and a broken packet are refusals, and no decisions', async () => {
  const decisions: DecisionEvent[] = [];
  const broker = await startTestBroker({ onDecision: (decision) => void decisions.push(decision) });
  const client = await broker.session('device-1');
  await broker.auth.revoke(broker.issuer.name, { kind: 'key', keyId: broker.issuer.kid });
  await client.closed;
  const stranger = await broker.raw();
  stranger.write(Buffer.from([0x30, 0x05, 0x00, 0x01, 0x61, 0x78, 0x78]));
  await stranger.closed;
  expect(broker.refusals.map(({ action }) => action)).toEqual(['session', 'packet']);
  expect(decisions).toEqual([{ action: 'connect', allowed: true, clientId: 'device-1' }]);
});

test('a topic that is told is cut', async () => {
  const decisions: DecisionEvent[] = [];
  const broker = await startTestBroker({ onDecision: (decision) => void decisions.push(decision) });
  const client = await broker.session('device-1');
  client.send(publishPacket(`devices/device-1/${'x'.repeat(1000)}`, 'x', { qos: 1 }));
  await client.next('puback');
  expect(decisions.at(-1)?.topic).toHaveLength(256);
});

describe('what one of those who are told does wrong is logged, and keeps nobody else from being told', () => {
  const canary = 'canary-of-a-message';
  const fail = () => {
    throw new Error(canary);
  };
  const reject = async () => fail();

  test.each([
    ['throws', fail],
    ['rejects', reject],
  ])('%s', async (_how, wrong) => {
    const told: string[] = [];
    const broker = await startTestBroker({
      deniedPublish: 'drop',
      onRefusal: wrong,
      onDecision: (decision) => {
        told.push(`decision ${decision.action} ${decision.allowed}`);
        return wrong();
      },
      audit: (event) => {
        told.push(`audit ${event.event}`);
        return wrong();
      },
      observer: {
        ...silentObserver,
        watch: () => {},
        connect: wrong,
        decision: wrong,
        renewal: wrong,
        verification: wrong,
      },
    });
    const client = await broker.session('device-1');
    expect(await subscribe(client, ['devices/device-1/#', 'other'])).toEqual([1, 0x80]);
    for (const topic of ['devices/device-1/a', 'devices/device-2/a', '$fleetgate/token']) {
      client.send(publishPacket(topic, broker.token('device-1'), { qos: 1 }));
      await client.next('puback');
    }
    await client.settle();
    await broker.servesOthers();
    for (const expected of [
      'decision connect true',
      'audit connect_accepted',
      'decision publish true',
      'decision publish false',
      'audit publish_refused',
      'decision receive true',
      'decision subscribe false',
      'audit subscribe_refused',
      'decision renewal true',
      'audit renewal_accepted',
    ]) {
      expect(told).toContain(expected);
    }
    expect(broker.log()).toContain('internal_error');
    expect(broker.log()).not.toContain(canary);
  });

  test('a log that throws', async () => {
    const told: string[] = [];
    const wrong = { debug: fail, info: fail, warn: fail, error: fail };
    const broker = await startTestBroker({
      log: wrong,
      onDecision: ({ action }) => void told.push(action),
      audit: ({ event }) => void told.push(event),
    });
    expect(await broker.connack('device-1', 'x.y.z')).toBe(4);
    expect(await broker.refusal({ action: 'connect' })).toMatchObject({ reason: 'token_malformed' });
    expect(told).toEqual(['connect', 'connect_refused']);
  });
});
