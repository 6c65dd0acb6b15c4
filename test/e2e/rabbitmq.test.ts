import { setTimeout as delay } from 'node:timers/promises';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { createAgent, readCredentialsFile } from '@fleetgate/agent';
import { compileGrants, decide, parsePolicy } from '@fleetgate/broker';
import { decodeJwt } from 'jose';
import { connectAsync, type MqttClient } from 'mqtt';
import type { ISubackPacket } from 'mqtt-packet';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { isRabbitmqInstalled } from '../../bench/broker/rabbitmq.ts';
import { grantTable, tablePolicy } from '../broker/engines/grant-table.ts';
import { connackOf, connectPacket, type RawClient, rawClient } from '../support/broker-raw-client.ts';
import { runCommand } from '../support/fleetgate-process.ts';
import { pagePolicy, type RabbitmqEngine, startRabbitmqEngine } from '../support/rabbitmq-engine.ts';
import { rabbitmqPublishes, rabbitmqSubscribes } from '../support/rabbitmq-model.ts';

// RabbitMQ itself, configured as docs/engines.md shows, with tokens of a real issuer and clients of three makes.

/** Without it there is nothing to test; where everything is tested, it is there. */
const isSkipped = !isRabbitmqInstalled() && process.env['CI'] === undefined;

const policy = parsePolicy(pagePolicy + tablePolicy, 'policy.yaml');

let engine: RabbitmqEngine;
const ofSystem = getCACertificates('default');

describe.skipIf(isSkipped)('RabbitMQ (Debian: apt-get install rabbitmq-server)', () => {
  beforeAll(async () => {
    engine = await startRabbitmqEngine(tablePolicy);
    // The agent asks the issuer over TLS, in this process.
    setDefaultCACertificates([...ofSystem, engine.authority.cert]);
  }, 120_000);

  afterAll(async () => {
    setDefaultCACertificates(ofSystem);
    await engine?.stop();
  });

  describe('agents unchanged', () => {
    async function agentOf(clientId: string, scope: string) {
      const agent = createAgent(await readCredentialsFile(await engine.register(clientId, scope)));
      onTestFinished(() => agent.stop());
      return agent;
    }

    test('telemetry and commands pass inside the scope', async () => {
      const device = await agentOf('press-1', 'telemetry.write commands.read');
      const service = await agentOf('console', 'fleet.observe mqtt:publish:devices/press-1/commands/#');
      const seen: string[] = [];
      const note = ({ topic, payload }: { topic: string; payload: Buffer }) =>
        void seen.push(`${topic} ${payload}`);
      await service.subscribe('devices/+/telemetry/#', { qos: 1 }, note);
      await device.subscribe('devices/press-1/commands/#', { qos: 1 }, note);
      await device.publish('devices/press-1/telemetry/t', '21.5', { qos: 1 });
      await service.publish('devices/press-1/commands/reboot', 'now', { qos: 1 });
      await expect.poll(() => seen.length, { timeout: 10_000 }).toBe(2);
      expect(seen.sort()).toEqual([
        'devices/press-1/commands/reboot now',
        'devices/press-1/telemetry/t 21.5',
      ]);
    });

    test('a publish outside the scope is refused, and the next inside it passes', async () => {
      const device = await agentOf('press-2', 'telemetry.write');
      await expect(device.publish('devices/press-1/telemetry/t', 'forged', { qos: 1 })).rejects.toMatchObject(
        {
          code: 'broker_refused',
        },
      );
      await device.publish('devices/press-2/telemetry/t', '21.5', { qos: 1 });
    });
  });

  test('an agent goes on past the end of its tokens, and no message with QoS 1 is lost', async () => {
    const lifetime = ['--token-lifetime-seconds', '5'];
    const file = await engine.register('renewing', 'telemetry.write', ...lifetime);
    const device = createAgent(await readCredentialsFile(file));
    onTestFinished(() => device.stop());
    const watcher = createAgent(
      await readCredentialsFile(await engine.register('watching', 'fleet.observe')),
    );
    onTestFinished(() => watcher.stop());
    const seen = new Set<string>();
    await watcher.subscribe('devices/+/telemetry/#', { qos: 1 }, ({ topic, payload }) => {
      if (topic === 'devices/renewing/telemetry/n') seen.add(String(payload));
    });
    const numbers = Array.from({ length: 60 }, (_, i) => String(i));
    for (const number of numbers) {
      await device.publish('devices/renewing/telemetry/n', number, { qos: 1 });
      await delay(200);
    }
    await expect.poll(() => Array.from(seen), { timeout: 10_000 }).toEqual(expect.arrayContaining(numbers));
  });

  test('mosquitto_pub passes inside the scope, and is refused outside', async () => {
    const { access_token: token = '' } = await engine.token(
      await engine.register('mosquitto', 'telemetry.write'),
    );
    const publish = (topic: string) =>
      runCommand('mosquitto_pub', [
        ...['-h', 'localhost', '-p', new URL(engine.url).port, '--cafile', engine.caFile],
        ...['-i', 'mosquitto', '-u', 'mosquitto', '-P', token, '-q', '1', '-t', topic, '-m', 'x'],
      ]);
    expect((await publish('devices/mosquitto/telemetry/t')).code).toBe(0);
    expect((await publish('devices/press-1/telemetry/t')).code).not.toBe(0);
  });

  test('a client that the policy cannot be said for gets no token, and the audit says so', async () => {
    const dotted = await engine.register('press.1', 'own');
    const answer = await engine.token(dotted);
    expect(answer).toMatchObject({ error: 'invalid_scope' });
    expect(answer.error_description).toContain("publish own/press.1/t of scope own: RabbitMQ takes '.'");
    const { stdout } = await engine.fleetgate('audit', 'list', '--target', 'press.1', '--format', 'json');
    expect(stdout).toContain('"invalid_scope"');
  });

  describe('a table of grants and attempts', () => {
    let credentials: string;
    const met = { allowed: 0, refused: 0, exceptions: 0 };

    beforeAll(async () => {
      credentials = await engine.register('a', 'mqtt:publish:# mqtt:subscribe:# exact.read broad.read own');
    });

    test.each(grantTable)('$scope', async ({ scope, attempts }) => {
      const { access_token: token = '', error_description: problem } = await engine.token(credentials, scope);
      expect(problem).toBeUndefined();
      const { extra_scopes: scopes } = decodeJwt<{ extra_scopes: string[] }>(token);
      const model = { scopes, prefix: 'rabbitmq.', vhost: '/', exchange: 'amq.topic', clientId: 'a' };
      const held = compileGrants(policy, { clientId: 'a', claims: {}, scopes: scope.split(' ') });
      const principal = { clientId: 'a', issuer: '', tokenId: '', expiresAtMs: 1, grants: held };
      for (const [action, of, exception] of attempts) {
        const isAllowed = await isAllowedByRabbitmq(token, action, of);
        const attempt =
          action === 'publish'
            ? ({ action, topic: of, qos: 1, retain: false, bytes: 1 } as const)
            : ({ action, filter: of, qos: 1 } as const);
        const decision = decide(principal, attempt, 0).allowed;
        const expected =
          action === 'publish' ? rabbitmqPublishes(model, of) : rabbitmqSubscribes(model, of, 1);
        expect(isAllowed, `the model of ${action} ${of}`).toBe(expected);
        if (exception === undefined) {
          if (isAllowed) expect(decision, `${action} ${of}`).toBe(true);
          met[isAllowed ? 'allowed' : 'refused'] += 1;
        } else {
          // What docs/engines.md says of it is so.
          expect([isAllowed, decision], `${action} ${of}: ${exception}`).toEqual(
            exception === 'narrower' ? [false, true] : [true, false],
          );
          met.exceptions += 1;
        }
      }
    });

    test('it has what the issue asks for', () => {
      expect(met.allowed + met.refused).toBeGreaterThanOrEqual(60);
      expect(met.allowed).toBeGreaterThanOrEqual(20);
      expect(met.refused).toBeGreaterThanOrEqual(30);
      expect(met.exceptions).toBeGreaterThanOrEqual(8);
    });
  });

  describe('what docs/engines.md says is not enforced', () => {
    const connect = async (token: string, clientId: string, more: object = {}): Promise<MqttClient> => {
      const client = await connectAsync(engine.url, {
        ...{ clientId, username: clientId, password: token, ca: engine.authority.cert, reconnectPeriod: 0 },
        ...more,
      });
      onTestFinished(() => client.endAsync(true));
      return client;
    };

    test('the client id: another one publishes and takes a session over, and subscribes by its own alone', async () => {
      const [own, other] = [
        await engine.register('thief', 'telemetry.write'),
        await engine.register('victim', 'own'),
      ];
      const { access_token: stolen = '' } = await engine.token(own);
      const victim = await connect((await engine.token(other)).access_token ?? '', 'victim');
      const isClosed = new Promise((closed) => victim.once('close', () => closed('closed')));
      const thief = await connect(stolen, 'victim');
      expect(await isClosed).toBe('closed');
      await thief.publishAsync('devices/thief/telemetry/t', 'x', { qos: 1 });
      const raw = await login(stolen, 'victim');
      expect(await subackOf(raw, '$fleetgate/session')).toBe('closed');
    });

    test('QoS 2: it is 1', async () => {
      const { access_token: token = '' } = await engine.token(await engine.register('q', 'commands.read'));
      const raw = await login(token, 'q');
      expect(await subackOf(raw, 'devices/q/commands/#', 2)).toBe(1);
    });

    test('the end of a token and its revocation: who only listens goes on, a publish is refused', async () => {
      const short = ['--token-lifetime-seconds', '8'];
      const file = await engine.register(
        'short',
        'telemetry.write mqtt:subscribe:devices/sender/telemetry/#',
        ...short,
      );
      const { access_token: token = '' } = await engine.token(file);
      const listener = await connect(token, 'short');
      await listener.subscribeAsync('devices/sender/telemetry/#', { qos: 1 });
      await listener.publishAsync('devices/short/telemetry/t', 'x', { qos: 1 });
      expect((await engine.fleetgate('revoke', 'client', 'short')).code).toBe(0);
      await listener.publishAsync('devices/short/telemetry/t', 'still', { qos: 1 });
      await connect(token, 'short-2');
      await delay(Math.max(0, (decodeJwt(token).exp ?? 0) * 1000 + 1500 - Date.now()));
      const next = new Promise((got) => listener.once('message', (_topic, payload) => got(String(payload))));
      const sender = await engine.token(await engine.register('sender', 'telemetry.write'));
      await (await connect(sender.access_token ?? '', 'sender')).publishAsync(
        'devices/sender/telemetry/t',
        'late',
        { qos: 1 },
      );
      expect(await next).toBe('late');
      const isClosed = new Promise((closed) => listener.once('close', () => closed('closed')));
      listener.publish('devices/short/telemetry/t', 'y', { qos: 1 });
      expect(await isClosed).toBe('closed');
      expect(await connackOf(await raw(), connectPacket('short', token))).not.toBe(0);
    });

    test('a persistent session keeps the subscriptions of an earlier token', async () => {
      const file = await engine.register(
        'keeper',
        'commands.read telemetry.write mqtt:publish:devices/keeper/commands/#',
      );
      const scoped = async (scope?: string) => (await engine.token(file, scope)).access_token ?? '';
      const first = await connect(await scoped(), 'keeper', { clean: false });
      await first.subscribeAsync('devices/keeper/commands/#', { qos: 1 });
      await first.endAsync();
      const writer = await connect(await scoped('mqtt:publish:devices/keeper/commands/#'), 'keeper-writer');
      await writer.publishAsync('devices/keeper/commands/x', 'kept', { qos: 1 });
      const seen: string[] = [];
      const again = await connect(await scoped('telemetry.write'), 'keeper', {
        clean: false,
        manualConnect: false,
      });
      again.on('message', (_topic, payload) => void seen.push(String(payload)));
      await expect.poll(() => seen, { timeout: 5_000 }).toEqual(['kept']);
    });

    test('a will is checked when it is published, and not at CONNECT', async () => {
      const file = await engine.register(
        'w',
        'telemetry.write mqtt:publish:devices/watched/# mqtt:subscribe:devices/#',
      );
      const watcher = await connect(
        (await engine.token(file, 'mqtt:subscribe:devices/#')).access_token ?? '',
        'w',
      );
      const seen: string[] = [];
      watcher.on('message', (topic) => void seen.push(topic));
      await watcher.subscribeAsync('devices/#', { qos: 1 });
      const { access_token: token = '' } = await engine.token(file, 'mqtt:publish:devices/watched/#');
      for (const topic of ['devices/press-1/forged', 'devices/watched/will']) {
        const will = { topic, payload: Buffer.from('x'), qos: 1 as const, retain: false };
        const client = await raw();
        expect(await connackOf(client, connectPacket('w-will', token, { will }))).toBe(0);
        await client.end();
      }
      await expect.poll(() => seen, { timeout: 10_000 }).toEqual(['devices/watched/will']);
    });

    test('a token for another audience does not connect', async () => {
      const file = await engine.register('elsewhere', 'telemetry.write', '--audience', 'mqtt');
      const { access_token: token = '' } = await engine.token(file, undefined, 'mqtt');
      expect(await connackOf(await raw(), connectPacket('elsewhere', token))).not.toBe(0);
    });
  });
});

const raw = () => rawClient(engine.url, { tls: { ca: engine.authority.cert } });

async function login(token: string, clientId: string): Promise<RawClient> {
  let client = await raw();
  let code = await connackOf(client, connectPacket(clientId, token));
  // Now and then it closes the connection while it still clears away the last one of that client id.
  for (let tries = 0; code === 'closed' && tries < 5; tries += 1) {
    client = await raw();
    code = await connackOf(client, connectPacket(clientId, token));
  }
  expect(code).toBe(0);
  return client;
}

/** Whether it is acknowledged; a refusal closes the connection. */
async function isAllowedByRabbitmq(
  token: string,
  action: 'publish' | 'subscribe',
  of: string,
): Promise<boolean> {
  const client = await login(token, 'a');
  try {
    if (action === 'subscribe') return (await subackOf(client, of)) === 1;
    // As bytes: the library would refuse to write what is no topic.
    client.write(publishBytes(of));
    await client.next('puback');
    return true;
  } catch {
    return false;
  } finally {
    await client.end();
  }
}

/** PUBLISH (MQTT 3.1.1 §3.3) with QoS 1, packet id 1 and one byte of payload. */
function publishBytes(topic: string): Buffer {
  const name = Buffer.from(topic);
  return Buffer.concat([
    Buffer.from([0x32, name.length + 5, 0, name.length]),
    name,
    Buffer.from([0, 1, 0x78]),
  ]);
}

async function subackOf(client: RawClient, filter: string, qos: 0 | 1 | 2 = 1): Promise<number | 'closed'> {
  client.send({ cmd: 'subscribe', messageId: 7, subscriptions: [{ topic: filter, qos }] });
  try {
    return ((await client.next('suback')) as ISubackPacket).granted[0] as number;
  } catch {
    return 'closed';
  }
}
