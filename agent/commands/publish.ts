import { createReadStream } from 'node:fs';
import { FleetgateError } from '@fleetgate/shared';
import { createAgent } from '../agent.ts';
import type { QoS } from '../connection.ts';
import { unlessAborted } from '../waiting.ts';
import {
  agentOptions,
  cacheOf,
  type DeviceFlags,
  deviceCredentials,
  note,
  permanentRefusal,
  UsageError,
  untilSignal,
} from './device.ts';

export interface PublishFlags extends DeviceFlags {
  message?: string;
  file?: string;
  qos: QoS;
  retain?: true;
  timeoutSeconds: number;
}

/** Bytes of one payload; the agent's queue has no more. */
const MAX_PAYLOAD_BYTES = 8_000_000;

/** `fleetgate-agent publish`: one message, from the option, a file or standard input. */
export async function publish(topic: string, flags: PublishFlags): Promise<void> {
  if (flags.message !== undefined && flags.file !== undefined) {
    throw new UsageError('give the message with --message or with --file, not both');
  }
  const credentials = await deviceCredentials(flags);
  const payload = flags.message ?? (await readPayload(flags.file));
  const tokenCache = cacheOf(credentials, flags);
  const agent = createAgent(credentials, {
    ...agentOptions(flags),
    ...(tokenCache && { tokenCache }),
    clean: true,
  });
  using interrupted = untilSignal();
  const ending = AbortSignal.any([interrupted, AbortSignal.timeout(flags.timeoutSeconds * 1000)]);
  let last = 'it did not answer';
  agent.on('unreachable', ({ reason }) => {
    last = reason;
  });
  agent.on('refused', ({ returnCode }) => {
    last = `it refused the connection with ${returnCode}`;
  });
  agent.on('token_failed', ({ error }) => {
    last = error instanceof Error ? error.message : last;
  });
  let isDone = false;
  try {
    const published = agent.publish(topic, payload, { qos: flags.qos, retain: flags.retain ?? false });
    const delivered = published.then(() => {
      isDone = true;
    });
    await unlessAborted(
      Promise.race([delivered, permanentRefusal(agent, credentials, flags.credentials)]),
      ending,
    );
  } finally {
    await agent.stop();
  }
  if (isDone) return;
  const why = interrupted.aborted ? ': interrupted' : ` within ${flags.timeoutSeconds} s: ${last}`;
  throw new FleetgateError('broker_unreachable', `the message was not delivered${why}`);
}

async function readPayload(given: string | undefined): Promise<Buffer> {
  const file = given ?? '-';
  if (file === '-' && process.stdin.isTTY) {
    throw new UsageError('give the message with --message or --file, or on standard input');
  }
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of file === '-' ? process.stdin : createReadStream(file)) {
      bytes += chunk.length;
      if (bytes > MAX_PAYLOAD_BYTES) {
        throw new UsageError(`the message has more than ${MAX_PAYLOAD_BYTES} bytes`);
      }
      chunks.push(chunk as Buffer);
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  if (bytes === 0 && given === undefined) note('standard input was empty; the message has no bytes');
  return Buffer.concat(chunks);
}
