import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { payloads, publishPacket, subscribe, until } from '../../support/broker-fixture.ts';
import { connackOf, connectPacket, rawClient } from '../../support/broker-raw-client.ts';
import { testIssuer } from '../../support/broker-tokens.ts';
import { ownRedis, publishAll, take } from '../../support/cluster-fixture.ts';
import { startFleetgate, temporaryDirectory } from '../../support/fleetgate-process.ts';

const policy = `
version: 1
scopes:
  own: { publish: [ 'devices/{client_id}/#' ], subscribe: [ 'devices/{client_id}/#' ] }
  all: { publish: [ '#' ], subscribe: [ '#' ] }
`;

test('a broker that stood still is dead to the others, and serves nobody of before when it goes on', async () => {
  const redis = await ownRedis({ appendfsync: 'no' });
  const issuer = testIssuer();
  const work = temporaryDirectory();
  onTestFinished(work.remove);
  const start = async (name: string) => {
    const directory = join(work.path, name);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeFileSync(join(directory, 'keys.json'), JSON.stringify(issuer.jwks()));
    writeFileSync(join(directory, 'policy.yaml'), policy);
    const cluster = { redis: redis.url, frozen_after_seconds: 1, dead_after_seconds: 2 };
    const trusted_issuers = [{ issuer: issuer.name, jwks_file: 'keys.json' }];
    const broker = { listeners: [{ protocol: 'mqtt', port: 0 }], trusted_issuers, cluster };
    // JSON is YAML.
    writeFileSync(join(directory, 'fleetgate.yaml'), JSON.stringify({ admin: { port: 0 }, broker }));
    const config = join(directory, 'fleetgate.yaml');
    const running = await startFleetgate(['broker', '--json', '--data', directory, '--config', config]);
    onTestFinished(async () => {
      running.process.kill('SIGCONT');
      await running.stop('SIGKILL');
    });
    return running;
  };
  const [stopped, other] = await Promise.all([start('stopped'), start('other')]);
  const connect = async ({ ready }: typeof stopped, clientId: string, scope: string, more = {}) => {
    const client = await rawClient(ready['mqtt'] as string);
    onTestFinished(() => void client.stream.destroy());
    const token = issuer.token({ clientId, scope: [scope] });
    expect(await connackOf(client, connectPacket(clientId, token, more))).toBe(0);
    return client;
  };
  const watcher = await connect(other, 'watcher', 'all');
  await subscribe(watcher, ['devices/+/gone', 'devices/+/x']);
  const will = { topic: 'devices/device-1/gone', payload: Buffer.from('gone'), qos: 1, retain: false };
  const back = { ...will, topic: 'devices/device-2/gone' };
  const lost = await connect(stopped, 'device-1', 'own', { clean: false, will });
  await subscribe(lost, ['devices/device-1/in']);
  const moved = await connect(stopped, 'device-2', 'own', { clean: false, will: back });
  stopped.process.kill('SIGSTOP');
  const again = await connect(other, 'device-2', 'own', { clean: false });
  expect(payloads([await watcher.next('publish')])).toEqual(['gone']);
  // In the socket of one that does not read.
  lost.send(publishPacket('devices/device-1/x', 'late', { qos: 1 }));
  moved.send(publishPacket('devices/device-2/x', 'late', { qos: 1 }));
  await publishAll(watcher, 'devices/device-1/in', ['kept']);
  stopped.process.kill('SIGCONT');
  await Promise.all([lost.closed, moved.closed]);
  expect([...lost.received, ...moved.received].some(({ cmd }) => cmd === 'puback')).toBe(false);
  expect(again.stream.destroyed).toBe(false);
  // By itself among the others again, under another name.
  let home: Awaited<ReturnType<typeof connect>> | undefined;
  await until(async () => {
    home = await connect(stopped, 'device-1', 'own', { clean: false }).catch(() => undefined);
    return home !== undefined;
  });
  expect(await take(home as NonNullable<typeof home>, 1)).toEqual(['kept']);
  expect(payloads(await watcher.settle())).toEqual([]);
});
