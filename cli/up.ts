import { readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import {
  type BrokerOptions,
  examplePolicy,
  type Policy,
  parsePolicy,
  type RunningBroker,
  startBroker,
  type TrustedIssuer,
} from '@fleetgate/broker';
import { type RunningIssuer, readOrCreateAdminKey, startIssuer } from '@fleetgate/issuer';
import { FleetgateError } from '@fleetgate/shared';
import type { Logger } from 'pino';
import { type RunningAdmin, startAdmin } from './admin-listener.ts';
import type { Config } from './config/schema.ts';
import { trustedIssuers } from './config/trusted-issuers.ts';
import {
  type DataDirectory,
  prepareDataDirectory,
  removeRuntime,
  writeOnce,
  writeRuntime,
} from './data-directory.ts';

export type Role = 'issuer' | 'broker';

/** What the ready line says: the address of each listener that accepts. */
export interface Ready {
  issuer?: string;
  admin: string;
  mqtt?: string;
  ws?: string;
  data_dir: string;
}

export interface Running {
  readonly ready: Ready;
  /** Stops accepting, finishes what is in flight, closes; within 10 s. */
  close(): Promise<void>;
}

/**
 * The composition root: issuer, broker and admin listener in one process, or one role alone. Whatever was started
 * is closed again when a later part cannot start.
 * @throws FleetgateError for what the operator can mend
 */
export async function up(
  config: Config,
  directory: DataDirectory,
  log: Logger,
  roles: readonly Role[] = ['issuer', 'broker'],
): Promise<Running> {
  prepareDataDirectory(directory);
  const closers: (() => Promise<void>)[] = [];
  const close = async () => {
    removeRuntime(directory);
    // The broker first: it may still verify tokens while it drains.
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    // All that can be wrong on disk is read before the first listener opens.
    const policy = roles.includes('broker') ? readPolicy(config, directory) : undefined;
    const remote = roles.includes('broker') ? trustedIssuers(config.broker.trusted_issuers) : [];
    const issuer = roles.includes('issuer') ? await openIssuer(config, directory, log) : undefined;
    if (issuer !== undefined) closers.push(() => issuer.close());
    const admin = await openAdmin(config, directory, log, issuer);
    closers.push(() => admin.close());
    const broker = policy === undefined ? undefined : await openBroker(config, policy, log, issuer, remote);
    if (broker !== undefined) closers.push(() => broker.close());
    const ready: Ready = {
      ...(issuer === undefined ? {} : { issuer: issuer.url }),
      admin: admin.url,
      ...broker?.urls,
      data_dir: directory.path,
    };
    writeRuntime(directory, { ...ready });
    return { ready, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function openIssuer(config: Config, directory: DataDirectory, log: Logger): Promise<RunningIssuer> {
  const { issuer } = config;
  const file = issuer.database.slice('sqlite:'.length);
  return startIssuer({
    http: { host: issuer.http.host, port: issuer.http.port },
    ...(issuer.url === undefined ? {} : { url: issuer.url }),
    databaseFile: isAbsolute(file) ? file : join(directory.path, file),
    keyEncryptionKeyFile: directory.keyEncryptionKeyFile,
    tokenLifetimeSeconds: issuer.token_lifetime_seconds,
    signingAlgorithm: issuer.signing_algorithm,
    defaultAudience: issuer.default_audience,
    log: log.child({ component: 'issuer' }),
  });
}

function openAdmin(
  config: Config,
  directory: DataDirectory,
  log: Logger,
  issuer: RunningIssuer | undefined,
): Promise<RunningAdmin> {
  return startAdmin({
    host: config.admin.host,
    port: config.admin.port,
    log: log.child({ component: 'admin' }),
    isReady: async () => (await issuer?.isReady()) ?? true,
    ...(issuer === undefined
      ? {}
      : { routes: issuer.adminRoutes({ adminKey: readOrCreateAdminKey(directory.adminKeyFile) }) }),
  });
}

function openBroker(
  config: Config,
  policy: Policy,
  log: Logger,
  issuer: RunningIssuer | undefined,
  remote: readonly TrustedIssuer[],
): Promise<RunningBroker> {
  const { broker } = config;
  const embedded: TrustedIssuer[] =
    issuer === undefined ? [] : [{ issuer: issuer.url, keys: { jwks: () => issuer.jwks() } }];
  const limits = broker.limits;
  return startBroker({
    listeners: broker.listeners.map(({ protocol, host, port }) => ({
      protocol,
      host,
      port,
    })) as BrokerOptions['listeners'],
    issuers: [...embedded, ...remote],
    audience: broker.audience,
    policy,
    clockSkewSeconds: broker.clock_skew_seconds,
    clientIdBinding: broker.client_id_binding,
    deniedPublish: broker.denied_publish,
    limits: {
      maxConnectBytes: limits.max_connect_bytes,
      maxPacketBytes: limits.max_packet_bytes,
      maxConnections: limits.max_connections,
      maxConnectionsPerAddress: limits.max_connections_per_address,
      maxSubscriptionsPerClient: limits.max_subscriptions_per_client,
      maxQueuedMessagesPerClient: limits.max_queued_messages_per_client,
      maxKeepaliveSeconds: limits.max_keepalive_seconds,
      connectTimeoutSeconds: limits.connect_timeout_seconds,
      drainTimeoutSeconds: limits.drain_timeout_seconds,
    },
    log: log.child({ component: 'broker' }),
  });
}

/** The policy in force: the file named in the configuration, else the example written at the first start. */
function readPolicy(config: Config, directory: DataDirectory): Policy {
  if (config.broker.policy_file === undefined) writeOnce(directory.policyFile, examplePolicy);
  const file = config.broker.policy_file ?? directory.policyFile;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new FleetgateError(
      'policy_invalid',
      `cannot read the policy ${file} (${code ?? message}); mend the file or set broker.policy_file`,
    );
  }
  return parsePolicy(text, file);
}
