import type { IConnectPacket } from 'mqtt-packet';
import { expect } from 'vitest';
import { messageId, payloads, publishPacket, subscribe, type TestBroker } from '../support/broker-fixture.ts';
import type { RawClient } from '../support/broker-raw-client.ts';

/** The device whose topics, session, queue, will and retained messages the attacker wants. */
export const A = 'device-a';

/** The attacker is this device, with a valid token of its own, or nobody. */
export const B = 'device-b';

export interface Victim {
  readonly client: RawClient;
  /** Fails unless it still has its session and got nothing but what it sent itself. */
  unharmed(): Promise<void>;
}

/** Device A in a live session, subscribed to all its topics. */
export async function victim(broker: TestBroker, connect?: Partial<IConnectPacket>): Promise<Victim> {
  const client = await broker.session(A, connect);
  expect(await subscribe(client, [`devices/${A}/#`])).toEqual([1]);
  return {
    client,
    async unharmed() {
      client.send(publishPacket(`devices/${A}/own`, 'its own'));
      const got: string[] = [];
      while (!got.includes('its own')) got.push(...payloads([await client.next('publish')]));
      expect([...got, ...payloads(await client.settle())]).toEqual(['its own']);
    },
  };
}

/** Somebody who may see every topic, by a scope `unrestricted` also what is denied; gives what there was to see since it was asked last. */
export async function watcher(broker: TestBroker): Promise<() => Promise<string[]>> {
  const token = broker.token('watcher', { scope: ['mqtt:subscribe:#', 'unrestricted'] });
  const client = await broker.session('watcher', {}, token);
  expect(await subscribe(client, ['#'])).toEqual([1]);
  return async () => payloads(await client.settle());
}

/** The payloads of all retained messages, as one gets them who may see them. */
export async function retained(broker: TestBroker): Promise<string[]> {
  const end = `end/${messageId()}`;
  const token = broker.token('collector', {
    scope: ['mqtt:subscribe:#', 'mqtt:publish:end/#', 'unrestricted'],
  });
  const client = await broker.session('collector', {}, token);
  // They come in the order they were stored in.
  client.send(publishPacket(end, end, { qos: 1, retain: true }));
  await client.next('puback');
  await subscribe(client, ['#']);
  const got: string[] = [];
  while (!got.includes(end)) got.push(...payloads([await client.next('publish')]));
  await client.end();
  return got.filter((payload) => !payload.startsWith('end/'));
}
