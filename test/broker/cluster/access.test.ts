import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis as Commands } from 'ioredis';
import { describe, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../../../bench/free-port.ts';
import type { ClusterOptions } from '../../../broker/cluster/options.ts';
import { prepareCluster } from '../../../broker/cluster/options.ts';
import { openClusterSessions } from '../../../broker/cluster/session-list.ts';
import { startTestBroker, subscribe, type TestBroker, until } from '../../support/broker-fixture.ts';
import { testIssuer } from '../../support/broker-tokens.ts';
import { createAuthority, testTls } from '../../support/certificates.ts';
import { admin, ownRedis, publishAll, take } from '../../support/cluster-fixture.ts';

const PASSWORD = 'canary-4711';

const start = (cluster: ClusterOptions, issuer = testIssuer()) => startTestBroker({ cluster, issuer });

/** A connection of the test's own. */
function commandsOf(options: { port: number; password?: string; db?: number }): Commands {
  const commands = new Commands(options);
  // A server that is about to listen.
  commands.on('error', () => {});
  onTestFinished(() => commands.disconnect());
  return commands;
}

async function expectServing(broker: TestBroker): Promise<void> {
  const client = await admin(broker, 'client', false);
  await subscribe(client, ['x/#']);
  await publishAll(client, 'x/y', ['served']);
  expect(broker.log()).not.toContain(PASSWORD);
}

/** It serves nobody and says why, once and not for each try. */
async function expectAway(broker: TestBroker, why: RegExp): Promise<void> {
  expect(await broker.connack('client', broker.token('client'))).toBe(3);
  await until(() => why.test(broker.log()));
  expect(broker.log()).toContain('cluster_away');
  expect(broker.log()).not.toContain(PASSWORD);
}

describe('TLS to Redis', () => {
  async function redisWithTls(): Promise<string> {
    const { certFile, keyFile, caFile } = await testTls();
    const port = await freePort();
    await ownRedis({
      port: '0',
      'tls-port': String(port),
      'tls-cert-file': certFile,
      'tls-key-file': keyFile,
      'tls-ca-cert-file': caFile,
      'tls-auth-clients': 'no',
    });
    return `rediss://127.0.0.1:${port}`;
  }

  test('is checked against the authorities that are named', async () => {
    const redis = await redisWithTls();
    const { authority } = await testTls();
    await expectServing(await start({ redis, ca: authority.cert }));
  });

  test('is refused where another authority stands for it, and where none was named', async () => {
    const redis = await redisWithTls();
    const other = await createAuthority();
    await expectAway(await start({ redis, ca: other.cert }), /certificate/);
    await expectAway(await start({ redis }), /certificate/);
  });

  test('that is refused is an error of fleetgate sessions, and ends it no other way', async () => {
    const redis = await redisWithTls();
    const { cert } = await createAuthority();
    for (let round = 0; round < 20; round += 1) {
      await expect(openClusterSessions({ redis, ca: cert })).rejects.toMatchObject({
        code: 'registry_unavailable',
        message: expect.stringMatching(/certificate/),
      });
    }
  });

  test('is not left out when it is asked for', async () => {
    const { url } = await ownRedis();
    await expectAway(await start({ redis: url.replace('redis:', 'rediss:'), frozenAfterSeconds: 1 }), /away/);
  });
});

describe('a Redis with a password', () => {
  test('is served with it', async () => {
    const redis = await ownRedis({ requirepass: PASSWORD });
    await expectServing(await start({ redis: redis.url, password: PASSWORD }));
  });

  test('is away without it or with another, which the log does not hold', async () => {
    const redis = await ownRedis({ requirepass: 'right' });
    await expectAway(await start({ redis: redis.url, password: PASSWORD }), /WRONGPASS/);
    await expectAway(await start({ redis: redis.url }), /NOAUTH/);
  });

  test('is served to a user that may do what brokers do, with keys of their prefix', async () => {
    const redis = await ownRedis({ requirepass: 'of-default' });
    const commands = commandsOf({ port: redis.port, password: 'of-default' });
    const rules = ['~fleet:*', '&fleet:*', '+@all', '-@admin', '-@dangerous', '+info'];
    await commands.call('ACL', 'SETUSER', 'broker', 'on', `>${PASSWORD}`, ...rules);
    const options = { redis: redis.url, username: 'broker', password: PASSWORD };
    await expectServing(await start({ ...options, prefix: 'fleet' }));
    await expectServing(
      await start({ ...options, redis: redis.url.replace('//', '//broker@'), prefix: 'fleet' }),
    );
    await expectAway(await start({ ...options, prefix: 'other' }), /NOPERM|permission/i);
  });
});

test('the database of the URL is the one that is used', async () => {
  const redis = await ownRedis();
  await expectServing(await start({ redis: `${redis.url}/3`, prefix: 'fleet' }));
  const commands = commandsOf({ port: redis.port, db: 3 });
  expect(await commands.exists('fleet:3:kept')).toBe(1);
});

test.each([
  'redis://',
  'redis://:secret@127.0.0.1:1',
  'redis://127.0.0.1:1/zero',
  'redis://127.0.0.1:1/0/1',
  'redis://127.0.0.1:1/0?db=1',
  'redis://a%zz@127.0.0.1:1',
  'http://127.0.0.1:1',
])('%s is a mistake that is said before anything starts', (redis) => {
  expect(() => prepareCluster({ redis })).toThrow(TypeError);
});

test('brokers find the new primary when Sentinel has made one, with what was stored', async () => {
  const primary = await ownRedis();
  const replica = await ownRedis({ replicaof: `127.0.0.1 ${primary.port}` });
  const port = await startSentinel(primary.port);
  const sentinels = commandsOf({ port });
  await until(
    async () => ((await sentinels.call('SENTINEL', 'REPLICAS', 'fleet')) as unknown[]).length === 1,
  );
  const cluster = {
    redis: 'redis://sentinel',
    sentinel: { primary: 'fleet', nodes: [{ host: '127.0.0.1', port }] },
    frozenAfterSeconds: 1,
    deadAfterSeconds: 10,
  };
  const issuer = testIssuer();
  const [one, other] = [await start(cluster, issuer), await start(cluster, issuer)];
  const device = await one.session('device-1', { clean: false });
  await subscribe(device, ['devices/device-1/#']);
  await device.end();
  const publisher = await admin(other, 'publisher');
  await publishAll(publisher, 'devices/device-1/x', ['before']);
  const commands = commandsOf({ port: replica.port });
  await until(async () => (await commands.xlen('fleetgate:queue:device-1')) === 1);
  await primary.kill();
  await publisher.closed;
  await until(async () => (await other.connack('probe', other.token('probe'))) === 0);
  await until(async () => (await one.connack('probe', one.token('probe'))) === 0);
  expect(await commands.call('ROLE')).toContain('master');
  const again = await one.session('device-1', { clean: false });
  expect(await take(again, 1)).toEqual(['before']);
});

/** Sentinel for one primary, which it calls `fleet`. */
async function startSentinel(primaryPort: number): Promise<number> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'fleetgate-sentinel-'));
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${folder}`,
    `sentinel monitor fleet 127.0.0.1 ${primaryPort} 1`,
    'sentinel down-after-milliseconds fleet 500',
    'sentinel failover-timeout fleet 2000',
  ];
  // It writes down there what it learns.
  const file = join(folder, 'sentinel.conf');
  writeFileSync(file, `${lines.join('\n')}\n`);
  const child = spawn('/usr/bin/redis-server', [file, '--sentinel'], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  return port;
}
