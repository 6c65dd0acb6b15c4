import { type JsonWebKeySet, ownTurn } from '@fleetgate/shared';
import { type ApiKeys, openApiKeys } from './api-keys.ts';
import type { AuditEvent } from './audit.ts';
import { keepAudit } from './audit-retention.ts';
import type { AuditPage, AuditQuery } from './audit-trail.ts';
import { type BearerAccess, bearerAccess } from './bearer.ts';
import { openClientKeys } from './client-auth/client-keys.ts';
import { type ClientChanges, openClientChanges } from './client-changes.ts';
import { type ClientSecrets, openClientSecrets } from './client-secrets.ts';
import { type Clients, openClients } from './clients.ts';
import { type DeviceContexts, deviceContexts } from './coap/contexts.ts';
import { type Campaigns, openCampaigns } from './fleet/campaigns.ts';
import type { EnrollCall } from './fleet/device-identity.ts';
import { type Enrolled, enroller } from './fleet/enroll.ts';
import { enrollmentHook } from './fleet/enrollment-hook.ts';
import { type Enrollments, openEnrollments } from './fleet/enrollments.ts';
import { openProvisioning, type Provisioning } from './fleet/provisioning.ts';
import { openSelectedClients, type SelectedClientActs } from './fleet/selected-clients.ts';
import { openTemplates, type Templates } from './fleet/templates.ts';
import { type TokenIntrospector, tokenIntrospector } from './introspect-token.ts';
import { type TokenIssuer, tokenIssuer } from './issue.ts';
import { type KeyAdministration, keyAdministration } from './keys/key-administration.ts';
import { type KeyEncryption, openKeyEncryption } from './keys/key-encryption.ts';
import { openSigningKeys } from './keys/signing-keys.ts';
import { limitRequests } from './limited-requests.ts';
import { type AppFigures, observeRequests } from './observer.ts';
import type { ResolvedOptions } from './options.ts';
import { contextVault, noContexts } from './oscore-context.ts';
import { ownTokens } from './own-token.ts';
import { openRegistry } from './registry/open-registry.ts';
import { createRequestRate } from './request-rate.ts';
import { openRevocationFeed, type RevocationFeed } from './revocation-feed.ts';
import { openRevocations, type Revocations } from './revocations.ts';
import { type TokenRevoker, tokenRevoker } from './revoke-token.ts';
import { traceRequests } from './spans.ts';

/** The issuer without any listener: what every transport in front of it calls. */
export interface Issuer extends TokenIssuer, TokenRevoker, TokenIntrospector {
  readonly clients: Clients;
  readonly clientChanges: ClientChanges;
  readonly secrets: ClientSecrets;
  readonly selectedClients: SelectedClientActs;
  readonly templates: Templates;
  readonly provisioning: Provisioning;
  readonly campaigns: Campaigns;
  readonly enrollments: Enrollments;
  /** Gives a device its identity; see `enroller`. */
  enroll(call: EnrollCall): Promise<Enrolled>;
  readonly apiKeys: ApiKeys;
  /** What devices are known by over CoAP. */
  readonly deviceContexts: DeviceContexts;
  readonly revocations: Revocations;
  readonly signingKeys: KeyAdministration;
  readonly revocationFeed: RevocationFeed;
  /** Access to what the issuer itself serves. */
  readonly access: BearerAccess;
  readonly defaultAudience: readonly string[];
  /** The time of its acts, in milliseconds since 1970. */
  now(): number;
  /** `iss`. */
  url(): string;
  /** `coap://…/token`; unset where none is served. */
  coapTokenEndpoint(): string | undefined;
  /** All public keys as they were read last. */
  jwks(): JsonWebKeySet;
  /** All public keys, also those another process on this database has made meanwhile. */
  currentJwks(): Promise<JsonWebKeySet>;
  /** Records what was done to apps. */
  recordEvent(event: AuditEvent): Promise<void>;
  /** What was done, by whom. */
  searchAudit(query: AuditQuery): Promise<AuditPage>;
  /** Whether the registry can be read and written. */
  isReady(): Promise<boolean>;
  /** For metrics. Never rejects. */
  figures(): Promise<AppFigures>;
  /** Finishes the acts that wait and closes the registry. */
  close(): Promise<void>;
}

/**
 * Opens registry and keys. `issuerUrl` is asked when a token is issued: a listener on port 0 knows its own late.
 * @throws FleetgateError `registry_unavailable`, `registry_schema_newer`, `key_file_invalid`
 */
export async function openIssuer(
  options: Omit<ResolvedOptions, 'http' | 'url' | 'revocationFeed' | 'appsDirectory'>,
  issuerUrl: () => string,
  coapTokenEndpoint: () => string | undefined = () => undefined,
): Promise<Issuer> {
  const { database, keyEncryptionKey, defaultAudience, log, now } = options;
  const registry = await openRegistry(database);
  try {
    const policy = options.keyRotation;
    let contexts = noContexts;
    let keyEncryption: KeyEncryption | undefined;
    const keys = await openSigningKeys({
      registry,
      openEncryption: (isNeeded) => {
        const encryption = openKeyEncryption(keyEncryptionKey, isNeeded);
        if (options.coap !== undefined) contexts = contextVault(encryption);
        keyEncryption = encryption;
        return encryption;
      },
      algorithm: options.signingAlgorithm,
      policy,
      now,
      log,
    });
    const retention = keepAudit({ trail: registry, retentionDays: options.auditRetentionDays, now, log });
    const revocationFeed = openRevocationFeed({ registry, now, log });
    const onRevoked = () => revocationFeed.wake();
    const signingKeys = keyAdministration({ keys, registry, policy, now, onRevoked });
    const tokens = ownTokens({ keys, issuerUrl, now });
    const clientAuth = { registry, clientKeys: openClientKeys({ log }), issuerUrl, now };
    const acts = {
      ...tokenIssuer({
        ...{ registry, clientAuth, keys, issuerUrl, now, log },
        grants: options,
        targets: options.tokenTargets,
      }),
      ...tokenIntrospector({ registry, clientAuth, tokens, grants: options, now, log }),
      ...tokenRevoker({ registry, clientAuth, tokens, now, log, onRevoked }),
    };
    const monotonicMs = () => performance.now();
    const rate = createRequestRate(options.limits, monotonicMs);
    const limited = limitRequests(acts, { rate, trail: registry, now, monotonicMs, log });
    const { observer } = options;
    const registrations = { ...options, contexts };
    const clients = openClients(registry, now, onRevoked, registrations);
    const clientChanges = openClientChanges(registry, now, onRevoked, options);
    const revocations = openRevocations(registry, now, onRevoked, signingKeys);
    const templates = openTemplates(registry, now, options);
    const encryption = keyEncryption as KeyEncryption;
    const hook = options.enrollmentHook && enrollmentHook(options.enrollmentHook, log);
    return {
      ...traceRequests(observer === undefined ? limited : observeRequests(limited, observer, monotonicMs)),
      clients,
      clientChanges,
      selectedClients: openSelectedClients(registry, now, clients, clientChanges, revocations),
      templates,
      provisioning: openProvisioning(registry, templates, now, registrations),
      campaigns: openCampaigns(registry, now, contexts),
      enrollments: openEnrollments(registry, templates, encryption, now, options),
      enroll: enroller({ registry, templates, encryption, registrations, issuerUrl, hook, now, monotonicMs }),
      secrets: openClientSecrets(registry, now, onRevoked, contexts),
      deviceContexts: deviceContexts(registry, contexts, encryption, now),
      apiKeys: openApiKeys(registry, now),
      revocations,
      signingKeys,
      revocationFeed,
      access: bearerAccess(tokens, registry),
      defaultAudience,
      now,
      url: issuerUrl,
      coapTokenEndpoint,
      jwks: () => keys.jwks(),
      currentJwks: async () => {
        await keys.reload();
        return keys.jwks();
      },
      recordEvent: (event) => registry.recordEvent(event),
      async searchAudit(query) {
        await ownTurn();
        return registry.searchEvents(query);
      },
      isReady: () => registry.isAvailable(),
      figures: async () => ({
        load: registry.load(),
        feedReaders: revocationFeed.readers(),
        isReady: await registry.isAvailable(),
        keys: await signingKeys.list().catch(() => undefined),
        counts: await registry.counts().catch(() => undefined),
      }),
      async close() {
        await keys.close();
        retention.close();
        await revocationFeed.close();
        await registry.close();
      },
    };
  } catch (error) {
    await registry.close();
    throw error;
  }
}
