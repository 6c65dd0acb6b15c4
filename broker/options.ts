import { checkNames } from '@fleetgate/shared';
import { DEFAULT_MAX_CACHED_TOKENS } from '@fleetgate/verifier';
import type { Logger as PinoLogger } from 'pino';
import type { AuditEvent } from './audit.ts';
import type { Policy } from './authorization/policy.ts';
import type { Observer } from './observer.ts';
import type { Refusal } from './refusal.ts';
import type { DecisionEvent } from './reports.ts';
import type { TrustedIssuer } from './trusted-issuer.ts';

/** What is used of a pino logger; any object with these four will do. */
export type Logger = Pick<PinoLogger, 'debug' | 'info' | 'warn' | 'error'>;

/** How the MQTT client id of a connection must relate to the client of its token. */
export type ClientIdBinding = 'exact' | 'prefix' | 'none';

/** Bounds on what one client, one address and all together may take. */
export interface Limits {
  /** The first packet of a connection. Default 16384: a token is at most 8192, and a will should be small. */
  readonly maxConnectBytes: number;
  /** Any packet after it, fixed header included. Default 1048576. */
  readonly maxPacketBytes: number;
  /** Default 100000. */
  readonly maxConnections: number;
  /** Of one IPv4 address or one IPv6 /64. Default 10000: a fleet behind one gateway shares an address. */
  readonly maxConnectionsPerAddress: number;
  /**
   * Sessions of one client that are kept (clean session 0), live or not, of all its MQTT client ids. With `clientIdBinding`
   * `exact` it has one. Default 100.
   */
  readonly maxSessionsPerClient: number;
  /** Default 100. */
  readonly maxSubscriptionsPerClient: number;
  /** QoS 1 and 2 messages waiting for a client that is offline; newer ones are dropped. Default 1000. */
  readonly maxQueuedMessagesPerClient: number;
  /** Bytes of their topics and payloads; newer ones are dropped. Default 16777216. */
  readonly maxQueuedBytesPerClient: number;
  /** Bytes written to one connection that it has not read; beyond it, it is cut off. Default 8388608. */
  readonly maxUnreadBytesPerClient: number;
  /** Retained messages one client may have published. Default 10000. */
  readonly maxRetainedMessagesPerClient: number;
  /** Bytes of their topics and payloads. Default 16777216. */
  readonly maxRetainedBytesPerClient: number;
  /** Retained messages in all. Default 100000. */
  readonly maxRetainedMessages: number;
  /** A CONNECT with a longer keep alive, or none (0), is refused. Default 1200. */
  readonly maxKeepaliveSeconds: number;
  /** From the opening of the connection to CONNACK. Default 10. */
  readonly connectTimeoutSeconds: number;
  /** How long a slow reader may hold up others before it is cut off, and the patience of `close`. Default 10. */
  readonly drainTimeoutSeconds: number;
}

export interface PluginOptions {
  readonly issuers: readonly TrustedIssuer[];
  /** What `aud` of a token must hold. Default `mqtt`. */
  readonly audience?: string;
  /** What named scopes mean. Without one only direct scopes grant anything. */
  readonly policy?: Policy | undefined;
  /** How far clocks may be apart. Default 5. */
  readonly clockSkewSeconds?: number;
  /**
   * `exact` (default): the MQTT client id is the client. `prefix`: or begins with it and one of `. _ -`; then no
   * client id of the fleet should be such a beginning of another. `none`: any client id.
   */
  readonly clientIdBinding?: ClientIdBinding;
  /** What a refused PUBLISH leads to: `disconnect` (default), or `drop`, acknowledged and delivered to nobody. */
  readonly deniedPublish?: 'disconnect' | 'drop';
  readonly limits?: Partial<Limits>;
  /**
   * Verified tokens that are remembered, so that a client that comes back with the same token costs no signature check.
   * 0 remembers none. Default 100000, some 175 MB when they are all in use.
   */
  readonly maxCachedTokens?: number;
  /** Default: silence. */
  readonly log?: Logger;
  /** Called once for each refusal. What it throws is logged and otherwise ignored. */
  readonly onRefusal?: (refusal: Refusal) => void;
  /**
   * Called for each decision, allowed or refused: for every message that is published or delivered. What it throws is
   * logged and otherwise ignored. Default: none, at no cost.
   */
  readonly onDecision?: (decision: DecisionEvent) => void;
  /** Called for each event that matters for security, to be written down. What it throws is logged. Default: none. */
  readonly audit?: (event: AuditEvent) => void;
  /** Who counts; `prometheusObserver` of `@fleetgate/broker/metrics` is one. Of one plugin. Default: nobody. */
  readonly observer?: Observer;
  /** Milliseconds since 1970. Default `Date.now`. */
  readonly now?: () => number;
}

/** The options checked and with every default filled in. */
export interface Settings {
  readonly issuers: readonly TrustedIssuer[];
  readonly audience: string;
  readonly policy: Policy | undefined;
  readonly clockSkewSeconds: number;
  readonly clientIdBinding: ClientIdBinding;
  readonly deniedPublish: 'disconnect' | 'drop';
  readonly limits: Limits;
  readonly maxCachedTokens: number;
  readonly log: Logger;
  readonly onRefusal: (refusal: Refusal) => void;
  readonly onDecision: ((decision: DecisionEvent) => void) | undefined;
  readonly audit: ((event: AuditEvent) => void) | undefined;
  readonly observer: Observer | undefined;
  readonly now: () => number;
}

export const defaultLimits: Limits = Object.freeze({
  maxConnectBytes: 16_384,
  maxPacketBytes: 1_048_576,
  maxConnections: 100_000,
  maxConnectionsPerAddress: 10_000,
  maxSessionsPerClient: 100,
  maxSubscriptionsPerClient: 100,
  maxQueuedMessagesPerClient: 1_000,
  maxQueuedBytesPerClient: 16_777_216,
  maxUnreadBytesPerClient: 8_388_608,
  maxRetainedMessagesPerClient: 10_000,
  maxRetainedBytesPerClient: 16_777_216,
  maxRetainedMessages: 100_000,
  maxKeepaliveSeconds: 1_200,
  connectTimeoutSeconds: 10,
  drainTimeoutSeconds: 10,
});

/** A clock further off than this is broken; a larger skew would keep expired tokens alive. */
const MAX_CLOCK_SKEW_SECONDS = 300;

const optionNames = [
  'issuers',
  'audience',
  'policy',
  'clockSkewSeconds',
  'clientIdBinding',
  'deniedPublish',
  'limits',
  'maxCachedTokens',
  'log',
  'onRefusal',
  'onDecision',
  'audit',
  'observer',
  'now',
];
const clientIdBindings: readonly string[] = ['exact', 'prefix', 'none'];

/**
 * Checks the options of the plugin and fills in the defaults; the result is frozen.
 * @throws TypeError for a caller's mistake
 */
export function prepareOptions(options: PluginOptions, otherNames: readonly string[] = []): Settings {
  checkNames(options, [...optionNames, ...otherNames], '');
  const { audience = 'mqtt', clockSkewSeconds = 5, clientIdBinding = 'exact' } = options;
  if (!Array.isArray(options.issuers)) throw new TypeError('issuers must be an array');
  if (typeof audience !== 'string' || audience === '') throw new TypeError('audience must be a string');
  if (!(clockSkewSeconds >= 0 && clockSkewSeconds <= MAX_CLOCK_SKEW_SECONDS)) {
    throw new TypeError(`clockSkewSeconds must be between 0 and ${MAX_CLOCK_SKEW_SECONDS}`);
  }
  if (!clientIdBindings.includes(clientIdBinding)) {
    throw new TypeError(`clientIdBinding must be one of ${clientIdBindings.join(', ')}`);
  }
  const { deniedPublish = 'disconnect' } = options;
  if (deniedPublish !== 'disconnect' && deniedPublish !== 'drop')
    throw new TypeError('deniedPublish must be disconnect or drop');
  const { maxCachedTokens = DEFAULT_MAX_CACHED_TOKENS } = options;
  if (!(Number.isSafeInteger(maxCachedTokens) && maxCachedTokens >= 0)) {
    throw new TypeError('maxCachedTokens must be a whole number, 0 or more');
  }
  for (const name of ['onRefusal', 'onDecision', 'audit'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'function')
      throw new TypeError(`${name} must be a function`);
  }
  return Object.freeze({
    issuers: Object.freeze([...options.issuers]),
    audience,
    policy: options.policy,
    clockSkewSeconds,
    clientIdBinding,
    deniedPublish,
    limits: prepareLimits(options.limits ?? {}),
    maxCachedTokens,
    log: options.log ?? silence,
    onRefusal: options.onRefusal ?? ignore,
    onDecision: options.onDecision,
    audit: options.audit,
    observer: options.observer,
    now: options.now ?? Date.now,
  });
}

function prepareLimits(given: Partial<Limits>): Limits {
  checkNames(given, Object.keys(defaultLimits), 'limits.');
  const limits = { ...defaultLimits, ...given };
  for (const [name, value] of Object.entries(limits)) {
    // Keep alive and lengths are 16 bit and 28 bit on the wire, but any positive number bounds them.
    if (!(Number.isFinite(value) && value > 0))
      throw new TypeError(`limits.${name} must be a positive number`);
  }
  return Object.freeze(limits);
}

function ignore(): void {}

const silence: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };
