import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { isRedisMissing, type Redis, startRedis } from '../../bench/redis.ts';
import { type BrokerCluster, DEAD_AFTER_SECONDS, startBrokerCluster } from '../support/broker-cluster.ts';
import { connackOf, connectPacket, rawClient } from '../support/broker-raw-client.ts';
import { type TestIssuer, testIssuer } from '../support/broker-tokens.ts';
import type { Fault } from '../support/history.ts';
import { checkHistory, type Verdict } from '../support/history-checker.ts';
import type { LinkState } from '../support/link.ts';
import type { DeviceTask, Hop, SubscriptionTask } from '../support/session-device.ts';
import { type SessionFleet, startSessionFleet } from '../support/session-fleet.ts';

const isLong = process.env['FLEETGATE_LONG'] !== undefined;
const BROKERS = 3;
const DEVICES = 2_000;
/** Processes that hold them. */
const PROCESSES = 2;
/** Devices of one group, which read each other. */
const GROUP = 8;
/** One in so many loses its right to read in the middle. */
const NARROWED_EVERY = 40;
const PUBLISH_EVERY_MS = 10_000;
/** How often the schedule is gone through. */
const ROUNDS = isLong ? 5 : 1;
/** What one round takes, about: subscriptions are added meanwhile. */
const ROUND_MS = 100_000;
/** After which the others have buried a broker that is silent. */
const BURIED_AFTER_MS = 1.5 * DEAD_AFTER_SECONDS * 1000;
/** Messages that each device sends when a fault begins, and how far into that it does. */
const BURST = 2;
const BURST_MS = 400;
/** Within which all devices are connected after a fault, on a machine that has other things to do. */
const MAX_RECOVERY_MS = 120_000;
/** Between two hops of sessions beside the faults, and the share of devices. */
const HOP_EVERY_MS = 1_000;
const HOP_SHARE = 0.02;
const MAX_SETTLE_MS = 20_000;
/** How often all sessions are opened again at the end, at most: a queue may take more than one time. */
const MAX_DRAINS = 6;

const policy = `
version: 1
scopes:
  member:
    publish: [ 'groups/{group}/{client_id}/#' ]
    subscribe: [ 'groups/{group}/+/t' ]
  watcher:
    publish: [ 'groups/{group}/{client_id}/#' ]
    subscribe: [ { topic: 'groups/{group}/+/t', broader: filter } ]
  silent:
    publish: [ 'groups/{group}/{client_id}/#' ]
`;

/** The device with that number: what it may do, and what it asks for. */
function deviceTask(issuer: TestIssuer, n: number): DeviceTask {
  const id = `d${n}`;
  const group = Math.floor(n / GROUP);
  const index = n % GROUP;
  const neighbour = (k: number) => `groups/g${group}/d${group * GROUP + ((index + k) % GROUP)}`;
  const granted = (filter: string, qos: 1 | 2): SubscriptionTask => ({ filter, qos, isGranted: true });
  const refused = (filter: string, qos: 1 | 2): SubscriptionTask => ({ filter, qos, isGranted: false });
  const token = (scope: string) =>
    issuer.token({
      clientId: id,
      scope: [scope],
      expiresInSeconds: 7_200,
      claims: { group: `g${group}` },
    });
  const common = { id, publishBelow: `groups/g${group}/${id}` };
  const grants = [`groups/g${group}/+/t`];
  const foreign = refused(`groups/g${group + 1}/+/t`, 1);
  // Of each group one asks for more than it gets, and one for all it may have.
  if (index === GROUP - 1) {
    return {
      ...common,
      tokens: [{ token: token('watcher'), grants }],
      subscriptions: [granted(`groups/g${group}/#`, 2), foreign],
      later: [],
    };
  }
  if (index === GROUP - 2) {
    return {
      ...common,
      tokens: [{ token: token('member'), grants }],
      subscriptions: [granted(`groups/g${group}/+/t`, 2), foreign],
      later: [],
    };
  }
  const first = { token: token('member'), grants };
  return {
    ...common,
    tokens: n % NARROWED_EVERY === 0 ? [first, { token: token('silent'), grants: [] }] : [first],
    subscriptions: [
      granted(`${neighbour(1)}/t`, n % 2 === 0 ? 1 : 2),
      granted(`${neighbour(2)}/t`, n % 2 === 0 ? 2 : 1),
      refused(`${neighbour(1)}/private`, 2),
      foreign,
    ],
    later: [granted(`${neighbour(3)}/t`, 2)],
  };
}

interface Scene {
  readonly issuer: TestIssuer;
  readonly redis: Redis;
  readonly cluster: BrokerCluster;
  readonly fleet: SessionFleet;
}

/** What is done, to the broker with that number. Each begins in the middle of a burst of messages. */
const schedule: readonly ((scene: Scene, broker: number) => Promise<void>)[] = [
  // A broker is killed.
  ({ cluster }, broker) =>
    cluster.during('broker_killed', broker, async () => {
      await cluster.kill(broker);
      await sleep(2_000);
      await cluster.start(broker);
    }),
  ({ cluster }, broker) => withLink(cluster, 'device_link', broker, 'cut', 3_000),
  // Longer than devices wait: they go to another broker while this one holds their connections.
  ({ cluster }, broker) => withLink(cluster, 'device_link', broker, 'silent', 9_000),
  ({ cluster }, broker) => withLink(cluster, 'redis_link', broker, 'cut', 4_000),
  // Longer than it takes the others to bury it.
  ({ cluster }, broker) => withLink(cluster, 'redis_link', broker, 'silent', BURIED_AFTER_MS),
  // So short that nobody notices, and longer than brokers wait.
  (scene) => withRedisFrozen(scene, 3_000),
  (scene) => withRedisFrozen(scene, 8_000),
  // Redis is killed.
  ({ cluster, redis }) =>
    cluster.during('redis_killed', undefined, async () => {
      await redis.kill();
      await sleep(2_000);
      await redis.start();
    }),
  // A broker is killed while Redis is frozen: what it holds in memory is gone.
  ({ cluster, redis }, broker) =>
    cluster.during('redis_frozen', undefined, async () => {
      redis.freeze();
      await sleep(1_000);
      await cluster.during('broker_killed', broker, async () => {
        await cluster.kill(broker);
        await sleep(1_000);
        redis.thaw();
        await cluster.start(broker);
      });
    }),
  // A broker stands still until the others have buried it, and goes on with what it had begun.
  ({ cluster }, broker) =>
    cluster.during('broker_frozen', broker, async () => {
      cluster.freeze(broker);
      await sleep(BURIED_AFTER_MS);
      cluster.thaw(broker);
    }),
];

async function withRedisFrozen({ cluster, redis }: Scene, forMs: number): Promise<void> {
  await cluster.during('redis_frozen', undefined, async () => {
    redis.freeze();
    await sleep(forMs);
    redis.thaw();
  });
}

async function withLink(
  cluster: BrokerCluster,
  which: 'device_link' | 'redis_link',
  broker: number,
  state: Exclude<LinkState, 'open'>,
  forMs: number,
): Promise<void> {
  const link = (which === 'device_link' ? cluster.deviceLinks : cluster.redisLinks)[broker];
  await cluster.during(`${which}_${state}`, broker, async () => {
    link?.set(state);
    await sleep(forMs);
    link?.set('open');
  });
}

/** Some sessions go to another broker all the time. */
async function hopAround({ fleet }: Scene, isOver: () => boolean): Promise<void> {
  const ways: readonly Hop[] = ['disconnect', 'abrupt', 'takeover'];
  for (let n = 0; !isOver(); n += 1) {
    fleet.tell({
      do: 'hop',
      how: ways[n % ways.length] as Hop,
      share: HOP_SHARE,
      spreadMs: HOP_EVERY_MS,
    });
    await sleep(HOP_EVERY_MS);
  }
}

/** Resolves when every broker takes connections and all devices have one; what it took. */
async function recovered({ issuer, cluster, fleet }: Scene): Promise<number> {
  const beganMs = Date.now();
  await cluster.allUp();
  for (const [n, port] of cluster.ports.entries()) {
    await expect
      .poll(() => answerOf(port, `probe-${n}`, issuer), { timeout: MAX_RECOVERY_MS, interval: 100 })
      .toBe(0);
  }
  // Those that hop are away for a moment.
  await expect
    .poll(() => fleet.state().connected, { timeout: MAX_RECOVERY_MS, interval: 100 })
    .toBeGreaterThan(DEVICES * 0.98);
  return Date.now() - beganMs;
}

async function answerOf(port: number, clientId: string, issuer: TestIssuer): Promise<number | 'closed'> {
  const client = await rawClient(`mqtt://127.0.0.1:${port}`);
  try {
    return await connackOf(client, connectPacket(clientId, issuer.token({ clientId, scope: ['silent'] })));
  } finally {
    await client.end();
  }
}

/** Opens all sessions again, until nothing more is owed; how often it was done. */
async function drain({ cluster, fleet }: Scene): Promise<Verdict> {
  // What does not settle is told by the verdict.
  const settled = () =>
    expect
      .poll(() => fleet.state(), { timeout: MAX_SETTLE_MS, interval: 200 })
      .toEqual({ connected: DEVICES, unfinished: 0, unsubscribed: 0 })
      .catch(() => {});
  // Redis appends always: it forgets nothing.
  const check = () => checkHistory({ events: fleet.events, faults: cluster.faults }, { forgottenMs: 0 });
  for (let round = 1; ; round += 1) {
    await settled();
    await quiet(fleet);
    const verdict = check();
    console.log(`looked ${round}: ${verdict.lost.length} of ${verdict.counts.owed} not received`);
    if (verdict.lost.every(({ explainedBy }) => explainedBy !== undefined) && round > 1) return verdict;
    if (round > MAX_DRAINS) return verdict;
    fleet.tell({ do: 'hop', how: 'disconnect', share: 1, spreadMs: 3_000 });
    // All of them have gone, and come back.
    await sleep(3_500);
  }
}

/** Resolves when nothing more arrives. */
async function quiet(fleet: SessionFleet): Promise<void> {
  for (let seen = -1; seen !== fleet.events.length; ) {
    seen = fleet.events.length;
    await sleep(1_500);
  }
}

function told({ kind, broker, beganMs, endedMs }: Fault): string {
  return `${kind}${broker === undefined ? '' : ` ${broker}`} for ${endedMs - beganMs} ms`;
}

/** Of each kind the first. */
function summary({ lost, doubled, reordered, outside, misjudged, unfinished, forgotten }: Verdict): object {
  const unexplained = lost.filter(({ explainedBy }) => explainedBy === undefined);
  return Object.fromEntries(
    Object.entries({ unexplained, doubled, reordered, outside, misjudged, unfinished, forgotten }).map(
      ([name, all]) => [name, all.slice(0, 3)],
    ),
  );
}

test.skipIf(isRedisMissing)(
  `${DEVICES} devices at ${BROKERS} brokers with every kind of fault: nothing outside a grant, no loss that docs/scaling.md does not say, none at QoS 2`,
  { timeout: ROUNDS * 240_000 + 240_000 },
  async () => {
    const issuer = testIssuer();
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const cluster = await startBrokerCluster({ brokers: BROKERS, redis, issuer, policy });
    onTestFinished(() => cluster.stop());
    const tasks = Array.from({ length: DEVICES }, (_, n) => deviceTask(issuer, n));
    const fleet = startSessionFleet(tasks, cluster.ports, PROCESSES);
    const scene = { issuer, redis, cluster, fleet };

    fleet.tell({ do: 'connect', spreadMs: 5_000 });
    await expect
      .poll(() => fleet.state(), { timeout: MAX_RECOVERY_MS, interval: 200 })
      .toMatchObject({ connected: DEVICES, unsubscribed: 0 });
    fleet.tell({ do: 'publish', everyMs: PUBLISH_EVERY_MS });
    fleet.tell({ do: 'subscribe_later', spreadMs: ROUND_MS });
    fleet.tell({ do: 'narrow', spreadMs: ROUND_MS });
    let isOver = false;
    const hopping = hopAround(scene, () => isOver);
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [n, act] of schedule.entries()) {
        fleet.tell({ do: 'burst', messages: BURST, spreadMs: BURST_MS });
        await sleep(BURST_MS / 2);
        await act(scene, (n + round) % BROKERS);
        const tookMs = await recovered(scene);
        console.log(`${told(cluster.faults.at(-1) as Fault)}; all connected after ${tookMs} ms`);
      }
    }
    isOver = true;
    await hopping;
    fleet.tell({ do: 'pause', spreadMs: 0 });

    const verdict = await drain(scene);
    console.log(JSON.stringify(verdict.counts), cluster.faults.map(told).join(', '));
    const nothing = summary({ ...verdict, ...none });
    if (!isDeepStrictEqual(summary(verdict), nothing)) keep(scene, verdict);
    expect(summary(verdict)).toEqual(nothing);
    expect(fleet.state()).toEqual({ connected: DEVICES, unfinished: 0, unsubscribed: 0 });
    expect(verdict.counts.sent).toBeGreaterThan(DEVICES * BURST * schedule.length * ROUNDS * 0.8);
  },
);

const none = {
  lost: [],
  doubled: [],
  reordered: [],
  outside: [],
  misjudged: [],
  unfinished: [],
  forgotten: [],
};

/** What a run that failed leaves to be looked into. */
function keep({ cluster, fleet }: Scene, verdict: Verdict): void {
  const directory = mkdtempSync(join(tmpdir(), 'fleetgate-faults-'));
  const file = (name: string, text: string) => writeFileSync(join(directory, name), text);
  file('events.jsonl', fleet.events.map((event) => JSON.stringify(event)).join('\n'));
  file('verdict.json', JSON.stringify({ faults: cluster.faults, verdict }, undefined, 1));
  for (const n of cluster.ports.keys()) file(`broker-${n}.log`, cluster.stderr(n));
  console.log(`kept in ${directory}`);
}
