import { remoteRevocations } from '@fleetgate/broker';
import { connectAsync } from 'mqtt';
import { expect, onTestFinished, test } from 'vitest';
import { startTestBroker } from '../support/broker-fixture.ts';
import {
  freePorts,
  requestToken,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';
import { issuerFixture, type RegisteredClient } from '../support/issuer-fixture.ts';

test('a client in quarantine is cut off and answered 5, also after a restart, until it is released', async () => {
  const data = temporaryDirectory();
  onTestFinished(() => data.remove());
  const args = ['up', ...freePorts(data.path)];
  const run = async (...command: string[]) => {
    const { code, stdout, stderr } = await runFleetgate([
      ...command,
      '--data',
      data.path,
      '--format',
      'json',
    ]);
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout);
  };
  let fleetgate = await startFleetgate(args);
  onTestFinished(async () => void (await fleetgate.stop()));
  const create = ['client', 'create', '--id', 'sensor-1', '--scope', 'telemetry.write'];
  const { client_secret: secret } = await run(...create);
  const newToken = async () => {
    const response = await requestToken(fleetgate.ready['issuer'] as string, 'sensor-1', secret);
    expect(response.status).toBe(200);
    return ((await response.json()) as { access_token: string }).access_token;
  };
  const connect = (password: string) =>
    connectAsync(
      fleetgate.ready['mqtt'] as string,
      { clientId: 'sensor-1', username: 'sensor-1', password, reconnectPeriod: 0 },
      false,
    );

  const before = await newToken();
  const client = await connect(before);
  const closed = new Promise<number>((done) => client.once('close', () => done(performance.now())));
  await run('client', 'quarantine', 'sensor-1', '--reason', 'lost');
  const answeredMs = performance.now();
  expect((await closed) - answeredMs).toBeLessThan(1000);
  await expect(connect(before)).rejects.toMatchObject({ code: 5 });

  // On the port it had, so that it is the same issuer.
  const { port } = new URL(fleetgate.ready['issuer'] as string);
  await fleetgate.stop();
  fleetgate = await startFleetgate([...args, '--set', `issuer.http.port=${port}`]);
  await expect(connect(before)).rejects.toMatchObject({ code: 5 });

  await run('client', 'release', 'sensor-1');
  const after = await newToken();
  await (await connect(after)).endAsync();
  await run('revoke', 'client', 'sensor-1');
  await expect(connect(after)).rejects.toMatchObject({ code: 4 });
  await expect(connect(before)).rejects.toMatchObject({ code: 5 });
});

test('a broker elsewhere answers the same by the feed, whole or taken up again after a break', async () => {
  const fixture = await issuerFixture();
  const { url } = fixture.issuer;
  const tokenOf = async (client: RegisteredClient) =>
    ((await (await fixture.tokenFor(client)).json()) as { access_token: string }).access_token;
  const reader = await fixture.register({ client_id: 'reader', scope: 'fleetgate.revocations' });
  const devices = [];
  for (const client_id of ['device-1', 'device-2']) {
    const client = await fixture.register({ client_id, scope: 'mqtt:publish:devices/{client_id}/#' });
    devices.push({ client_id, token: await tokenOf(client) });
  }
  const [first, second] = devices as [(typeof devices)[0], (typeof devices)[0]];
  const quarantine = async (id: string) => {
    const answer = await fixture.call('POST', `/v1/clients/${id}/quarantine`, { reason: 'lost' });
    expect(answer.status).toBe(200);
  };

  async function startBroker() {
    const asked: string[] = [];
    let isCurrent = Promise.withResolvers<void>();
    const source = remoteRevocations({
      url: `${url}/revocations`,
      random: () => 0,
      async token() {
        const token = await tokenOf(reader);
        asked.push(token);
        return token;
      },
    });
    const broker = await startTestBroker({
      issuers: [
        {
          issuer: url,
          keys: { discover: true },
          revocations: {
            source: (listener) =>
              source({
                ...listener,
                current() {
                  listener.current();
                  isCurrent.resolve();
                },
              }),
            refuseWhenAway: true,
          },
        },
      ],
    });
    await isCurrent.promise;
    return {
      broker,
      asked,
      async breakFeed() {
        isCurrent = Promise.withResolvers<void>();
        // The feed ends with the token that reads it.
        const { jti } = JSON.parse(
          Buffer.from(asked.at(-1)?.split('.')[1] as string, 'base64url').toString(),
        );
        await fixture.call('POST', '/v1/revocations', { kind: 'token', jti });
        await isCurrent.promise;
      },
    };
  }

  const { broker, asked, breakFeed } = await startBroker();
  const session = await broker.session(first.client_id, {}, first.token);
  await quarantine(first.client_id);
  await session.closed;
  expect(await broker.refusal({ action: 'session' })).toMatchObject({ reason: 'client_quarantined' });
  expect(await broker.connack(first.client_id, first.token)).toBe(5);

  await breakFeed();
  expect(asked).toHaveLength(2);
  expect(await broker.connack(first.client_id, first.token)).toBe(5);
  const other = await broker.session(second.client_id, {}, second.token);
  await quarantine(second.client_id);
  await other.closed;
  expect(await broker.connack(second.client_id, second.token)).toBe(5);

  const { broker: again } = await startBroker();
  for (const { client_id, token } of devices) expect(await again.connack(client_id, token)).toBe(5);
});
