import { type Credentials, FleetgateError, OAuthError } from '@fleetgate/shared';
import type { Agent, AgentOptions } from '../agent.ts';
import { type FailureKind, tokenFailureKind } from '../refresh-policy.ts';
import { readCredentialsFile } from '../store.ts';
import { openTokenCache, type TokenCache } from '../token-cache.ts';
import type { AgentTracer } from '../tracer.ts';

/** Options every command has: who the device is, and where it goes. */
export interface DeviceFlags {
  credentials: string;
  tokenEndpoint?: string;
  broker?: string;
  clientId?: string;
  tokenCache?: string;
  /** No option: set where the environment asks for traces. */
  tracer?: AgentTracer;
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

/** The token as --token-cache keeps it, where that names a file. */
export function cacheOf(credentials: Credentials, { tokenCache }: DeviceFlags): TokenCache | undefined {
  return tokenCache === undefined ? undefined : openTokenCache(tokenCache, credentials, { onProblem: note });
}

export function agentOptions(flags: DeviceFlags): AgentOptions {
  return {
    ...(flags.broker === undefined ? {} : { brokerUrl: flags.broker }),
    ...(flags.clientId === undefined ? {} : { clientId: flags.clientId }),
    ...(flags.tracer === undefined ? {} : { tracer: flags.tracer }),
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

/** Does what each signal is for, until it is disposed of. */
export function onSignals(acts: Partial<Record<NodeJS.Signals, () => Promise<void>>>): Disposable {
  const listeners = Object.entries(acts).map(
    ([name, act]) =>
      [
        name as NodeJS.Signals,
        () => void act().catch((error: unknown) => note(`no new token: ${errorMessage(error)}`)),
      ] as const,
  );
  for (const [name, listener] of listeners) process.on(name, listener);
  return {
    [Symbol.dispose]() {
      for (const [name, listener] of listeners) process.off(name, listener);
    },
  };
}

/** A session closed sooner than this was not ended by a token's age or an idle network. */
const BRIEF_MS = 5000;

/** Brief sessions in a row that tell of another connection with the same client id: each ends the other's. */
const MANY_BRIEF_SESSIONS = 3;

/** Notes what happens to the session. */
export function narrate(agent: Agent, clientId: string): void {
  let connectedAtMs = 0;
  let briefSessions = 0;
  const seconds = (ms: number) => `${Math.ceil(ms / 1000)} s`;
  agent.on('connected', () => {
    connectedAtMs = performance.now();
    note('connected');
  });
  agent.on('renewed', () => note('reconnected with a new token'));
  agent.on('disconnected', ({ reason, retryInMs }) => {
    if (retryInMs === undefined) return;
    note(`disconnected (${reason}); next try in ${seconds(retryInMs)}`);
    briefSessions = performance.now() - connectedAtMs < BRIEF_MS ? briefSessions + 1 : 0;
    if (briefSessions === MANY_BRIEF_SESSIONS) note(`perhaps another client is connected as ${clientId}`);
  });
  agent.on('unreachable', ({ reason, retryInMs }) =>
    note(`the broker cannot be reached (${reason}); next try in ${seconds(retryInMs)}`),
  );
  agent.on('refused', ({ returnCode, retryInMs }) =>
    note(`${refusal(returnCode)}; next try in ${seconds(retryInMs)}`),
  );
  agent.on('token_failed', ({ error, kind, retryInMs }) =>
    note(`${failureText(error, kind)}; next try in ${seconds(retryInMs)}`),
  );
  agent.on('queue_problem', ({ problem }) => note(problem));
  agent.on('subscription_lost', ({ filter }) => note(`the broker no longer grants '${filter}'`));
}

/** Rejects when only a change of credentials, registration or policy would help: a command must not wait for that. */
export function permanentRefusal(agent: Agent, credentials: Credentials, file: string): Promise<never> {
  return new Promise((_resolve, reject) => {
    agent.on('refused', ({ returnCode, isPermanent }) => {
      if (isPermanent) reject(new FleetgateError('broker_refused', refusal(returnCode)));
    });
    agent.on('token_failed', ({ error }) => {
      if (tokenFailureKind(error) !== 'transient') reject(tokenFailure(error, credentials, file));
    });
    agent.on('stopped', ({ error }) => {
      if (error !== undefined) reject(error);
    });
  });
}

/** Why no token came, with what to look at: the issuer's own words name neither the client nor the file. */
export function tokenFailure(error: unknown, { client_id, issuer }: Credentials, file: string): unknown {
  if (error instanceof OAuthError && error.code === 'invalid_client') {
    return new OAuthError(
      error.code,
      `${issuer} does not accept client '${client_id}' by what ${file} holds: ${error.message}`,
    );
  }
  if (error instanceof FleetgateError && error.code === 'token_request_failed') {
    return new FleetgateError(error.code, `${error.message}; is an issuer running there? ${file} names it`);
  }
  return error;
}

/** Why there is no new token, and whether waiting helps. */
export function failureText(error: unknown, kind: FailureKind | undefined): string {
  const advice = kind === 'dead' ? '; the credentials are dead, replace them in their file' : '';
  return `no new token: ${errorMessage(error)}${advice}`;
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
