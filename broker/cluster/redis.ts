import { Redis, type RedisOptions } from 'ioredis';
import type { ClusterSettings } from './options.ts';
import { scripts } from './scripts/index.ts';

export type Value = string | number | Uint8Array;

/** A connection with the scripts on it. */
export type Store = Redis & {
  readonly [Name in keyof typeof scripts]: (prefix: string, ...values: Value[]) => Promise<unknown>;
};

/** Between two tries to connect. */
const RETRY_MS = 250;

/**
 * A connection that is not open yet. A command is tried once: when the connection is lost, or not there, it fails, and
 * whoever waited for it is not told that it was done.
 */
export function createStore(settings: ClusterSettings, name: string, commandTimeoutMs?: number): Store {
  const { redis, sentinel, username, password, ca, frozenAfterSeconds } = settings;
  const { hostname, port, pathname, protocol, username: userOfUrl } = new URL(redis);
  const tls = protocol === 'rediss:' ? { tls: ca === undefined ? {} : { ca: Buffer.from(ca) } } : {};
  const user = username ?? decodeURIComponent(userOfUrl);
  const options = {
    ...(sentinel === undefined
      ? { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port === '' ? 6379 : port) }
      : {
          name: sentinel.primary,
          sentinels: sentinel.nodes.map(({ host, port }) => ({ host, port })),
          sentinelRetryStrategy: () => RETRY_MS,
          ...(sentinel.password === undefined ? {} : { sentinelPassword: sentinel.password }),
          ...('tls' in tls ? { enableTLSForSentinelMode: true, sentinelTLS: tls.tls } : {}),
        }),
    ...tls,
    ...(user === '' ? {} : { username: user }),
    ...(password === undefined ? {} : { password }),
    db: Number(pathname.slice(1) === '' ? 0 : pathname.slice(1)),
    connectionName: name,
    connectTimeout: frozenAfterSeconds * 1000,
    ...(commandTimeoutMs === undefined ? {} : { commandTimeout: commandTimeoutMs }),
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    enableAutoPipelining: true,
    retryStrategy: () => RETRY_MS,
    // A primary that has become a replica.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    scripts: { ...scripts },
  } satisfies RedisOptions;
  return new Redis(options) as Store;
}
