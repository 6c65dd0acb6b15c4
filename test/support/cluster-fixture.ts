import { randomUUID } from 'node:crypto';
import type { IPublishPacket, ISubackPacket, Packet } from 'mqtt-packet';
import { expect, inject, onTestFinished } from 'vitest';
import { type Redis, startRedis } from '../../bench/redis.ts';
import type { ClusterOptions } from '../../broker/cluster/options.ts';
import { prepareCluster } from '../../broker/cluster/options.ts';
import { createStore, type Store } from '../../broker/cluster/redis.ts';
import { publishPacket, startTestBroker, type TestBroker, type TestBrokerOptions } from './broker-fixture.ts';
import type { RawClient } from './broker-raw-client.ts';
import { testIssuer } from './broker-tokens.ts';
import { type RedisLink, startRedisLink } from './redis-link.ts';

export const everything = ['mqtt:publish:#', 'mqtt:subscribe:#'];

export interface TestCluster {
  /** `startTestBroker` with what these brokers share. */
  start(options?: TestBrokerOptions & { via?: RedisLink }): Promise<TestBroker>;
  /** A connection of the test's own. */
  readonly store: Store;
  /** What all keys begin with. */
  readonly prefix: string;
  /** Of the Redis that they share. */
  readonly url: string;
  /** Names without the prefix, but for what there is without any session. */
  keys(): Promise<string[]>;
  /** To the Redis of the cluster, for one broker. */
  link(): Promise<RedisLink>;
}

/** Brokers to come, on the Redis of the project or on `redis`. */
export async function startTestCluster(
  options: Partial<ClusterOptions> & { on?: Redis } = {},
): Promise<TestCluster> {
  const { on, ...more } = options;
  const url = on?.url ?? inject('redis');
  if (url === undefined) throw new Error('run it with `vitest --project redis`');
  const issuer = testIssuer();
  const name = randomUUID();
  const prefix = `${name}:`;
  const store = createStore(prepareCluster({ redis: url, prefix: name }), 'test');
  store.on('error', () => {});
  await store.connect();
  onTestFinished(() => store.disconnect());
  return {
    start: ({ via, ...ofBroker } = {}) =>
      startTestBroker({
        issuer,
        ...ofBroker,
        cluster: { redis: via?.url ?? url, prefix: name, ...more, ...ofBroker.cluster } as ClusterOptions,
      }),
    store,
    prefix,
    url,
    async keys() {
      const found = await store.keys(`${prefix}*`);
      return found
        .map((key) => key.slice(prefix.length))
        .filter((key) => !ofAllBrokers.has(key))
        .sort();
    },
    link: () => startRedisLink(url),
  };
}

const ofAllBrokers: ReadonlySet<string> = new Set([
  ...['seq', 'brokers', 'changes', 'changed', 'changes-bytes', 'changes-gone'],
]);

/** A Redis of the test's own, gone when it is over. */
export async function ownRedis(settings: Record<string, string> = {}): Promise<Redis> {
  const redis = await startRedis(settings);
  onTestFinished(() => redis.stop());
  return redis;
}

/** A client that may do everything. */
export const admin = (broker: TestBroker, id: string, clean = true) =>
  broker.session(id, { clean }, broker.token(id, { scope: everything }));

/** Publishes at QoS 1 and waits for each acknowledgement. */
export async function publishAll(client: RawClient, topic: string, texts: Iterable<string>): Promise<void> {
  for (const text of texts) {
    client.send(publishPacket(topic, text, { qos: 1 }));
    await client.next('puback');
  }
}

/** Sends all at QoS 1, then waits for their acknowledgements. */
export async function publishAtOnce(
  client: RawClient,
  topic: string,
  texts: readonly string[],
): Promise<void> {
  client.send(...texts.map((text) => publishPacket(topic, text, { qos: 1 })));
  for (const _ of texts) await client.next('puback');
}

/** Takes and acknowledges that many messages of QoS 1. */
export async function take(client: RawClient, count: number): Promise<string[]> {
  const got: string[] = [];
  while (got.length < count) {
    const { payload, messageId } = (await client.next('publish')) as IPublishPacket;
    got.push(payload.toString());
    if (messageId !== undefined) client.send({ cmd: 'puback', messageId });
  }
  return got;
}

/** All messages that it was sent so far. */
export const messagesOf = (client: RawClient): IPublishPacket[] =>
  client.received.filter((packet: Packet): packet is IPublishPacket => packet.cmd === 'publish');

export function expectGranted(packet: Packet, granted: number[]): void {
  expect((packet as ISubackPacket).granted).toEqual(granted);
}

/** `0` to `count - 1`. */
export const numbered = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, at) => `${from + at}`);
