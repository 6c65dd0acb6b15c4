import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Credentials, FleetgateError } from '@fleetgate/shared';
import type { AccessToken } from '../access-token.ts';
import { type Agent, createAgent } from '../agent.ts';
import { bridgeLines } from '../bridge.ts';
import { watchCredentials } from '../credentials-watch.ts';
import { startHealthServer } from '../health.ts';
import { type AgentState, countRequests, formatMetrics } from '../metrics.ts';
import { rereadingTransport } from '../rereading-transport.ts';
import { serviceManager } from '../service-manager.ts';
import { runWithToken } from '../sinks/exec.ts';
import { writeFileAtomically } from '../sinks/file.ts';
import { mosquittoOptionFile } from '../sinks/mosquitto.ts';
import { openSocketSink } from '../sinks/socket.ts';
import { keepTokenFresh } from '../token-renewal.ts';
import { createTokenSource, type TokenSource } from '../token-source.ts';
import { wait } from '../waiting.ts';
import {
  agentOptions,
  cacheOf,
  type DeviceFlags,
  deviceCredentials,
  errorMessage,
  failureText,
  narrate,
  note,
  onSignals,
  tokenFailure,
  UsageError,
  untilSignal,
} from './device.ts';

export interface RunFlags extends DeviceFlags {
  sinkFile?: string;
  sinkSocket?: string;
  sinkExec?: string;
  sinkMosquitto?: string;
  mqtt?: true;
  bridge?: true;
  queue?: string;
  queueDrop?: 'newest' | 'oldest';
  health?: { host: string; port: number };
  once?: true;
}

/** Time between tries of a sink: a full disk is emptied by somebody, or it is not. */
const SINK_RETRY_MS = 5000;

/** Between two looks at what to tell the service manager. */
const STATUS_EVERY_MS = 1000;

/** `fleetgate-agent run`: keeps a token fresh, for sinks, an MQTT session or both, until it is told to stop. */
export async function run(flags: RunFlags): Promise<void> {
  const { sinkFile, sinkSocket, sinkExec, sinkMosquitto, mqtt, health, once } = flags;
  const hasSink = [sinkFile, sinkSocket, sinkExec, sinkMosquitto].some((sink) => sink !== undefined);
  if (!hasSink && mqtt === undefined) {
    throw new UsageError(
      "give --sink-file PATH, --sink-socket PATH, --sink-exec COMMAND, --sink-mosquitto PATH, --mqtt or several; 'fleetgate-agent token' prints one token",
    );
  }
  if (flags.bridge && mqtt === undefined) throw new UsageError('--bridge goes with --mqtt');
  if ((flags.queue ?? flags.queueDrop) !== undefined && flags.bridge === undefined) {
    throw new UsageError('--queue and --queue-drop are for the messages of --mqtt --bridge');
  }
  if (once && ((sinkFile ?? sinkExec ?? sinkMosquitto) === undefined || sinkSocket !== undefined || mqtt)) {
    throw new UsageError(
      '--once serves --sink-file, --sink-mosquitto and --sink-exec once and ends; it does not go with --sink-socket or --mqtt',
    );
  }
  const credentials = await deviceCredentials(flags);
  const files = fileSinks(flags, credentials);
  for (const { option, path } of files) await requireFolder(option, dirname(path));
  using interrupted = untilSignal();
  const inputEnded = new AbortController();
  const signal = AbortSignal.any([interrupted, inputEnded.signal]);
  const cache = cacheOf(credentials, flags);
  const transport = rereadingTransport(credentials, { read: () => deviceCredentials(flags), note });
  const counters = { tokenRequests: 0, tokenFailures: 0, connects: 0 };
  const tokens = createTokenSource(credentials, {
    signal,
    transport: countRequests(transport.request, counters),
    ...(cache && { cache }),
    ...(flags.tracer && { tracer: flags.tracer }),
  });
  if (once) {
    const token = await tokens.get().catch((error: unknown) => {
      throw tokenFailure(error, credentials, flags.credentials);
    });
    for (const { path, textOf } of files) await writeFileAtomically(path, textOf(token.value));
    if (sinkExec !== undefined) {
      await runWithToken(sinkExec, token.value, signal).catch((error: unknown) => {
        throw new FleetgateError('sink_failed', `--sink-exec failed (${errorMessage(error)})`, {
          cause: error,
        });
      });
    }
    return;
  }
  await using socket = sinkSocket === undefined ? undefined : await openSocketSink(sinkSocket);

  const agent =
    mqtt === undefined
      ? undefined
      : createAgent(credentials, {
          ...agentOptions(flags),
          ...(flags.queue === undefined ? {} : { queueFile: flags.queue }),
          ...(flags.queueDrop === undefined ? {} : { whenFull: flags.queueDrop }),
          tokens,
        });
  // What is ready: every output asked for holds a token that is valid now.
  let inUse: AccessToken | undefined;
  const state = () => stateOf(inUse, tokens, agent);
  using _signals = onSignals({
    SIGHUP: async () => {
      if (await transport.reread()) await tokens.refresh();
      else note('the credentials file holds nothing new');
    },
    SIGUSR1: async () => void (await tokens.refresh()),
  });
  using _watch = watchCredentials(flags.credentials, async () => {
    if (await transport.reread()) await tokens.refresh().catch(() => undefined);
  });
  const server =
    health &&
    (await startHealthServer(health, {
      readiness: () => ({ isReady: state().isReady, text: readinessText(state()) }),
      metrics: () => formatMetrics(state(), counters),
    }));
  if (server !== undefined) note(`health at ${server.url}`);
  if (agent !== undefined) {
    narrate(agent, flags.clientId ?? credentials.client_id);
    agent.on('connected', () => {
      counters.connects += 1;
    });
    agent.start();
  }
  using manager = serviceManager({ onProblem: note });
  const tellManager = () => {
    const now = state();
    manager.status(readinessText(now));
    if (now.isReady) manager.ready();
  };
  using _status = every(STATUS_EVERY_MS, tellManager);
  const bridge = agent && flags.bridge && bridgeStandardStreams(agent, signal, () => inputEnded.abort());

  await keepTokenFresh(
    tokens,
    async (token) => {
      socket?.publish(token.value);
      const attempt = (sink: string, act: () => Promise<void>) => untilDone(sink, act, token, signal);
      for (const { path, textOf } of files)
        await attempt(`${path} cannot be written`, () => writeFileAtomically(path, textOf(token.value)));
      if (sinkExec !== undefined)
        await attempt('--sink-exec failed', () => runWithToken(sinkExec, token.value, signal));
      inUse = token;
      tellManager();
      note(`new token, expires in ${token.expiresInSeconds()} s`);
    },
    {
      signal,
      onFailure: (error, retryInMs) => {
        // The agent says the same of the same request.
        if (agent === undefined)
          note(
            `${failureText(tokenFailure(error, credentials, flags.credentials), tokens.failureKind)}; next try in ${Math.ceil(retryInMs / 1000)} s`,
          );
      },
    },
  );
  manager.stopping();
  await agent?.stop();
  await bridge;
  await server?.[Symbol.asyncDispose]();
}

/** Does this now and then, until it is disposed of. */
function every(ms: number, act: () => void): Disposable {
  const timer = setInterval(act, ms);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Until the end of the input, which ends the agent, or `signal`. */
async function bridgeStandardStreams(agent: Agent, signal: AbortSignal, onEnd: () => void): Promise<void> {
  const { stdin, stdout } = process;
  const leave = () => stdin.destroy();
  signal.addEventListener('abort', leave, { once: true });
  // Whoever read it is gone: what would come is for nobody.
  stdout.on('error', leave);
  try {
    await bridgeLines(agent, stdin, (line) => stdout.write(line));
  } catch (error) {
    // Destroyed by us, mostly.
    if (!signal.aborted && !stdin.destroyed) note(`standard input ended: ${errorMessage(error)}`);
  }
  onEnd();
}

function stateOf(inUse: AccessToken | undefined, tokens: TokenSource, agent: Agent | undefined): AgentState {
  const isConnected = agent && agent.phase === 'connected';
  const hasToken = inUse !== undefined && performance.now() < inUse.expiresAtMs;
  return {
    isReady: hasToken && isConnected !== false,
    tokenExpiresInSeconds: inUse?.expiresInSeconds(),
    failureKind: tokens.failureKind,
    isConnected,
  };
}

/** A dead credential is said also while the token from before is good: there is time to act until it expires. */
function readinessText({ isReady, failureKind, tokenExpiresInSeconds, isConnected }: AgentState): string {
  const why =
    failureKind === 'dead'
      ? 'the issuer refuses the credentials'
      : failureKind === 'refused'
        ? 'the issuer refuses a token'
        : undefined;
  if (isReady) return why === undefined ? 'ok' : `ok, but ${why}`;
  const lack = (tokenExpiresInSeconds ?? 0) === 0 ? 'no valid token' : 'no MQTT session';
  return `not ready: ${why ?? (isConnected === undefined ? 'no valid token' : lack)}`;
}

interface FileSink {
  readonly option: string;
  readonly path: string;
  readonly textOf: (token: string) => string;
}

function fileSinks(flags: RunFlags, credentials: Credentials): FileSink[] {
  const { sinkFile, sinkMosquitto, broker, clientId } = flags;
  const sinks: FileSink[] = [];
  if (sinkFile !== undefined) sinks.push({ option: '--sink-file', path: sinkFile, textOf: (token) => token });
  if (sinkMosquitto !== undefined) {
    try {
      const textOf = mosquittoOptionFile({ credentials, brokerUrl: broker, clientId });
      sinks.push({ option: '--sink-mosquitto', path: sinkMosquitto, textOf });
    } catch (error) {
      throw new UsageError(`--sink-mosquitto: ${errorMessage(error)}`);
    }
  }
  return sinks;
}

async function requireFolder(option: string, folder: string): Promise<void> {
  try {
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(`${option}: the folder ${folder} cannot be written to (${code})`);
  }
}

/** Until the next token is due: then that one is what there is to deliver. */
async function untilDone(
  failure: string,
  act: () => Promise<void>,
  token: AccessToken,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted && performance.now() < token.refreshAtMs) {
    try {
      return await act();
    } catch (error) {
      if (signal.aborted) return;
      note(`${failure} (${errorMessage(error)}); next try in ${SINK_RETRY_MS / 1000} s`);
      await wait(SINK_RETRY_MS, signal);
    }
  }
}
