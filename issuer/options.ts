import {
  FleetgateError,
  isSecureAddress,
  nearest,
  type SigningAlgorithm,
  signingAlgorithms,
} from '@fleetgate/shared';
import type { Logger } from 'pino';
import type { EnrollmentHookOptions } from './fleet/enrollment-hook.ts';
import type { TlsMaterial } from './http/tls.ts';
import type { EncryptionKeySource } from './keys/key-encryption.ts';
import type { RotationPolicy } from './keys/lifecycle.ts';
import type { IssuerObserver } from './observer.ts';
import { isPostgresUrl } from './registry/postgres/place.ts';
import { defaultRequestLimits, type RequestLimits } from './request-rate.ts';
import { checkTokenClaimNames } from './token-claims.ts';
import { isTokenLifetime, MAX_TOKEN_LIFETIME_SECONDS } from './token-lifetime.ts';
import { checkTokenTargets, type TokenTarget } from './token-targets.ts';

/** Where the public listener accepts. */
export interface HttpOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /**
   * Reads what TLS is spoken with, at the start and at each `reloadCertificates`; what it throws is thrown there.
   * Clients may then authenticate by certificate, by one of an authority only if there is a `ca`. Default: plain HTTP.
   */
  readonly tls?: (() => Promise<TlsMaterial>) | undefined;
}

export interface CoapOptions {
  readonly host: string;
  /** UDP; 0 picks a free one. */
  readonly port: number;
}

export interface IssuerOptions {
  readonly http: HttpOptions;
  /**
   * `iss` of the tokens, https unless the host is loopback; a slash at its end is dropped. Default: `http://host:port`,
   * https with TLS, with the actual port.
   */
  readonly url?: string;
  /** Where the token endpoint is served over CoAP. Default: not at all, and no client can be registered for it. */
  readonly coap?: CoapOptions;
  /** File of SQLite, made, with mode 0600, if it is missing; or a `postgres://` URL, which several issuers may share. */
  readonly database: string;
  /**
   * File, mode 0600, of the 32 bytes that encrypt the signing keys: as they are, or as base64. Made when it is missing
   * and the database is new. Either this or `keyEncryptionKey`.
   */
  readonly keyEncryptionKeyFile?: string;
  /** Those bytes as base64, for who gets secrets by the environment. */
  readonly keyEncryptionKey?: string;
  /**
   * Directory of the apps (`/appid-<id>`), made with mode 0700; beside a file of SQLite only. Default: none, and no app
   * can be made.
   */
  readonly appsDirectory?: string;
  /** Lifetime of tokens of clients registered without one. Default 900. */
  readonly tokenLifetimeSeconds?: number;
  /** Longest lifetime a client may be registered with, up to a day. Default 86400. */
  readonly maxTokenLifetimeSeconds?: number;
  /** Fields of a client's metadata that are copied into its tokens as claims. Default none. */
  readonly tokenClaims?: readonly string[];
  /** Resource servers that read a claim of their own. Default none. */
  readonly tokenTargets?: readonly TokenTarget[];
  /** Default ES256. */
  readonly signingAlgorithm?: SigningAlgorithm;
  /** Age in days at which the signing key is replaced, over 0. Default 30. */
  readonly keyRotationDays?: number;
  /**
   * How long a signing key is published before it signs, in seconds, over 0. Default 900: more than the ten minutes
   * for which verifiers keep a key set by default.
   */
  readonly keyPublishAheadSeconds?: number;
  /** Audience of tokens of clients registered without one. Default `['mqtt']`. */
  readonly defaultAudience?: readonly string[];
  /** Days that audit rows are kept; 0 keeps all. Default 365. */
  readonly auditRetentionDays?: number;
  /** How much is asked of the token endpoint. */
  readonly limits?: Partial<RequestLimits>;
  /** How `GET /revocations` is served. */
  readonly revocationFeed?: {
    /** Between two comments that keep the connection alive; over 0, up to 60. Default 15. */
    readonly heartbeatSeconds?: number;
    /** Readers at once. Default 100. */
    readonly maxReaders?: number;
    /** How long a reader may read nothing before it is cut off. Default 10. */
    readonly drainTimeoutSeconds?: number;
  };
  /** Decides beside the enrollment whether a device gets in. Default: none. */
  readonly enrollmentHook?: EnrollmentHookOptions | undefined;
  /** Is told of each request; `prometheusObserver` of `@fleetgate/issuer/metrics` counts for Prometheus. */
  readonly observer?: IssuerObserver;
  /** Default: no log. */
  readonly log?: Logger;
  /** Milliseconds since 1970. Default `Date.now`. */
  readonly now?: () => number;
}

const optionNames = [
  'http',
  'coap',
  'url',
  'database',
  'keyEncryptionKeyFile',
  'keyEncryptionKey',
  'appsDirectory',
  'tokenLifetimeSeconds',
  'maxTokenLifetimeSeconds',
  'tokenClaims',
  'tokenTargets',
  'signingAlgorithm',
  'keyRotationDays',
  'keyPublishAheadSeconds',
  'defaultAudience',
  'auditRetentionDays',
  'limits',
  'revocationFeed',
  'enrollmentHook',
  'observer',
  'log',
  'now',
];

const DAY_MS = 86_400_000;

/** Ten years: a key that is to stay for longer is not rotated at all. */
const MAX_ROTATION_DAYS = 3650;

/** Longest heartbeat of the feed. Proxies cut what is silent for a minute, and so does our own listener. */
const MAX_HEARTBEAT_SECONDS = 60;

/** Options with their defaults, checked and frozen. */
export interface ResolvedOptions {
  readonly http: HttpOptions;
  readonly coap: CoapOptions | undefined;
  readonly url: string | undefined;
  readonly database: string;
  readonly keyEncryptionKey: EncryptionKeySource;
  readonly appsDirectory: string | undefined;
  readonly tokenLifetimeSeconds: number;
  readonly maxTokenLifetimeSeconds: number;
  readonly tokenClaims: readonly string[];
  readonly tokenTargets: readonly TokenTarget[];
  readonly signingAlgorithm: SigningAlgorithm;
  readonly keyRotation: RotationPolicy;
  readonly defaultAudience: readonly string[];
  readonly auditRetentionDays: number;
  readonly limits: RequestLimits;
  readonly revocationFeed: Required<NonNullable<IssuerOptions['revocationFeed']>>;
  readonly enrollmentHook: EnrollmentHookOptions | undefined;
  readonly observer: IssuerObserver | undefined;
  readonly log: Logger | undefined;
  readonly now: () => number;
}

/** @throws FleetgateError `config_invalid`, naming the option */
export function resolveOptions(options: IssuerOptions): ResolvedOptions {
  for (const name of Object.keys(options)) {
    if (optionNames.includes(name)) continue;
    const near = nearest(name, optionNames);
    invalid(
      `unknown issuer option ${name}; ${near === undefined ? `known are ${optionNames.join(', ')}` : `did you mean ${near}?`}`,
    );
  }
  const { tokenLifetimeSeconds = 900, signingAlgorithm = 'ES256', defaultAudience = ['mqtt'] } = options;
  if (!isTokenLifetime(tokenLifetimeSeconds)) {
    invalid(`token_lifetime_seconds must be a whole number from 1 to ${MAX_TOKEN_LIFETIME_SECONDS}`);
  }
  const { maxTokenLifetimeSeconds = MAX_TOKEN_LIFETIME_SECONDS } = options;
  const { tokenClaims = [], tokenTargets = [] } = options;
  if (!isTokenLifetime(maxTokenLifetimeSeconds)) {
    invalid(`max_token_lifetime_seconds must be a whole number from 1 to ${MAX_TOKEN_LIFETIME_SECONDS}`);
  }
  if (tokenLifetimeSeconds > maxTokenLifetimeSeconds) {
    invalid(
      `token_lifetime_seconds, ${tokenLifetimeSeconds}, must not be over max_token_lifetime_seconds, ` +
        `${maxTokenLifetimeSeconds}; set it lower`,
    );
  }
  checkTokenClaimNames(tokenClaims);
  checkTokenTargets(tokenTargets, tokenClaims);
  if (!signingAlgorithms.includes(signingAlgorithm)) {
    invalid(`signing_algorithm must be one of ${signingAlgorithms.join(', ')}`);
  }
  if (defaultAudience.length === 0 || defaultAudience.some((audience) => audience === '')) {
    // A verifier that checks audiences accepts no token without one.
    invalid('default_audience must name at least one audience');
  }
  const limits = { ...defaultRequestLimits, ...options.limits };
  for (const [name, value] of Object.entries(limits)) {
    if (!(value > 0 && Number.isFinite(value))) invalid(`limits.${name} must be over 0`);
  }
  if (options.appsDirectory !== undefined && isPostgresUrl(options.database)) {
    invalid('apps need a registry in SQLite; give each an issuer with a schema of its own');
  }
  const { auditRetentionDays = 365 } = options;
  if (!Number.isSafeInteger(auditRetentionDays) || auditRetentionDays < 0) {
    invalid('audit_retention_days must be a whole number, 0 to keep all');
  }
  const revocationFeed = {
    heartbeatSeconds: 15,
    maxReaders: 100,
    drainTimeoutSeconds: 10,
    ...options.revocationFeed,
  };
  for (const [name, value] of Object.entries(revocationFeed)) {
    if (!(value > 0 && Number.isFinite(value))) invalid(`revocationFeed.${name} must be over 0`);
  }
  if (revocationFeed.heartbeatSeconds > MAX_HEARTBEAT_SECONDS) {
    invalid(`revocationFeed.heartbeatSeconds must be at most ${MAX_HEARTBEAT_SECONDS}`);
  }
  return Object.freeze({
    http: { ...options.http },
    coap: options.coap && { ...options.coap },
    url: options.url === undefined ? undefined : checkIssuerUrl(options.url),
    database: options.database,
    keyEncryptionKey: keySourceOf(options),
    appsDirectory: options.appsDirectory,
    tokenLifetimeSeconds,
    maxTokenLifetimeSeconds,
    tokenClaims: Object.freeze(Array.from(new Set(tokenClaims))),
    tokenTargets: Object.freeze([...tokenTargets]),
    signingAlgorithm,
    keyRotation: rotationPolicyOf(options),
    defaultAudience: Object.freeze([...defaultAudience]),
    auditRetentionDays,
    limits: Object.freeze(limits),
    revocationFeed: Object.freeze(revocationFeed),
    enrollmentHook: options.enrollmentHook && checkHook(options.enrollmentHook),
    observer: options.observer,
    log: options.log,
    now: options.now ?? Date.now,
  });
}

function checkHook(hook: EnrollmentHookOptions): EnrollmentHookOptions {
  if ('command' in hook && hook.command.length === 0) invalid('enrollment_hook.command must name a program');
  if ('url' in hook && !isSecureAddress(hook.url)) {
    invalid('enrollment_hook.url must be an https URL; http only on a loopback host');
  }
  return Object.freeze({ ...hook });
}

function keySourceOf({
  keyEncryptionKeyFile: file,
  keyEncryptionKey: key,
}: IssuerOptions): EncryptionKeySource {
  if (key !== undefined && file === undefined) return { key };
  if (key === undefined && file !== undefined) return { file };
  return invalid('give either keyEncryptionKeyFile or keyEncryptionKey');
}

function rotationPolicyOf({
  keyRotationDays = 30,
  keyPublishAheadSeconds = 900,
}: IssuerOptions): RotationPolicy {
  if (!(keyRotationDays > 0 && keyRotationDays <= MAX_ROTATION_DAYS)) {
    invalid(`key_rotation_days must be over 0 and at most ${MAX_ROTATION_DAYS}`);
  }
  if (!(keyPublishAheadSeconds > 0 && Number.isFinite(keyPublishAheadSeconds))) {
    invalid('keyPublishAheadSeconds must be over 0');
  }
  return Object.freeze({
    rotationMs: keyRotationDays * DAY_MS,
    publishAheadMs: keyPublishAheadSeconds * 1000,
  });
}

/**
 * The issuer identifier (RFC 8414 §2) without a slash at its end.
 * @throws FleetgateError `config_invalid` unless it is https, or http on a loopback host
 */
export function checkIssuerUrl(url: string): string {
  const parsed = URL.parse(url);
  if (parsed === null || !['http:', 'https:'].includes(parsed.protocol)) {
    return invalid(`issuer.url must be an https URL`);
  }
  if (parsed.search !== '' || parsed.hash !== '' || parsed.username !== '' || parsed.password !== '') {
    invalid('issuer.url must have no query, fragment or user');
  }
  if (!/^[A-Za-z0-9._~/-]*$/.test(parsed.pathname))
    invalid('issuer.url has characters in its path that need escaping');
  if (parsed.protocol === 'http:' && !isLoopback(parsed.hostname)) {
    invalid(
      `issuer.url must be https unless its host is loopback: over http anyone on the way to ${parsed.host} could ` +
        'read secrets; set issuer.url to the https address of the proxy in front',
    );
  }
  return url.replace(/\/+$/, '');
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

function invalid(message: string): never {
  throw new FleetgateError('config_invalid', message);
}
