import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { publishPacket, startTestBroker, subscribe, type TestBroker } from '../support/broker-fixture.ts';

const MESSAGES = 50;

/** The broker's end of the connection of a client, and how often it has written since. */
function writesTo(broker: TestBroker, clientId: string): () => number {
  const connection = Array.from(broker.auth.connections).find(
    ({ client }) => (client as { id?: string } | undefined)?.id === clientId,
  );
  const socket = connection?.stream as Socket & { _writev: NonNullable<Socket['_writev']> };
  let writes = 0;
  const { _write, _writev } = socket;
  socket._write = (...parameters) => {
    writes += 1;
    _write.apply(socket, parameters);
  };
  socket._writev = (...parameters) => {
    writes += 1;
    _writev.apply(socket, parameters);
  };
  return () => writes;
}

describe.each(['mqtt', 'mqtts'] as const)('over %s', (protocol) => {
  test('messages that come together leave in a few writes, in their order', async () => {
    const broker = await startTestBroker({ protocol });
    const reader = await broker.session('device-1');
    await subscribe(reader, ['devices/device-1/#'], 0);
    const writer = await broker.session('writer', {}, broker.token('writer', { scope: ['mqtt:publish:#'] }));
    const writes = writesTo(broker, 'device-1');
    const all = Array.from({ length: MESSAGES }, (_, n) => publishPacket('devices/device-1/x', String(n)));
    writer.send(...all);
    const received: string[] = [];
    while (received.length < MESSAGES) {
      const packet = await reader.next('publish');
      received.push(String((packet as { payload: Buffer }).payload));
    }
    expect(received).toEqual(all.map(({ payload }) => payload));
    expect(writes()).toBeLessThan(MESSAGES / 5);
  });
});

test('what is written just before a connection is closed is sent', async () => {
  const broker = await startTestBroker();
  // CONNACK and close in one go.
  expect(await broker.connack('device-1', 'x.y.z')).toBe(4);
});
