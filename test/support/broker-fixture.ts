import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Aedes, type AedesOptions } from 'aedes';
import { connect as connectMqtt, type IClientOptions, type MqttClient } from 'mqtt';
import type { IConnectPacket, IPublishPacket, ISubackPacket } from 'mqtt-packet';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { createGate } from '../../broker/admission.ts';
import { createCluster } from '../../broker/cluster/cluster.ts';
import { type ClusterOptions, prepareCluster } from '../../broker/cluster/options.ts';
import { connectChecks } from '../../broker/connect.ts';
import { guards, guardsOfCluster } from '../../broker/guard/guards.ts';
import { type ListenerOptions, openListener } from '../../broker/listener/listener.ts';
import type { PluginOptions } from '../../broker/options.ts';
import { prepareOptions } from '../../broker/options.ts';
import type { Fleetgate } from '../../broker/plugin.ts';
import { createPlugin } from '../../broker/plugin.ts';
import type { Protocol } from '../../broker/protocol.ts';
import { createReport, type Refusal } from '../../broker/refusal.ts';
import type { TrustedIssuer } from '../../broker/trusted-issuer.ts';
import {
  connackOf,
  connectPacket,
  type RawClient,
  type RawClientOptions,
  rawClient,
} from './broker-raw-client.ts';
import { type TestIssuer, type TokenOverrides, testIssuer } from './broker-tokens.ts';
import { type TestTls, testTls } from './certificates.ts';

/** The name of one guard or check to leave out: the tests named for it must fail then. */
const leftOut = process.env['FLEETGATE_TEST_WITHOUT'];

export interface TestBroker {
  readonly aedes: Aedes;
  readonly auth: Fleetgate;
  readonly issuer: TestIssuer;
  readonly mqtt: string;
  readonly ws: string;
  /** Of the protocol asked for; by default `mqtt`. */
  readonly url: string;
  readonly tls: TestTls | undefined;
  readonly refusals: readonly Refusal[];
  /** Log lines as one text. */
  log(): string;
  /** A token that allows `clientId` all under `devices/<clientId>`. */
  token(clientId: string, overrides?: TokenOverrides): string;
  raw(options?: RawClientOptions): Promise<RawClient>;
  /** A raw client whose CONNECT was accepted. */
  session(clientId: string, connect?: Partial<IConnectPacket>, token?: string): Promise<RawClient>;
  connack(
    clientId: string,
    token: string | undefined,
    connect?: Partial<IConnectPacket>,
  ): Promise<number | 'closed'>;
  mqttClient(clientId: string, options?: IClientOptions & { token?: string }): MqttClient;
  /** The first refusal that fits, also one that is still to come. */
  refusal(part: Partial<Refusal>): Promise<Refusal>;
  /** Fails unless another client can connect, subscribe, publish and receive. */
  servesOthers(): Promise<void>;
}

export interface TestBrokerOptions extends Partial<PluginOptions> {
  aedes?: AedesOptions;
  /** What `raw` and those built on it, and `mqttClient`, connect by. Default `mqtt`; `mqtt` and `ws` are there always. */
  protocol?: Protocol;
  /** The Redis it shares with others; default: that of the project, by itself, or none. */
  cluster?: ClusterOptions;
  /** Of its tokens; default: a new one. */
  issuer?: TestIssuer;
  /** More of the listener of that protocol. */
  listener?: Partial<ListenerOptions>;
  /** Trusted beside the issuer of the tokens that the fixture makes. */
  otherIssuers?: readonly TestIssuer[];
  /** The same, of issuers whose keys are elsewhere. */
  remoteIssuers?: readonly TrustedIssuer[];
}

export const ownScope = (clientId: string) => [
  `mqtt:publish:devices/${clientId}/#`,
  `mqtt:subscribe:devices/${clientId}/#`,
];

/** A broker of Aedes with the plugin on real sockets; it is gone when the test is over. */
export async function startTestBroker({
  aedes: aedesOptions,
  protocol = 'mqtt',
  listener = {},
  otherIssuers = [],
  remoteIssuers = [],
  issuer = testIssuer(),
  cluster: clusterOptions = clusterOfProject(),
  ...options
}: TestBrokerOptions = {}): Promise<TestBroker> {
  const refusals: Refusal[] = [];
  const seen = new EventEmitter();
  const lines: string[] = [];
  const note = (line: unknown, ...rest: unknown[]) => void lines.push(JSON.stringify([line, ...rest]));
  const settings = prepareOptions({
    issuers: [
      ...[issuer, ...otherIssuers].map(({ name, jwks }) => ({ issuer: name, keys: { jwks } })),
      ...remoteIssuers,
    ],
    log: { debug: note, info: note, warn: note, error: note },
    onRefusal(refusal) {
      refusals.push(refusal);
      seen.emit('refusal');
    },
    ...options,
  });
  const isLeftIn = ({ name }: { name: string }) => name !== leftOut;
  const cluster = clusterOptions && createCluster(prepareCluster(clusterOptions), settings);
  const auth = createPlugin(settings, {
    guards: (cluster === undefined ? guards : guardsOfCluster(cluster.guard)).filter(isLeftIn),
    connectChecks: connectChecks.filter(isLeftIn),
    ...(cluster === undefined ? {} : { cluster }),
  });
  const hosted = cluster?.host as AedesOptions | undefined;
  const aedes = await Aedes.createBroker({ ...auth.hooks, ...hosted, ...aedesOptions });
  auth.attach(aedes);
  await cluster?.start();
  const tls = protocol === 'mqtts' || protocol === 'wss' ? await testTls() : undefined;
  const files = tls && { tls: { certFile: tls.certFile, keyFile: tls.keyFile, ...listener.tls } };
  const { limits, log, onRefusal } = settings;
  const context = {
    limits,
    gate: createGate(limits),
    report: createReport(log, onRefusal),
    log,
    take: (stream: Duplex, request?: IncomingMessage) => void aedes.handle(stream, request),
  };
  const listeners = await Promise.all(
    (['mqtt', 'ws', protocol] as const).map((name, index) =>
      openListener(
        { protocol: name, host: '127.0.0.1', port: 0, ...(index === 2 ? { ...listener, ...files } : {}) },
        context,
      ),
    ),
  );
  const [mqtt = '', ws = '', url = ''] = listeners.map((one) => one.url);
  const clients: MqttClient[] = [];
  const raws: RawClient[] = [];

  onTestFinished(async () => {
    for (const client of clients) client.end(true);
    for (const raw of raws) raw.stream.destroy();
    for (const { stream } of auth.connections) stream.destroy();
    await Promise.all(listeners.map((listener) => listener.close()));
    await new Promise<void>((resolve) => aedes.close(resolve));
    await cluster?.close();
    auth.close();
  });

  const token = (clientId: string, overrides: TokenOverrides = {}) =>
    issuer.token({ clientId, scope: ownScope(clientId), ...overrides });
  const raw = async (rawOptions: RawClientOptions = {}) => {
    const ca = tls && { ca: tls.authority.cert };
    const client = await rawClient(url, { ...rawOptions, tls: { ...ca, ...rawOptions.tls } });
    raws.push(client);
    return client;
  };
  const connack: TestBroker['connack'] = async (clientId, ofToken, connect) => {
    const client = await raw();
    return connackOf(client, connectPacket(clientId, ofToken, connect));
  };
  const session: TestBroker['session'] = async (clientId, connect, ofToken = token(clientId)) => {
    const client = await raw();
    expect(await connackOf(client, connectPacket(clientId, ofToken, connect))).toBe(0);
    return client;
  };

  return {
    aedes,
    auth,
    issuer,
    mqtt,
    ws,
    url,
    tls,
    refusals,
    log: () => lines.join('\n'),
    token,
    raw,
    session,
    connack,
    mqttClient(clientId, { token: ofToken = token(clientId), ...more } = {}) {
      const client = connectMqtt(url, {
        ...(tls && { ca: tls.authority.cert }),
        clientId,
        username: clientId,
        password: ofToken,
        reconnectPeriod: 0,
        ...more,
      });
      client.on('error', () => {});
      clients.push(client);
      return client;
    },
    async refusal(part) {
      const fits = (refusal: Refusal) =>
        Object.entries(part).every(([key, value]) => refusal[key as keyof Refusal] === value);
      for (;;) {
        const found = refusals.find(fits);
        if (found !== undefined) return found;
        await new Promise((resolve) => seen.once('refusal', resolve));
      }
    },
    async servesOthers() {
      let bystander = await raw();
      for (;;) {
        const code = await connackOf(bystander, connectPacket('bystander', token('bystander')));
        if (code === 0) break;
        // An address with fifty failures in a second is slowed for that second.
        expect(code).toBe(3);
        await sleep(100);
        bystander = await raw();
      }
      const topic = 'devices/bystander/echo';
      expect(await subscribe(bystander, [topic])).toEqual([1]);
      bystander.send({
        cmd: 'publish',
        topic,
        payload: 'served',
        qos: 1,
        messageId: 2,
        retain: false,
        dup: false,
      });
      const echoed = (await bystander.next('publish')) as IPublishPacket;
      expect(echoed.payload.toString()).toBe('served');
      await bystander.end();
    },
  };
}

/** A test of what the host's own persistence does; where sessions are in Redis there is none. */
export function testOfMemory(name: string, run: () => Promise<void>): void {
  if (inject('redis') === undefined) test(name, run);
}

export function describeOfMemory(name: string, run: () => void): void {
  if (inject('redis') === undefined) describe(name, run);
}

export const attackOfMemory: typeof attack = (name, options, run) => {
  if (inject('redis') === undefined) attack(name, options, run);
};

/** Of the vitest project `redis`, where each broker has a Redis to itself. */
function clusterOfProject(): ClusterOptions | undefined {
  const redis = inject('redis');
  return redis === undefined ? undefined : { redis, prefix: randomUUID() };
}

/** A test of an attack: whatever it did, the broker serves others afterwards. */
export function attack(
  name: string,
  options: TestBrokerOptions,
  run: (broker: TestBroker) => Promise<void>,
): void {
  test(name, async () => {
    const broker = await startTestBroker(options);
    await run(broker);
    await broker.servesOthers();
  });
}

let lastMessageId = 0;

export function messageId(): number {
  lastMessageId = (lastMessageId % 65_000) + 1;
  return lastMessageId;
}

/** Subscribes at QoS 1 and gives the return codes. */
export async function subscribe(
  client: RawClient,
  filters: readonly string[],
  qos: 0 | 1 | 2 = 1,
): Promise<number[]> {
  const subscriptions = filters.map((topic) => ({ topic, qos }));
  client.send({ cmd: 'subscribe', messageId: messageId(), subscriptions });
  return ((await client.next('suback')) as ISubackPacket).granted as number[];
}

export function publishPacket(
  topic: string,
  payload: string | Buffer,
  more: Partial<IPublishPacket> = {},
): IPublishPacket {
  const qos = more.qos ?? 0;
  return {
    cmd: 'publish',
    topic,
    payload,
    qos,
    retain: false,
    dup: false,
    ...(qos === 0 ? {} : { messageId: messageId() }),
    ...more,
  };
}

/** Waits until `condition` holds, by looking again; for what the host tells nobody. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(5);
}

export const payloads = (packets: readonly { cmd?: string }[]) =>
  packets
    .filter((packet): packet is IPublishPacket => packet.cmd === 'publish')
    .map(({ payload }) => payload.toString());
