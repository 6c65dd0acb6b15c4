import { checkNames } from '@fleetgate/shared';

/** Where brokers that serve one fleet together keep its sessions. */
export interface ClusterOptions {
  /** `redis://HOST:PORT/DATABASE`, or `rediss://` for TLS; of Sentinel the database and whether it is TLS count. */
  readonly redis: string;
  readonly username?: string;
  readonly password?: string;
  /** Of Sentinel: the name of the primary, and where the sentinels are. */
  readonly sentinel?: {
    readonly primary: string;
    readonly nodes: readonly { readonly host: string; readonly port: number }[];
    readonly password?: string;
  };
  /** Authorities that Redis' certificate is checked against, PEM; default: those of Node. */
  readonly ca?: string | Uint8Array;
  /** What all keys begin with; brokers of another fleet have another. Default `fleetgate`. */
  readonly prefix?: string;
  /** Redis is taken for gone when it has not answered for so long. Default 5. */
  readonly frozenAfterSeconds?: number;
  /** A broker that has not said that it lives for so long is dead, and its wills are published. Default 15. */
  readonly deadAfterSeconds?: number;
}

export interface ClusterSettings extends ClusterOptions {
  /** With what follows it: the database, since the bus is one for all of them, and a colon. */
  readonly prefix: string;
  readonly frozenAfterSeconds: number;
  readonly deadAfterSeconds: number;
}

const optionNames = [
  'redis',
  'username',
  'password',
  'sentinel',
  'ca',
  'prefix',
  'frozenAfterSeconds',
  'deadAfterSeconds',
];

/** @throws TypeError for a caller's mistake */
export function prepareCluster(options: ClusterOptions): ClusterSettings {
  checkNames(options, optionNames, 'cluster.');
  const { redis, prefix = 'fleetgate', frozenAfterSeconds = 5, deadAfterSeconds = 15 } = options;
  const url = typeof redis === 'string' ? URL.parse(redis) : null;
  if (url === null || (url.protocol !== 'redis:' && url.protocol !== 'rediss:')) {
    throw new TypeError('cluster.redis must be redis://HOST:PORT or rediss://HOST:PORT');
  }
  if (url.password !== '') {
    throw new TypeError('cluster.redis holds a password, which would be seen; give it as cluster.password');
  }
  const problem = databaseProblem(url);
  if (problem !== undefined) throw new TypeError(`cluster.redis ${problem}`);
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(prefix)) {
    throw new TypeError('cluster.prefix must be 1 to 64 of A-Z a-z 0-9 . _ -');
  }
  if (!(frozenAfterSeconds > 0) || !(deadAfterSeconds > frozenAfterSeconds)) {
    throw new TypeError(
      'cluster.deadAfterSeconds must be more than frozenAfterSeconds, and that more than 0',
    );
  }
  const database = url.pathname.replace(/^\/?/, '');
  const all = database === '' || database === '0' ? `${prefix}:` : `${prefix}:${database}:`;
  return Object.freeze({ ...options, prefix: all, frozenAfterSeconds, deadAfterSeconds });
}

/** What of the URL of a Redis would not be understood, and its mend. */
export function databaseProblem({ hostname, pathname, search, hash, username }: URL): string | undefined {
  if (hostname === '') return 'names no host; write redis://HOST:PORT';
  if (!/^(\/(0|[1-9]\d{0,4})?)?$/.test(pathname))
    return 'must end in the number of a database, as in redis://HOST:PORT/0';
  if (search !== '' || hash !== '')
    return 'takes nothing behind the database; leave out what begins with ? or #';
  try {
    decodeURIComponent(username);
    return undefined;
  } catch {
    return 'has a user name with a % that begins no character; write %25';
  }
}
