import { connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** One of the two connections of a broker: for commands, or for the bus. */
export type Part = 'commands' | 'bus';

/** A TCP link of one broker to Redis, whose answers can be held back. */
export interface RedisLink {
  readonly url: string;
  /** What Redis says on that connection waits, in order, until `release`. What the broker says passes. */
  hold(part: Part): void;
  release(part: Part): void;
  /** Ends what is open, and refuses what is opened until `mend`. */
  cut(part?: Part): void;
  mend(): void;
}

/** The name that a broker gives its connection for the bus; that of the other is the beginning of it. */
const BUS_NAME = 'fleetgate-bus';
const NAME = 'fleetgate';

interface Pair {
  part: Part | undefined;
  readonly client: Socket;
  readonly server: Socket;
}

/** It is gone when the test is over. */
export async function startRedisLink(redis: string): Promise<RedisLink> {
  const target = Number(new URL(redis).port);
  const pairs = new Set<Pair>();
  const held = new Set<Part>();
  let isCut = false;

  const server = createServer({ noDelay: true }, (client) => {
    client.on('error', () => {});
    if (isCut) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({ port: target, host: '127.0.0.1', noDelay: true });
    const pair: Pair = { part: undefined, client, server: upstream };
    pairs.add(pair);
    upstream.on('error', () => {});
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    client.once('close', end);
    upstream.once('close', end);
    client.on('data', (data) => {
      if (pair.part === undefined && data.includes(NAME)) {
        pair.part = data.includes(BUS_NAME) ? 'bus' : 'commands';
        if (held.has(pair.part)) upstream.pause();
      }
      upstream.write(data);
    });
    upstream.on('data', (data) => client.write(data));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(
    () =>
      new Promise<void>((done) => {
        for (const { client } of pairs) client.destroy();
        server.close(() => done());
      }),
  );
  const of = (part: Part) => Array.from(pairs).filter((pair) => pair.part === part);
  return {
    url: `redis://127.0.0.1:${(server.address() as { port: number }).port}`,
    hold(part) {
      held.add(part);
      for (const pair of of(part)) pair.server.pause();
    },
    release(part) {
      held.delete(part);
      for (const pair of of(part)) pair.server.resume();
    },
    cut(part) {
      isCut = part === undefined;
      for (const pair of part === undefined ? pairs : of(part)) pair.client.resetAndDestroy();
    },
    mend() {
      isCut = false;
    },
  };
}
