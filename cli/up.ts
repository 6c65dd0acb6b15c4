import { existsSync } from 'node:fs';
import { type Policy, type RunningBroker, startBroker, type TrustedIssuer } from '@fleetgate/broker';
import { prometheusObserver as brokerMetrics } from '@fleetgate/broker/metrics';
import { type RunningIssuer, readOrCreateAdminKey, startIssuer } from '@fleetgate/issuer';
import { prometheusObserver as issuerMetrics } from '@fleetgate/issuer/metrics';
import { FleetgateError } from '@fleetgate/shared';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { type AdminOptions, type RunningAdmin, startAdmin } from './admin-listener.ts';
import { type AuditFile, openAuditFile } from './audit-file.ts';
import { clusterOptions } from './config/cluster.ts';
import { consoleOidc } from './config/console.ts';
import { enrollmentHookOf } from './config/enrollment-hook.ts';
import { issuerHttpOptions } from './config/issuer-http.ts';
import { listenerOptions } from './config/listeners.ts';
import type { Config } from './config/schema.ts';
import type { AccessOptions } from './console/access.ts';
import { type Console, createConsole } from './console/console.ts';
import {
  configuredDatabase,
  type DataDirectory,
  prepareDataDirectory,
  refuseSecondProcess,
  removeRuntime,
  writeRuntime,
} from './data-directory.ts';
import { embeddedRevocations } from './embedded-revocations.ts';
import { keyEncryptionKey } from './key-encryption-key.ts';
import { asListenError } from './listen-error.ts';
import { createMetrics } from './metrics.ts';
import { policyPath, readPolicy, watchPolicy } from './policy-file.ts';
import { createReload, type Reloadable } from './reload.ts';
import { remoteIssuers } from './remote-issuers.ts';
import { type LoadedTargets, loadTokenTargets } from './token-targets.ts';

export type Role = 'issuer' | 'broker';

/** What the ready line says: the address of each listener that accepts, and of the console. */
export interface Ready {
  issuer?: string;
  admin: string;
  coap?: string;
  mqtt?: string;
  mqtts?: string;
  ws?: string;
  wss?: string;
  data_dir: string;
  console?: string;
}

export interface Running {
  readonly ready: Ready;
  /** Reads again what may change while it runs. Logs what came of it; a mistake leaves the old in force. */
  reload(): Promise<void>;
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
  await refuseSecondProcess(directory);
  const closers: (() => Promise<void>)[] = [];
  const close = async () => {
    removeRuntime(directory);
    // The broker first: it may still verify tokens while it drains.
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    // All that can be wrong on disk is read before the first listener opens.
    if (roles.includes('issuer')) readOrCreateAdminKey(directory.adminKeyFile);
    const oidc = roles.includes('issuer') ? consoleOidc(config.console) : undefined;
    const targets = roles.includes('issuer') ? loadTokenTargets(config, directory) : undefined;
    const policy = roles.includes('broker') ? readPolicy(config, directory) : undefined;
    const remote = roles.includes('broker') ? await remoteIssuers(config.broker.trusted_issuers, log) : [];
    const audit = policy === undefined ? undefined : openAudit(config, log);
    if (audit !== undefined) closers.push(() => audit.close());
    const metrics = createMetrics(() => audit?.lost() ?? 0);
    const issuer = targets && (await openIssuer(config, directory, log, { metrics, targets }));
    if (issuer !== undefined) closers.push(() => issuer.close());
    let broker: RunningBroker | undefined;
    const problems = async () => [
      ...((await issuer?.isReady()) === false
        ? ['the registry of the issuer cannot be read or written']
        : []),
      ...(policy === undefined ? [] : (broker?.problems() ?? ['the broker has not started yet'])),
    ];
    let inForce = policy;
    const access: AccessOptions = {
      policy: () => inForce,
      audience: config.broker.audience,
      defaultAudience: config.issuer.default_audience,
      tokenClaims: config.issuer.token_claims,
      sessions: (clientId) => broker?.sessions(clientId) ?? [],
      explainToken: async (token, attempt) => broker?.explainToken(token, attempt),
    };
    const pages =
      issuer &&
      createConsole({
        metrics,
        access,
        about: () => ({ issuer: issuer.url, roles }),
        oidc: oidc && {
          ...oidc,
          recordRefused: issuer.recordRefused,
          log: log.child({ component: 'admin' }),
        },
      });
    if (pages !== undefined) closers.push(async () => pages.close());
    const admin = await openAdmin(config, directory, log, { problems, metrics, issuer, pages });
    closers.push(() => admin.close());
    broker =
      policy && (await openBroker(config, policy.policy, log, { metrics, audit, issuer, remote, pages }));
    if (broker !== undefined) closers.push(broker.close);
    const ready: Ready = {
      ...(issuer === undefined ? {} : { issuer: issuer.url }),
      admin: admin.url,
      ...(issuer?.coapUrl === undefined ? {} : { coap: issuer.coapUrl }),
      ...broker?.urls,
      data_dir: directory.path,
      ...(pages && { console: `${admin.url}/console/` }),
    };
    writeRuntime(directory, { ...ready });
    const certificates = (of: RunningBroker | RunningIssuer, what = 'certificates'): Reloadable => ({
      what,
      reload: () => of.reloadCertificates(),
    });
    const policyOf = (of: RunningBroker): Reloadable => ({
      what: 'policy',
      reload: async () => {
        const next = readPolicy(config, directory);
        await of.setPolicy(next.policy);
        inForce = next;
      },
    });
    const trail: Reloadable[] = audit === undefined ? [] : [{ what: 'audit_file', reload: audit.reopen }];
    const targetPolicies: Reloadable | undefined = targets?.files.length
      ? { what: 'policies of token targets', reload: targets.reload }
      : undefined;
    const hasIssuerTls = issuer !== undefined && config.issuer.http.tls_cert_file !== undefined;
    const parts = [
      ...(hasIssuerTls ? [certificates(issuer, 'issuer certificates')] : []),
      ...(targetPolicies === undefined ? [] : [targetPolicies]),
      ...(broker === undefined ? [] : [certificates(broker), policyOf(broker), ...trail]),
    ];
    const reload = createReload(parts, log);
    if (broker !== undefined) {
      const again = createReload([policyOf(broker)], log);
      const unwatch = watchPolicy(policyPath(config, directory), () => void again());
      closers.push(async () => unwatch());
    }
    if (targets !== undefined && targetPolicies !== undefined) {
      const again = createReload([targetPolicies], log);
      for (const file of targets.files) {
        const unwatch = watchPolicy(file, () => void again());
        closers.push(async () => unwatch());
      }
    }
    return { ready, reload, close };
  } catch (error) {
    await close();
    throw asListenError(error, config);
  }
}

function openIssuer(
  config: Config,
  directory: DataDirectory,
  log: Logger,
  { metrics, targets }: { metrics: Registry; targets: LoadedTargets },
): Promise<RunningIssuer> {
  const { issuer } = config;
  const issuerLog = log.child({ component: 'issuer' });
  return startIssuer({
    http: issuerHttpOptions(issuer.http, issuerLog),
    ...(issuer.coap.enabled ? { coap: { host: issuer.coap.host, port: issuer.coap.port } } : {}),
    ...(issuer.url === undefined ? {} : { url: issuer.url }),
    database: configuredDatabase(config, directory),
    ...keyEncryptionKey(config, directory),
    ...appsDirectoryOf(config, directory),
    tokenLifetimeSeconds: issuer.token_lifetime_seconds,
    maxTokenLifetimeSeconds: issuer.max_token_lifetime_seconds,
    tokenClaims: issuer.token_claims,
    tokenTargets: targets.targets,
    signingAlgorithm: issuer.signing_algorithm,
    keyRotationDays: issuer.key_rotation_days,
    defaultAudience: issuer.default_audience,
    auditRetentionDays: issuer.audit_retention_days,
    ...enrollmentHookOf(issuer.enrollment_hook),
    limits: {
      maxClientTokensPerSecond: issuer.limits.max_client_tokens_per_second,
      maxAddressRequestsPerSecond: issuer.limits.max_address_requests_per_second,
      maxAddressConnections: issuer.limits.max_address_connections,
    },
    observer: issuerMetrics(metrics),
    log: issuerLog,
  });
}

/** Apps have files of their own beside that of the registry; there are none where it is shared. */
function appsDirectoryOf({ issuer }: Config, { appsDirectory }: DataDirectory): { appsDirectory?: string } {
  if (issuer.database.startsWith('sqlite:')) return { appsDirectory };
  if (!existsSync(appsDirectory)) return {};
  throw new FleetgateError(
    'config_invalid',
    `issuer.database is PostgreSQL, and ${appsDirectory} holds apps, which need SQLite: give each app an issuer with a schema of its own`,
  );
}

/** What runs in the same process. */
interface Beside {
  issuer: RunningIssuer | undefined;
}

function openAdmin(
  config: Config,
  directory: DataDirectory,
  log: Logger,
  {
    problems,
    metrics,
    issuer,
    pages,
  }: Pick<AdminOptions, 'problems' | 'metrics'> & Beside & { pages: Console | undefined },
): Promise<RunningAdmin> {
  return startAdmin({
    host: config.admin.host,
    port: config.admin.port,
    log: log.child({ component: 'admin' }),
    problems,
    metrics,
    ...(issuer === undefined
      ? {}
      : {
          routes: issuer.adminRoutes({
            adminKey: readOrCreateAdminKey(directory.adminKeyFile),
            keyHolder: pages?.keyHolder,
          }),
        }),
    ...(pages === undefined ? {} : { console: pages.routes }),
  });
}

interface BrokerParts extends Beside {
  metrics: Registry;
  audit: AuditFile | undefined;
  remote: readonly TrustedIssuer[];
  pages: Console | undefined;
}

async function openBroker(
  config: Config,
  policy: Policy,
  log: Logger,
  { metrics, audit, issuer, remote, pages }: BrokerParts,
): Promise<RunningBroker> {
  const { broker } = config;
  const revocations = issuer && embeddedRevocations(issuer);
  const embedded: TrustedIssuer[] =
    issuer === undefined || revocations === undefined
      ? []
      : [
          {
            issuer: issuer.url,
            keys: { jwks: () => issuer.jwks() },
            revocations: { source: revocations.source, refuseWhenAway: true },
          },
        ];
  const brokerLog = log.child({ component: 'broker' });
  const limits = broker.limits;
  const running = await startBroker({
    listeners: broker.listeners.map(listenerOptions),
    issuers: [...embedded, ...remote],
    audience: broker.audience,
    policy,
    clockSkewSeconds: broker.clock_skew_seconds,
    clientIdBinding: broker.client_id_binding,
    deniedPublish: broker.denied_publish,
    ...(broker.cluster === undefined ? {} : { cluster: clusterOptions(broker.cluster) }),
    limits: {
      maxConnectBytes: limits.max_connect_bytes,
      maxPacketBytes: limits.max_packet_bytes,
      maxConnections: limits.max_connections,
      maxConnectionsPerAddress: limits.max_connections_per_address,
      maxSessionsPerClient: limits.max_sessions_per_client,
      maxSubscriptionsPerClient: limits.max_subscriptions_per_client,
      maxQueuedMessagesPerClient: limits.max_queued_messages_per_client,
      maxQueuedBytesPerClient: limits.max_queued_bytes_per_client,
      maxUnreadBytesPerClient: limits.max_unread_bytes_per_client,
      maxRetainedMessagesPerClient: limits.max_retained_messages_per_client,
      maxRetainedBytesPerClient: limits.max_retained_bytes_per_client,
      maxRetainedMessages: limits.max_retained_messages,
      maxKeepaliveSeconds: limits.max_keepalive_seconds,
      connectTimeoutSeconds: limits.connect_timeout_seconds,
      drainTimeoutSeconds: limits.drain_timeout_seconds,
    },
    log: brokerLog,
    observer: brokerMetrics(metrics),
    ...(pages === undefined ? {} : { onRefusal: pages.refused }),
    ...(audit === undefined ? {} : { audit: audit.write }),
  });
  await revocations?.told;
  return running;
}

function openAudit({ broker }: Config, log: Logger): AuditFile | undefined {
  if (broker.audit_file === undefined) return undefined;
  return openAuditFile(broker.audit_file, log.child({ component: 'broker' }));
}
