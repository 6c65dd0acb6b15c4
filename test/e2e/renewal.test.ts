import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readCredentialsFile } from '@fleetgate/agent';
import { connectAsync, type MqttClient } from 'mqtt';
import { expect, onTestFinished, test } from 'vitest';
import {
  freePorts,
  type RunningFleetgate,
  requestToken,
  runFleetgate,
  startFleetgate,
  temporaryDirectory,
} from '../support/fleetgate-process.ts';

const RENEWALS = 100;
const MESSAGES_PER_SECOND = 1_000;

/** Between two looks at the clock; what is due by then is sent in one go. */
const BATCH_MS = 10;

/** What a machine that was busy is behind by is not sent at once, but given up: the rate that was reached is printed. */
const MAX_BATCH = 100;

/** From one renewal to the next, so that all of them take some eight seconds. */
const RENEWAL_PAUSE_MS = 50;

const tokenTopic = '$fleetgate/token';
const sessionTopic = '$fleetgate/session';

interface Fleet {
  issuer: RunningFleetgate;
  readonly issuerUrl: string;
  readonly mqtt: string;
  /** Stops the issuer and starts it again, on the same port and data. */
  restartIssuer(): Promise<void>;
  /** Registers a client; gives what fetches a token for it. */
  register(id: string, scope: string): Promise<() => Promise<string>>;
}

/** An issuer and a broker, each a process of its own. */
async function startFleet(): Promise<Fleet> {
  const [first, second] = [temporaryDirectory(), temporaryDirectory()];
  const issuer = await startFleetgate(['issuer', ...freePorts(first.path)]);
  const issuerUrl = issuer.ready['issuer'] as string;
  const create = async (id: string, scope: string) => {
    const out = join(dirname(first.path), `${id}.json`);
    const args = ['client', 'create', '--data', first.path, '--id', id, '--scope', scope, '--out', out];
    const { code, stderr } = await runFleetgate(args);
    expect(code, stderr).toBe(0);
    return out;
  };
  const trusted = {
    issuer: issuerUrl,
    jwks_uri: `${issuerUrl}/.well-known/jwks.json`,
    credentials_file: await create('broker-1', 'fleetgate.revocations'),
  };
  const sets = [
    'admin.port=0',
    'broker.listeners.0.port=0',
    ...Object.entries(trusted).map(([key, value]) => `broker.trusted_issuers.0.${key}=${value}`),
  ];
  const broker = await startFleetgate([
    'broker',
    '--json',
    '--data',
    second.path,
    ...sets.flatMap((set) => ['--set', set]),
  ]);
  const fleet: Fleet = {
    issuer,
    issuerUrl,
    mqtt: broker.ready['mqtt'] as string,
    async restartIssuer() {
      await fleet.issuer.stop();
      const port = `issuer.http.port=${new URL(issuerUrl).port}`;
      fleet.issuer = await startFleetgate(['issuer', ...freePorts(first.path), '--set', port]);
    },
    async register(id, scope) {
      const { auth } = await readCredentialsFile(await create(id, scope));
      const secret = 'client_secret' in auth ? auth.client_secret : '';
      return async () => {
        const response = await requestToken(issuerUrl, id, secret);
        return ((await response.json()) as { access_token: string }).access_token;
      };
    },
  };
  onTestFinished(async () => {
    await broker.stop();
    await fleet.issuer.stop();
    first.remove();
    second.remove();
  });
  return fleet;
}

interface Member {
  readonly client: MqttClient;
  /** Payloads it received of `topic`, in order. */
  received(topic: string): readonly string[];
  /** Times its connection was closed. */
  closed: number;
}

async function enter(mqtt: string, clientId: string, password: string): Promise<Member> {
  const options = { clientId, username: clientId, password, clean: false, reconnectPeriod: 0 };
  const client = await connectAsync(mqtt, options, false);
  onTestFinished(() => void client.end(true));
  const byTopic = new Map<string, string[]>();
  const received = (topic: string) => {
    const payloads = byTopic.get(topic) ?? [];
    byTopic.set(topic, payloads);
    return payloads;
  };
  const member: Member = { client, received, closed: 0 };
  client.on('message', (topic, payload) => void received(topic).push(payload.toString()));
  client.on('close', () => {
    member.closed += 1;
  });
  return member;
}

/** Sends numbered messages by the clock until `isOver`; gives how many. Each was acknowledged then. */
async function load(client: MqttClient, topic: string, isOver: () => boolean): Promise<number> {
  const acknowledged: Promise<unknown>[] = [];
  let lastMs = performance.now();
  let owed = 0;
  while (!isOver()) {
    await sleep(BATCH_MS);
    const nowMs = performance.now();
    owed = Math.min(MAX_BATCH, owed + ((nowMs - lastMs) * MESSAGES_PER_SECOND) / 1000);
    lastMs = nowMs;
    for (; owed >= 1; owed -= 1) {
      acknowledged.push(client.publishAsync(topic, String(acknowledged.length), { qos: 1 }));
    }
  }
  await Promise.all(acknowledged);
  return acknowledged.length;
}

/** Renews again and again, however often a token cannot be had; gives how often that was. */
async function renew(
  { client }: Member,
  fetchToken: () => Promise<string>,
  onRenewal: (count: number) => void,
): Promise<number> {
  let failures = 0;
  for (let count = 1; count <= RENEWALS; ) {
    await sleep(RENEWAL_PAUSE_MS);
    let token: string;
    try {
      token = await fetchToken();
    } catch {
      failures += 1;
      continue;
    }
    await client.publishAsync(tokenTopic, token, { qos: 1 });
    onRenewal(count);
    count += 1;
  }
  return failures;
}

test.each([
  ['', false],
  [', and the issuer restarts meanwhile', true],
])(
  `a device renews ${RENEWALS} times under load both ways: it stays connected and each message comes once%s`,
  async (_how, isRestarted) => {
    const fleet = await startFleet();
    const fetchToken = await fleet.register('device', 'mqtt:publish:up mqtt:subscribe:down');
    const ofPeer = await fleet.register('peer', 'mqtt:publish:down mqtt:subscribe:up');
    const device = await enter(fleet.mqtt, 'device', await fetchToken());
    const peer = await enter(fleet.mqtt, 'peer', await ofPeer());
    await device.client.subscribeAsync({ down: { qos: 1 }, [sessionTopic]: { qos: 0 } });
    await peer.client.subscribeAsync('up', { qos: 1 });

    let isOver = false;
    const startMs = performance.now();
    const sending = [load(device.client, 'up', () => isOver), load(peer.client, 'down', () => isOver)];
    let restarted: Promise<void> | undefined;
    const failures = await renew(device, fetchToken, (count) => {
      if (isRestarted && count === RENEWALS / 2) restarted = fleet.restartIssuer();
    });
    isOver = true;
    const seconds = (performance.now() - startMs) / 1000;
    const [up = 0, down = 0] = await Promise.all(sending);
    await restarted;

    const events = () =>
      device.received(sessionTopic).map((text) => (JSON.parse(text) as { event: string }).event);
    await expect.poll(() => peer.received('up').length, { timeout: 10_000 }).toBeGreaterThanOrEqual(up);
    await expect.poll(() => device.received('down').length, { timeout: 10_000 }).toBeGreaterThanOrEqual(down);
    await expect.poll(() => events().length, { timeout: 10_000 }).toBeGreaterThanOrEqual(RENEWALS + 1);
    process.stdout.write(
      `${RENEWALS} renewals in ${seconds.toFixed(1)} s, ${failures} fetches failed; messages a second: ` +
        `${Math.round(up / seconds)} up, ${Math.round(down / seconds)} down\n`,
    );
    const numbers = (count: number) => Array.from({ length: count }, (_, n) => String(n));
    expect(peer.received('up')).toEqual(numbers(up));
    expect(device.received('down')).toEqual(numbers(down));
    expect(events()).toEqual(['session', ...Array(RENEWALS).fill('renewed')]);
    expect([device.closed, peer.closed]).toEqual([0, 0]);
    expect(failures > 0).toBe(isRestarted);
  },
);
