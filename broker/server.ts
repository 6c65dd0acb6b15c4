import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { Aedes } from 'aedes';
import type { Listener, ListenerOptions } from './listeners.ts';
import { openListener, refuseUnsupported } from './listeners.ts';
import type { PluginOptions } from './options.ts';
import { prepareOptions } from './options.ts';
import type { Fleetgate } from './plugin.ts';
import { fleetgate } from './plugin.ts';

export interface BrokerOptions extends PluginOptions {
  readonly listeners: readonly ListenerOptions[];
}

export interface RunningBroker {
  /** Of each protocol the first listener, with its actual port. */
  readonly urls: Readonly<Partial<Record<ListenerOptions['protocol'], string>>>;
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
 * @throws FleetgateError `address_in_use`, `not_supported`; TypeError for a mistake in the options
 */
export async function startBroker(options: BrokerOptions): Promise<RunningBroker> {
  const { listeners: wanted, ...pluginOptions } = options;
  if (!Array.isArray(wanted) || wanted.length === 0) throw new TypeError('there are no listeners');
  for (const one of wanted) refuseUnsupported(one);
  const { limits } = prepareOptions(pluginOptions);
  const auth = fleetgate(pluginOptions);
  const broker = await Aedes.createBroker({ ...auth.hooks });
  auth.attach(broker);

  const listeners: Listener[] = [];
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= closeAll(broker, auth, listeners, limits.drainTimeoutSeconds * 1000);
    return closing;
  };
  try {
    for (const one of wanted) {
      listeners.push(
        await openListener(one, limits, (stream, request) => {
          if (closing === undefined) broker.handle(stream, request);
          else stream.destroy();
        }),
      );
    }
  } catch (error) {
    await close();
    throw error;
  }

  const urls: Partial<Record<ListenerOptions['protocol'], string>> = {};
  for (const { protocol, url } of listeners) urls[protocol] ??= url;
  const problems = () => (closing === undefined ? auth.problems() : ['the broker is closing']);
  return Object.freeze({ urls: Object.freeze(urls), problems, close });
}

async function closeAll(
  broker: Aedes,
  auth: Fleetgate,
  listeners: readonly Listener[],
  drainTimeoutMs: number,
): Promise<void> {
  const stopped = Promise.all(listeners.map((listener) => listener.close()));
  await drain(auth, Math.min(drainTimeoutMs, MAX_DRAIN_MS));
  await Promise.race([new Promise<void>((resolve) => broker.close(resolve)), sleepUnheld(MAX_CLOSE_MS)]);
  // Those without a session, and any the broker has lost sight of.
  for (const { stream } of auth.connections) stream.destroy();
  await Promise.race([stopped, sleepUnheld(MAX_CLOSE_MS / 2)]);
  auth.close();
}

/** Reads no more, and waits until what was read is handled and what was written is sent. */
async function drain(auth: Fleetgate, timeoutMs: number): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  for (const { client } of auth.connections) client?.pause();
  await nextTurn();
  await nextTurn();
  const isSending = () => [...auth.connections].some(({ stream }) => stream.writableLength > 0);
  while (isSending() && performance.now() < endMs) await sleep(DRAIN_POLL_MS);
}

function sleepUnheld(delayMs: number): Promise<void> {
  return sleep(delayMs, undefined, { ref: false });
}
