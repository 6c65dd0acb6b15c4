import { type Credentials, FleetgateError } from '@fleetgate/shared';
import type { Agent, AgentOptions } from '../agent.ts';
import { tokenFailureKind } from '../refresh-policy.ts';
import { readCredentialsFile } from '../store.ts';

/** Options every command has: who the device is, and where it goes. */
export interface DeviceFlags {
  credentials: string;
  tokenEndpoint?: string;
  broker?: string;
  clientId?: string;
}

/** A mistake in the command line that its parser cannot see; exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The credentials of the file, with what the command line sets over them. */
export async function deviceCredentials(flags: DeviceFlags): Promise<Credentials> {
  const credentials = await readCredentialsFile(flags.credentials);
  if (flags.tokenEndpoint === undefined) return credentials;
  if (URL.parse(flags.tokenEndpoint) === null) throw new UsageError('--token-endpoint must be a URL');
  return { ...credentials, token_endpoint: flags.tokenEndpoint };
}

export function agentOptions(flags: DeviceFlags): AgentOptions {
  return {
    ...(flags.broker === undefined ? {} : { brokerUrl: flags.broker }),
    ...(flags.clientId === undefined ? {} : { clientId: flags.clientId }),
  };
}

/** One line on stderr; stdout is for data. */
export function note(text: string): void {
  process.stderr.write(`fleetgate-agent: ${text}\n`);
}

/** Aborted by SIGTERM and SIGINT. */
export function untilSignal(): AbortSignal & Disposable {
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  process.on('SIGTERM', stop).on('SIGINT', stop);
  return Object.assign(stopping.signal, {
    [Symbol.dispose]() {
      process.off('SIGTERM', stop).off('SIGINT', stop);
    },
  });
}

/** Notes what happens to the session. */
export function narrate(agent: Agent): void {
  const seconds = (ms: number) => `${Math.ceil(ms / 1000)} s`;
  agent.on('connected', () => note('connected'));
  agent.on('renewed', () => note('reconnected with a new token'));
  agent.on('disconnected', ({ reason, retryInMs }) => {
    if (retryInMs !== undefined) note(`disconnected (${reason}); next try in ${seconds(retryInMs)}`);
  });
  agent.on('unreachable', ({ reason, retryInMs }) =>
    note(`the broker cannot be reached (${reason}); next try in ${seconds(retryInMs)}`),
  );
  agent.on('refused', ({ returnCode, retryInMs }) =>
    note(`${refusal(returnCode)}; next try in ${seconds(retryInMs)}`),
  );
  agent.on('token_failed', ({ error, retryInMs }) =>
    note(`no new token: ${errorMessage(error)}; next try in ${seconds(retryInMs)}`),
  );
  agent.on('subscription_lost', ({ filter }) => note(`the broker no longer grants '${filter}'`));
}

/** Rejects when only a change of credentials, registration or policy would help: a command must not wait for that. */
export function permanentRefusal(agent: Agent): Promise<never> {
  return new Promise((_resolve, reject) => {
    agent.on('refused', ({ returnCode, isPermanent }) => {
      if (isPermanent) reject(new FleetgateError('broker_refused', refusal(returnCode)));
    });
    agent.on('token_failed', ({ error }) => {
      if (tokenFailureKind(error) === 'refused') reject(error);
    });
    agent.on('stopped', ({ error }) => {
      if (error !== undefined) reject(error);
    });
  });
}

export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown reason';
}

function refusal(returnCode: number): string {
  const meanings = new Map([
    [1, 'it does not speak MQTT 3.1.1'],
    [
      2,
      'client id; it must be the client_id of the credentials, or begin with it where the broker allows that',
    ],
    [3, 'come back later'],
    [4, 'the token'],
    [5, 'this client is not allowed'],
  ]);
  return `the broker refused the connection with ${returnCode} (${meanings.get(returnCode) ?? 'unknown'})`;
}
