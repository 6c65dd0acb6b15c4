import { describe, expect, test } from 'vitest';
import {
  attack,
  publishPacket,
  startTestBroker,
  subscribe,
  type TestBroker,
} from '../support/broker-fixture.ts';
import { testIssuer } from '../support/broker-tokens.ts';

/** Of `dev`, under any client id: the return code. */
const connack = (broker: TestBroker, mqttClientId: string, clean = false, token = broker.token('dev')) =>
  broker.connack(mqttClientId, token, { clean, username: 'dev' });

describe.each(['prefix', 'none'] as const)('sessions of one client (%s)', (clientIdBinding) => {
  const options = { clientIdBinding, limits: { maxSessionsPerClient: 2 } };

  attack('that are kept are bounded, live or not', options, async (broker) => {
    const live = await broker.session('dev', { clean: false });
    expect(await connack(broker, 'dev.1')).toBe(0);
    expect(await connack(broker, 'dev.2')).toBe(3);
    expect(await broker.refusal({ action: 'connect' })).toMatchObject({
      reason: 'too_many_sessions',
      returnCode: 3,
      clientId: 'dev',
    });
    await live.end();
    expect(await connack(broker, 'dev.2')).toBe(3);
    // Of those that are not kept there may be more.
    expect(await connack(broker, 'dev.3', true)).toBe(0);
    expect(await connack(broker, 'dev.2')).toBe(3);
  });

  test('that are taken up, live or not, are no more than before', async () => {
    const broker = await startTestBroker(options);
    const first = await broker.session('dev', { clean: false });
    expect(await connack(broker, 'dev.1')).toBe(0);
    for (let n = 0; n < 5; n += 1) expect(await connack(broker, 'dev.1')).toBe(0);
    const second = await broker.session('dev', { clean: false });
    await first.closed;
    second.send(publishPacket('$fleetgate/token', broker.token('dev'), { qos: 1 }));
    await second.next('puback');
    await second.end();
    expect(await connack(broker, 'dev')).toBe(0);
    expect(await connack(broker, 'dev.2')).toBe(3);
  });

  test('give room when they end by a clean one', async () => {
    const broker = await startTestBroker(options);
    for (const id of ['dev', 'dev.1']) expect(await connack(broker, id)).toBe(0);
    for (let n = 2; n < 6; n += 1) {
      expect(await connack(broker, `dev.${n}`)).toBe(3);
      expect(await connack(broker, `dev.${n - 1}`, true)).toBe(0);
      expect(await connack(broker, `dev.${n}`)).toBe(0);
    }
  });

  test('are bounded also when all come at once', async () => {
    const broker = await startTestBroker({ ...options, limits: { maxSessionsPerClient: 5 } });
    const codes = await Promise.all(Array.from({ length: 20 }, (_, n) => connack(broker, `dev.${n}`)));
    expect(codes.sort()).toEqual([...Array(5).fill(0), ...Array(15).fill(3)]);
  });

  test('are nothing to another client, nor to one of the same name at another issuer', async () => {
    const other = testIssuer('https://other.example');
    const broker = await startTestBroker({ ...options, otherIssuers: [other] });
    for (const id of ['dev', 'dev.1']) expect(await connack(broker, id)).toBe(0);
    await broker.session('device-1', { clean: false });
    const token = other.token({ clientId: 'dev' });
    for (const id of ['dev.2', 'dev.3']) expect(await connack(broker, id, false, token)).toBe(0);
    expect(await connack(broker, 'dev.4', false, token)).toBe(3);
    expect(await connack(broker, 'dev.1')).toBe(0);
  });
});

test('where the client id is the client it has one, whatever the limit', async () => {
  const broker = await startTestBroker({ limits: { maxSessionsPerClient: 1 } });
  for (let n = 0; n < 5; n += 1) {
    const session = await broker.session('device-1', { clean: false });
    expect(await subscribe(session, ['devices/device-1/#'])).toEqual([1]);
  }
});
