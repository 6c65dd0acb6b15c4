import { FleetgateError } from '@fleetgate/shared';
import type { VerifiedToken } from '@fleetgate/verifier';
import { type ClusterOptions, prepareCluster } from './options.ts';
import { createStore, type Store } from './redis.ts';

/** Sessions that are read at once. */
const PAGE = 500;

/** One session of all brokers on one Redis. */
export interface ClusterSession {
  /** Its MQTT client id. */
  readonly id: string;
  readonly clientId: string;
  readonly issuer: string;
  /** `live`: a connection has it; `kept`: it waits for one. */
  readonly state: 'live' | 'kept';
  /** Whether it outlives its connection (clean session 0). */
  readonly isKept: boolean;
  /** When its token expires. */
  readonly expiresAtSeconds: number;
  /** Of a live one: moment of CONNECT, its address, listener, and broker. */
  readonly startedAtMs?: number;
  readonly address?: string;
  readonly protocol?: string;
  readonly broker?: string;
  /** Messages that wait for it, and their bytes. */
  readonly queuedMessages: number;
  readonly queuedBytes: number;
}

export interface ClusterSessionDetail extends ClusterSession {
  readonly filters: readonly { readonly filter: string; readonly qos: number }[];
  /** Packet identifiers that were sent and not acknowledged. */
  readonly underWay: number;
}

/** The sessions of all brokers, read and ended from outside. */
export interface ClusterSessions {
  /** In no order; one that comes or goes meanwhile may be missing. */
  list(): AsyncGenerator<ClusterSession>;
  show(id: string): Promise<ClusterSessionDetail | undefined>;
  /**
   * Ends the connection of a session, and with `forget` what is kept of it: filters, queue, identifiers.
   * False when there is nothing to end.
   */
  cut(id: string, forget: boolean): Promise<boolean>;
  close(): void;
}

/** What a broker says of a session it has; see `shown` in cluster.ts. */
interface Live {
  readonly clientId: string;
  readonly issuer: string;
  readonly expiresAtSeconds: number;
  readonly startedAtMs: number;
  readonly clean: boolean;
  readonly address?: string;
  readonly protocol?: string;
}

/**
 * @throws FleetgateError `registry_unavailable` when Redis cannot be reached; TypeError for a mistake in the options
 */
export async function openClusterSessions(options: ClusterOptions): Promise<ClusterSessions> {
  const settings = prepareCluster(options);
  const { prefix } = settings;
  const store = createStore(settings, 'fleetgate-sessions', settings.frozenAfterSeconds * 1000);
  let problem = 'no answer';
  store.on('error', (error: Error) => {
    problem = error.message;
    // A socket of TLS may fail once more, and an error that nobody listens to ends the process.
    store.stream?.on('error', () => {});
  });
  try {
    await store.connect();
  } catch (error) {
    store.disconnect();
    const words = error instanceof Error && !/closed/.test(error.message) ? error.message : problem;
    throw new FleetgateError('registry_unavailable', `cannot reach the Redis of broker.cluster: ${words}`);
  }

  async function liveOf(id: string): Promise<(Live & { broker: string }) | undefined> {
    const owner = await store.hget(`${prefix}live`, id);
    const broker = owner?.slice(0, owner.lastIndexOf(':'));
    if (broker === undefined) return undefined;
    const text = await store.hget(`${prefix}at:${broker}`, id);
    return text === null ? undefined : { ...(JSON.parse(text) as Live), broker };
  }

  async function sessionOf(
    id: string,
    live: (Live & { broker: string }) | undefined,
    token: string | null,
  ): Promise<ClusterSession | undefined> {
    const known = live ?? (token === null ? undefined : (JSON.parse(token) as VerifiedToken));
    if (known === undefined) return undefined;
    const [messages, bytes] = await Promise.all([
      store.xlen(`${prefix}queue:${id}`),
      store.hget(`${prefix}queued`, id),
    ]);
    const { clientId, issuer, expiresAtSeconds } = known;
    return {
      id,
      clientId,
      issuer,
      state: live === undefined ? 'kept' : 'live',
      isKept: token !== null,
      expiresAtSeconds,
      ...(live === undefined ? {} : { startedAtMs: live.startedAtMs, broker: live.broker }),
      ...(live?.address === undefined ? {} : { address: live.address }),
      ...(live?.protocol === undefined ? {} : { protocol: live.protocol }),
      queuedMessages: messages,
      queuedBytes: Number(bytes ?? 0),
    };
  }

  async function* list(): AsyncGenerator<ClusterSession> {
    const seen = new Set<string>();
    for (const broker of await store.zrange(`${prefix}brokers`, '0', '-1')) {
      for await (const pairs of scan(store, `${prefix}at:${broker}`)) {
        const sessions = await Promise.all(
          pairs.map(async ([id, text]) => {
            const token = await store.hget(`${prefix}kept`, id);
            return sessionOf(id, { ...(JSON.parse(text) as Live), broker }, token);
          }),
        );
        for (const session of sessions) {
          if (session === undefined || seen.has(session.id)) continue;
          seen.add(session.id);
          yield session;
        }
      }
    }
    for await (const pairs of scan(store, `${prefix}kept`)) {
      const others = pairs.filter(([id]) => !seen.has(id));
      for (const session of await Promise.all(others.map(([id, token]) => sessionOf(id, undefined, token)))) {
        if (session === undefined || seen.has(session.id)) continue;
        seen.add(session.id);
        yield session;
      }
    }
  }

  return {
    list,
    async show(id) {
      const [live, token] = await Promise.all([liveOf(id), store.hget(`${prefix}kept`, id)]);
      const session = await sessionOf(id, live, token);
      if (session === undefined) return undefined;
      const [filters, underWay] = await Promise.all([
        store.hgetall(`${prefix}subs:${id}`),
        store.hlen(`${prefix}sent:${id}`),
      ]);
      const all = Object.entries(filters).map(([filter, qos]) => ({ filter, qos: Number(qos) }));
      return { ...session, filters: all, underWay };
    },
    cut: async (id, forget) => (await store.cutSession(prefix, id, forget ? '1' : '')) === 1,
    close: () => store.disconnect(),
  };
}

async function* scan(store: Store, key: string): AsyncGenerator<[string, string][]> {
  let cursor = '0';
  do {
    const [next, flat] = await store.hscan(key, cursor, 'COUNT', PAGE);
    const pairs: [string, string][] = [];
    for (let at = 0; at + 1 < flat.length; at += 2) pairs.push([flat[at] as string, flat[at + 1] as string]);
    yield pairs;
    cursor = next;
  } while (cursor !== '0');
}
