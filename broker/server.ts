import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { Aedes, type AedesOptions } from 'aedes';
import { createGate } from './admission.ts';
import type { Attempt } from './authorization/decide.ts';
import type { Policy } from './authorization/policy.ts';
import { type Cluster, createCluster } from './cluster/cluster.ts';
import { type ClusterOptions, prepareCluster } from './cluster/options.ts';
import { connectChecks } from './connect.ts';
import { guards, guardsOfCluster } from './guard/guards.ts';
import type { Listener, ListenerContext, ListenerOptions } from './listener/listener.ts';
import { checkListener, openListener } from './listener/listener.ts';
import type { LiveSession } from './live-sessions.ts';
import type { PluginOptions } from './options.ts';
import { prepareOptions } from './options.ts';
import type { Fleetgate } from './plugin.ts';
import { createPlugin } from './plugin.ts';
import type { Protocol } from './protocol.ts';
import { createReports } from './reports.ts';
import { createSessions } from './session.ts';
import type { TokenExplanation } from './token-explanation.ts';

export interface BrokerOptions extends PluginOptions {
  readonly listeners: readonly ListenerOptions[];
  /** The Redis that this broker shares with others; default: none, and sessions end with the process. */
  readonly cluster?: ClusterOptions;
}

export interface RunningBroker {
  /** Of each protocol the first listener, with its actual port. */
  readonly urls: Readonly<Partial<Record<Protocol, string>>>;
  /** Puts another policy in force, for live sessions in place. Resolves when each of them follows it. */
  setPolicy(policy: Policy | undefined): Promise<void>;
  /**
   * Reads the certificates of all TLS listeners again, for connections from then on; those that are open stay. When
   * a file is not good, every listener keeps what it had.
   * @throws FleetgateError `tls_file_invalid`
   */
  reloadCertificates(): Promise<void>;
  /** Its sessions, or those of one client. Each call walks them. */
  sessions(clientId?: string): Generator<LiveSession>;
  /** What is decided of an attempt of whoever holds that token, which is verified as at a CONNECT first. */
  explainToken(token: string, attempt: Attempt): Promise<TokenExplanation>;
  /** Why it should get no new connections; empty when it is ready. */
  problems(): string[];
  /**
   * Accepts nothing more, sends what is on its way, for `limits.drainTimeoutSeconds` at most, and closes every
   * connection; within 10 s whatever happens. Wills are published as after any loss of connection.
   */
  close(): Promise<void>;
}

/** Of the 10 s `close` may take, what is left for closing after the drain. */
const MAX_DRAIN_MS = 7_000;
const MAX_CLOSE_MS = 2_000;
const DRAIN_POLL_MS = 10;

/**
 * A broker of its own: Aedes with the plugin in front, on the given listeners.
 * @throws FleetgateError `address_in_use`, `tls_file_invalid`, `not_supported`; TypeError for a mistake in the options
 */
export async function startBroker(options: BrokerOptions): Promise<RunningBroker> {
  const { listeners: wanted, cluster: clusterOptions, ...pluginOptions } = options;
  if (!Array.isArray(wanted) || wanted.length === 0) throw new TypeError('there are no listeners');
  for (const one of wanted) checkListener(one);
  const settings = prepareOptions(pluginOptions);
  const { limits, log } = settings;
  const cluster =
    clusterOptions === undefined ? undefined : createCluster(prepareCluster(clusterOptions), settings);
  const auth =
    cluster === undefined
      ? createPlugin(settings, { guards, connectChecks })
      : createPlugin(settings, { guards: guardsOfCluster(cluster.guard), connectChecks, cluster });
  const broker = await Aedes.createBroker({ ...auth.hooks, ...(cluster?.host as AedesOptions | undefined) });
  auth.attach(broker);
  await cluster?.start();

  const listeners: Listener[] = [];
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= closeAll(broker, auth, cluster, listeners, limits.drainTimeoutSeconds * 1000);
    return closing;
  };
  const context: ListenerContext = {
    limits,
    gate: createGate(limits),
    // Of those that have not come to the plugin yet, told to the same.
    report: createReports(settings, createSessions()).refused,
    log,
    take(stream, request) {
      if (closing === undefined) broker.handle(stream, request);
      else stream.destroy();
    },
  };
  try {
    for (const one of wanted) listeners.push(await openListener(one, context));
  } catch (error) {
    await close();
    throw error;
  }

  const urls: Partial<Record<Protocol, string>> = {};
  for (const { protocol, url } of listeners) urls[protocol] ??= url;
  let reloading: Promise<void> = Promise.resolve();
  const reloadCertificates = () => {
    // One after the other, so that what was read last is what stays.
    reloading = reloading.catch(() => {}).then(() => reloadAll(listeners));
    return reloading;
  };
  const problems = () =>
    closing === undefined ? [...auth.problems(), ...(cluster?.problems() ?? [])] : ['the broker is closing'];
  return Object.freeze({
    urls: Object.freeze(urls),
    setPolicy: auth.setPolicy,
    sessions: auth.sessions,
    explainToken: auth.explainToken,
    problems,
    reloadCertificates,
    close,
  });
}

async function reloadAll(listeners: readonly Listener[]): Promise<void> {
  const uses = await Promise.all(listeners.map((listener) => listener.reloadCertificates()));
  for (const use of uses) use();
}

async function closeAll(
  broker: Aedes,
  auth: Fleetgate,
  cluster: Cluster | undefined,
  listeners: readonly Listener[],
  drainTimeoutMs: number,
): Promise<void> {
  const stopped = Promise.all(listeners.map((listener) => listener.close()));
  await drain(broker, auth, Math.min(drainTimeoutMs, MAX_DRAIN_MS));
  await Promise.race([new Promise<void>((resolve) => broker.close(resolve)), sleepUnheld(MAX_CLOSE_MS)]);
  // Those without a session, and any the broker has lost sight of.
  for (const { stream } of auth.connections) stream.destroy();
  await Promise.race([stopped, sleepUnheld(MAX_CLOSE_MS / 2)]);
  await cluster?.close();
  auth.close();
}

/** What Aedes' own emitter (mqemitter 7) says of itself, and Aedes' types do not. */
interface Emitter {
  /** Messages being delivered. */
  readonly current: number;
  /** Messages behind them. */
  readonly length: number;
}

/** Reads no more, and waits until what was read is handled and what was written is sent. */
async function drain(broker: Aedes, auth: Fleetgate, timeoutMs: number): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  for (const { client } of auth.connections) client?.pause();
  await nextTurn();
  await nextTurn();
  // The host acknowledges a message before it has gone to everyone: a hundred at a time, the others wait.
  const { mq } = broker as Aedes & { readonly mq: Emitter };
  const isDelivering = () => mq.current > 0 || mq.length > 0;
  const isSending = () => [...auth.connections].some(({ stream }) => stream.writableLength > 0);
  while ((isDelivering() || isSending()) && performance.now() < endMs) await sleep(DRAIN_POLL_MS);
}

function sleepUnheld(delayMs: number): Promise<void> {
  return sleep(delayMs, undefined, { ref: false });
}
