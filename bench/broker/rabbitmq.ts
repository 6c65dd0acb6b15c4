import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../free-port.ts';
import { end, untilListening } from './listening.ts';

/** Debian's; the one on PATH changes to a user of its own, who may not read our folder. */
const RABBITMQ_SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server';

export const isRabbitmqInstalled = () => existsSync(RABBITMQ_SERVER);

export interface RabbitmqFiles {
  readonly rabbitmqConf: string;
  readonly enabledPlugins: string;
  readonly advancedConfig?: string;
}

export interface RunningRabbitmq {
  /** Of the node. */
  readonly pid: number;
  stop(): Promise<void>;
}

/**
 * A node of its own, with all it writes in a temporary folder and its names in a port mapper of its own; resolves when
 * `port` accepts.
 */
export async function startRabbitmq(port: number, files: RabbitmqFiles): Promise<RunningRabbitmq> {
  const folder = mkdtempSync(join(tmpdir(), 'fleetgate-rabbitmq-'));
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const epmdPort = await freePort();
  // Started here, since one that the node starts would stay when the node ends.
  const epmd = spawn('epmd', ['-port', String(epmdPort), '-address', '127.0.0.1'], { stdio: 'ignore' });
  const node = spawn(RABBITMQ_SERVER, [], {
    stdio: 'ignore',
    detached: true,
    env: {
      ...process.env,
      HOME: folder,
      RABBITMQ_NODENAME: `fleetgate-${epmdPort}@localhost`,
      RABBITMQ_DIST_PORT: String(await freePort()),
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: String(await freePort()),
      ERL_EPMD_PORT: String(epmdPort),
      ERL_EPMD_ADDRESS: '127.0.0.1',
      RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
      RABBITMQ_LOG_BASE: join(folder, 'log'),
      RABBITMQ_PID_FILE: join(folder, 'pid'),
      RABBITMQ_CONFIG_FILE: file('rabbitmq.conf', files.rabbitmqConf),
      RABBITMQ_ADVANCED_CONFIG_FILE: file('advanced.config', files.advancedConfig ?? '[].\n'),
      RABBITMQ_ENABLED_PLUGINS_FILE: file('plugins', files.enabledPlugins),
    },
  });
  try {
    await untilListening(port, node, 60_000);
  } catch (error) {
    await stop();
    throw error;
  }
  return { pid: Number(readFileSync(join(folder, 'pid'), 'utf8')), stop };

  async function stop(): Promise<void> {
    if (node.exitCode === null) {
      const ended = once(node, 'exit');
      // Its own group: the start script, the node and what that started.
      process.kill(-(node.pid as number), 'SIGTERM');
      await Promise.race([ended, sleep(15_000)]);
    }
    await end(epmd);
    rmSync(folder, { recursive: true, force: true });
  }
}
