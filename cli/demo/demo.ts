import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Agent, createAgent, createTokenSource } from '@fleetgate/agent';
import { type Credentials, FleetgateError } from '@fleetgate/shared';
import { adminClient } from '../admin-client.ts';
import { loadConfig } from '../config/load.ts';
import { dataDirectory } from '../data-directory.ts';
import { createLog } from '../log.ts';
import { up } from '../up.ts';
import { forge } from './forger.ts';
import { STEP_TIMEOUT_SECONDS, step } from './step.ts';

/** Lifetime of the demo's tokens: long enough to see one used, short enough to see it renewed. */
const TOKEN_LIFETIME_SECONDS = 5;

/** Between two messages of the sensor. */
const PUBLISH_INTERVAL_MS = 20;

/**
 * Runs issuer, broker and a small fleet in a temporary directory and prints each step with what was seen.
 * @throws FleetgateError when a step did not happen
 */
export async function demo(say: (line: string) => void = sayLine): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'fleetgate-demo-'));
  const agents: Agent[] = [];
  const closers: (() => Promise<void>)[] = [];
  try {
    const set = [
      'issuer.http.port=0',
      'issuer.coap.port=0',
      'admin.port=0',
      'broker.listeners.0.port=0',
      'log.level=error',
    ];
    const { config } = loadConfig({ set }, ['issuer', 'broker'], {});
    const directory = dataDirectory(join(home, 'data'));
    const running = await up(config, directory, createLog(config.log));
    closers.push(() => running.close());
    const { ready } = running;
    say(`issuer ${ready.issuer}, broker ${ready.mqtt}, data in a temporary directory`);
    const admin = adminClient(ready.admin, readFileSync(directory.adminKeyFile, 'utf8').trim());

    const register = async (client_id: string, scope: string): Promise<Credentials> => {
      const { client_secret } = await admin.createClient({
        client_id,
        scope,
        token_lifetime_seconds: TOKEN_LIFETIME_SECONDS,
      });
      return {
        version: 1,
        client_id,
        issuer: ready.issuer as string,
        auth: { method: 'client_secret_basic', client_secret: client_secret as string },
        broker: { url: ready.mqtt as string },
      };
    };
    const registerConstrained = async (client_id: string, scope: string): Promise<Credentials> => {
      const { oscore } = await admin.createClient({ client_id, scope, auth_method: 'oscore' });
      if (oscore === undefined) throw new Error('the issuer answered without a context');
      return {
        version: 1,
        client_id,
        issuer: ready.issuer as string,
        token_endpoint: `${ready.coap}/token`,
        auth: { method: 'oscore', ...oscore, sequence_file: join(home, `${client_id}.sequence`) },
        broker: { url: ready.mqtt as string },
      };
    };
    const start = (credentials: Credentials): Agent => {
      const agent = createAgent(credentials);
      agents.push(agent);
      return agent;
    };

    let credentials: Credentials | undefined;
    let other: Credentials | undefined;
    const received = new Set<string>();
    let device: Agent | undefined;

    await step(say, 'three machines are registered: two sensors and a dashboard', async () => {
      credentials = await register('sensor-1', 'telemetry.write commands.read');
      other = await register('sensor-2', 'telemetry.write commands.read');
      const dashboard = start(await register('dashboard', 'fleet.observe'));
      device = start(credentials);
      await dashboard.subscribe('devices/+/telemetry/#', { qos: 1 }, ({ payload }) => {
        received.add(Buffer.from(payload).toString());
      });
      return 'the dashboard subscribed to devices/+/telemetry/#';
    });
    const sensor = device as unknown as Agent;

    await step(say, 'sensor-1 gets a token over HTTP and its telemetry flows', async () => {
      await sensor.publish('devices/sensor-1/telemetry/temperature', 'first', { qos: 1 });
      await until(() => received.has('first'));
      return 'the dashboard received devices/sensor-1/telemetry/temperature';
    });

    await step(say, 'sensor-1 may not listen to the commands of sensor-2', async () => {
      const refusal = await codeOf(
        sensor.subscribe('devices/sensor-2/commands/#', { qos: 1 }, () => undefined),
      );
      return expectCode(refusal, 'broker_refused', 'SUBSCRIBE was answered with 0x80');
    });

    await step(say, 'its token is renewed on the live connection, and no message is lost', async () => {
      let renewal: { inPlace: boolean } | undefined;
      sensor.on('renewed', (event) => {
        renewal = event;
      });
      let sent = 0;
      while (renewal === undefined) {
        await sensor.publish('devices/sensor-1/telemetry/count', `count ${sent}`, { qos: 1 });
        sent += 1;
        // At a sensor's pace: a flood would overrun the bounded queue of a dashboard that is renewing too.
        await delay(PUBLISH_INTERVAL_MS);
      }
      if (!renewal.inPlace) throw new Error('the agent had to reconnect');
      await until(() => received.size === sent + 1);
      return `${sent} of ${sent} messages received across the renewal, without a reconnect`;
    });

    await step(say, 'sensor-3, a constrained device, gets its token over CoAP inside OSCORE', async () => {
      const constrained = start(await registerConstrained('sensor-3', 'telemetry.write'));
      await constrained.publish('devices/sensor-3/telemetry/level', 'over CoAP', { qos: 1 });
      await until(() => received.has('over CoAP'));
      return `it asked ${ready.coap}, and the dashboard received devices/sensor-3/telemetry/level`;
    });

    await step(say, 'a publish on a topic of another sensor is refused', async () => {
      const refusal = await codeOf(
        sensor.publish('devices/sensor-2/telemetry/temperature', 'forged', { qos: 1 }),
      );
      expectCode(refusal, 'broker_refused', '');
      const { value } = await createTokenSource(other as Credentials).get();
      const topic = 'devices/sensor-1/telemetry/temperature';
      const answer = await forge(ready.mqtt as string, 'sensor-2', value, topic);
      expectCode(answer, 'closed', '');
      if (received.has('forged'))
        throw new FleetgateError('internal_error', 'the forged message was delivered');
      return 'the agent did not send it; of a device that does, the broker closed the connection, and nobody received it';
    });

    await step(say, 'sensor-1 is deleted: cut off within a second, and given no other token', async () => {
      const cut = new Promise<number>((seen) => {
        sensor.on('disconnected', () => seen(performance.now()));
      });
      const askedMs = performance.now();
      await admin.deleteClient('sensor-1');
      const tookMs = Math.round((await cut) - askedMs);
      if (tookMs > 1000) throw new Error(`it was cut off after ${tookMs} ms`);
      await sensor.stop();
      const refusal = await codeOf(createTokenSource(credentials as Credentials).get());
      const seen = `the broker closed its session after ${tookMs} ms; the issuer answered invalid_client`;
      return expectCode(refusal, 'invalid_client', seen);
    });

    say('done.');
  } finally {
    await Promise.allSettled(agents.map((agent) => agent.stop()));
    for (const close of closers) await close();
    rmSync(home, { recursive: true, force: true });
  }
}

async function until(isSeen: () => boolean): Promise<void> {
  const end = performance.now() + STEP_TIMEOUT_SECONDS * 1000;
  while (!isSeen()) {
    if (performance.now() > end) throw new Error('it was not seen');
    await delay(20);
  }
}

async function codeOf(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
    return 'nothing';
  } catch (error) {
    return error instanceof FleetgateError ? error.code : String(error);
  }
}

function expectCode(code: string, expected: string, seen: string): string {
  if (code !== expected) throw new Error(`expected ${expected}, saw ${code}`);
  return seen;
}

function sayLine(line: string): void {
  process.stdout.write(`${line}\n`);
}
