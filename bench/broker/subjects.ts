import { execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../free-port.ts';
import { end, untilListening } from './listening.ts';
import { isRabbitmqInstalled, startRabbitmq } from './rabbitmq.ts';
import { AUDIENCE, type TokenMaker } from './tokens.ts';
import type { Login } from './wire.ts';

export const subjectNames = ['bare', 'naive', 'fleetgate', 'mosquitto', 'rabbitmq'] as const;
export type SubjectName = (typeof subjectNames)[number];

export interface Subject {
  readonly name: SubjectName;
  readonly port: number;
  login(clientId: string, token: string): Login;
  /** Of the process that serves. */
  readonly pid: number;
  /** Resident memory after a collection, in bytes. */
  memory(): Promise<number>;
  stop(): Promise<void>;
}

/** Starts one broker; `undefined` where it is not installed. */
export async function startSubject(name: SubjectName, tokens: TokenMaker): Promise<Subject | undefined> {
  switch (name) {
    case 'mosquitto':
      return isInstalled('mosquitto', '-h') ? startMosquitto() : undefined;
    case 'rabbitmq':
      return isRabbitmqInstalled() ? startRabbit(tokens) : undefined;
    default:
      return startAedes(name, tokens);
  }
}

async function startAedes(name: SubjectName, { jwks }: TokenMaker): Promise<Subject> {
  const child = fork(join(import.meta.dirname, 'serve.ts'), {
    execArgv: ['--conditions=@fleetgate/source', '--expose-gc'],
  });
  child.send({ start: { subject: name, jwks } });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return {
    name,
    port,
    pid: child.pid as number,
    login: (clientId, token) => ({ clientId, username: clientId, password: token }),
    async memory() {
      child.send({ memory: true });
      const [{ rssBytes }] = (await once(child, 'message')) as [{ rssBytes: number }];
      return rssBytes;
    },
    stop: () => end(child),
  };
}

const PASSWORD = 'bench-password';

async function startMosquitto(): Promise<Subject> {
  const folder = mkdtempSync(join(tmpdir(), 'fleetgate-bench-'));
  const port = await freePort();
  const file = (name: string) => join(folder, name);
  execFileSync('mosquitto_passwd', ['-b', '-c', file('passwords'), 'bench', PASSWORD], { stdio: 'ignore' });
  chmodSync(file('passwords'), 0o600);
  writeFileSync(
    file('acl'),
    'pattern readwrite devices/%c/#\nuser bench\ntopic readwrite devices/bench/state\ntopic readwrite bench/#\n',
    { mode: 0o600 },
  );
  const settings = [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous false',
    `password_file ${file('passwords')}`,
    `acl_file ${file('acl')}`,
    'max_queued_messages 0',
    'set_tcp_nodelay true',
    'user root',
  ];
  writeFileSync(file('mosquitto.conf'), `${settings.join('\n')}\n`);
  const child = spawn('mosquitto', ['-c', file('mosquitto.conf')], { stdio: 'ignore' });
  await untilListening(port, child);
  return {
    name: 'mosquitto',
    port,
    pid: child.pid as number,
    login: (clientId) => ({ clientId, username: 'bench', password: PASSWORD }),
    memory: async () => residentBytes(child.pid as number),
    async stop() {
      await end(child);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** RabbitMQ with its MQTT and OAuth 2 plugins and our key; the token is the password. */
async function startRabbit({ jwks }: TokenMaker): Promise<Subject> {
  const [port, amqp] = [await freePort(), await freePort()];
  const [{ kid, kty, crv, x, y }] = jwks.keys as unknown as [Record<string, string>];
  const members = Object.entries({ kty, crv, x, y, alg: 'ES256' })
    .map(([key, value]) => `<<"${key}">> => <<"${value}">>`)
    .join(', ');
  const node = await startRabbitmq(port, {
    rabbitmqConf: 'log.console = false\nlog.file = false\n',
    enabledPlugins: '[rabbitmq_mqtt,rabbitmq_auth_backend_oauth2].',
    advancedConfig: `[
  {rabbit, [{tcp_listeners, [{"127.0.0.1", ${amqp}}]}, {auth_backends, [rabbit_auth_backend_oauth2]}]},
  {rabbitmq_mqtt, [{tcp_listeners, [{"127.0.0.1", ${port}}]}, {allow_anonymous, false}]},
  {rabbitmq_auth_backend_oauth2, [
    {resource_server_id, <<"${AUDIENCE}">>},
    {key_config, [{default_key, <<"${kid}">>}, {signing_keys, #{<<"${kid}">> => {map, #{${members}}}}}]}
  ]}
].
`,
  });
  return {
    name: 'rabbitmq',
    port,
    pid: node.pid,
    login: (clientId, token) => ({ clientId, username: '', password: token }),
    memory: async () => residentBytes(node.pid),
    stop: node.stop,
  };
}

/** Of one core, over REST_MS: less than this is at rest. */
const REST_SHARE = 0.1;
const REST_MS = 500;
const MAX_REST_WAIT_MS = 60_000;
/** USER_HZ of Linux, see proc(5). */
const TICKS_PER_SECOND = 100;

/**
 * Resolves when the broker has done with what was asked of it before: RabbitMQ clears away 5,000 sessions for
 * longer than a measure of connects lasts.
 */
export async function untilAtRest({ name, pid }: Subject): Promise<void> {
  const endMs = performance.now() + MAX_REST_WAIT_MS;
  const maxTicks = (REST_SHARE * TICKS_PER_SECOND * REST_MS) / 1000;
  for (let before = ticksOf(pid); ; ) {
    await sleep(REST_MS);
    const now = ticksOf(pid);
    if (now - before <= maxTicks) return;
    before = now;
    if (performance.now() > endMs)
      throw new Error(`${name} is still busy after ${MAX_REST_WAIT_MS / 1000} s`);
  }
}

function isInstalled(command: string, flag: string): boolean {
  try {
    execFileSync(command, [flag], { stdio: 'ignore', timeout: 20_000 });
    return true;
  } catch (error) {
    // mosquitto -h ends with 3.
    return (error as NodeJS.ErrnoException).code !== 'ENOENT' && 'status' in (error as object);
  }
}

function residentBytes(pid: number): number {
  const [, kilobytes = '0'] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

/** CPU time of the process so far: utime and stime, behind the command's name in brackets. */
function ticksOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}
