import { FleetgateError } from '@fleetgate/shared';
import { createAgent } from '../agent.ts';
import { messageLine } from '../bridge.ts';
import type { IncomingMessage, QoS } from '../connection.ts';
import { unlessAborted } from '../waiting.ts';
import {
  agentOptions,
  cacheOf,
  type DeviceFlags,
  deviceCredentials,
  narrate,
  permanentRefusal,
  untilSignal,
} from './device.ts';

export interface SubscribeFlags extends DeviceFlags {
  qos: QoS;
  count?: number;
  timeoutSeconds?: number;
  format: 'text' | 'json';
}

/**
 * `fleetgate-agent subscribe`: prints messages until `count` have come, the time is over, or it is told to stop.
 * @throws FleetgateError `broker_refused` for a filter outside the grants, `broker_unreachable` when the time was
 * over before `count` messages had come
 */
export async function subscribe(filters: readonly string[], flags: SubscribeFlags): Promise<void> {
  const credentials = await deviceCredentials(flags);
  const tokenCache = cacheOf(credentials, flags);
  const agent = createAgent(credentials, {
    ...agentOptions(flags),
    ...(tokenCache && { tokenCache }),
    clean: true,
  });
  using interrupted = untilSignal();
  const enough = new AbortController();
  const endings = [interrupted, enough.signal];
  if (flags.timeoutSeconds !== undefined) endings.push(AbortSignal.timeout(flags.timeoutSeconds * 1000));
  const ending = AbortSignal.any(endings);
  narrate(agent, flags.clientId ?? credentials.client_id);
  let left = flags.count ?? Number.POSITIVE_INFINITY;
  let printed: IncomingMessage | undefined;
  const print = (message: IncomingMessage) => {
    // A message that several filters match is printed once for each time it came.
    if (left <= 0 || message === printed) return;
    printed = message;
    left -= 1;
    process.stdout.write(formatMessage(message, flags.format));
    if (left === 0) enough.abort();
  };
  try {
    const forever = new Promise<void>(() => undefined);
    const granted = filters.map((filter) => agent.subscribe(filter, { qos: flags.qos }, print));
    const subscribed = Promise.all(granted).then(() => forever);
    await unlessAborted(
      Promise.race([subscribed, permanentRefusal(agent, credentials, flags.credentials)]),
      ending,
    );
  } finally {
    await agent.stop();
  }
  if (!interrupted.aborted && flags.count !== undefined && left > 0) {
    throw new FleetgateError(
      'broker_unreachable',
      `${flags.count - left} of ${flags.count} messages came within ${flags.timeoutSeconds} s`,
    );
  }
}

/** One line: topic and payload, or JSON with the payload as text where it is UTF-8, else in base64. */
function formatMessage(message: IncomingMessage, format: 'text' | 'json'): string {
  if (format === 'text') return `${message.topic} ${printable(message.payload)}\n`;
  return `${JSON.stringify(messageLine(message))}\n`;
}

// On a terminal a payload must not move the cursor or more.
function printable(payload: Buffer): string {
  const text = payload.toString('utf8');
  return process.stdout.isTTY ? text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '?') : text;
}
