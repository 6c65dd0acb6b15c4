import { FleetgateError, type Revocation, uncheckedTls } from '@fleetgate/shared';
import { codeOf, notFound, refused, unreachable } from './admin-answers.ts';
import { type ApiKeyClient, apiKeyClient } from './api-key-client.ts';
import type { AuditEventView } from './commands/audit-source.ts';
import type { ShownCredential } from './commands/credential.ts';
import { type FleetClient, fleetClient } from './fleet-client.ts';
import { type SecretClient, secretClient } from './secret-client.ts';

/** Milliseconds an admin request may take. Ours: the API answers in milliseconds, so a longer wait is a fault. */
const REQUEST_TIMEOUT_MS = 30_000;

/** A registered client as `/v1/clients` shows it; what it proves itself by only in the answer to its creation. */
export interface ClientView extends ShownCredential {
  client_id: string;
  name?: string | null;
  scope: string;
  audience: string[];
  auth_method: string;
  group?: string | null;
  labels?: Record<string, string>;
  metadata?: Record<string, unknown>;
  token_lifetime_seconds?: number | null;
  state?: 'active' | 'quarantined';
  quarantined_at?: string;
  quarantine_reason?: string;
  template?: string;
  template_version?: number;
  job?: string;
  enrollment?: string;
  created_at: string;
  updated_at?: string;
  /** The day of its last token, or the day before. */
  last_seen_on?: string;
  secret_expires_at?: string;
}

export interface NewClient {
  client_id?: string;
  name?: string;
  scope?: string;
  audience?: string[];
  auth_method?: string;
  jwks?: { keys: Record<string, unknown>[] };
  jwks_uri?: string;
  tls_client_auth_subject_dn?: string;
  tls_client_auth_san_dns?: string;
  tls_client_auth_san_uri?: string;
  tls_client_auth_san_ip?: string;
  tls_client_auth_san_email?: string;
  group?: string;
  labels?: Record<string, string>;
  token_lifetime_seconds?: number;
}

/** A merge patch (RFC 7396) on what is registered: null takes a field back to its default. */
export interface ClientPatch {
  name?: string | null;
  scope?: string | null;
  audience?: string[] | null;
  auth_method?: string | null;
  group?: string | null;
  labels?: Record<string, string | null> | null;
  metadata?: Record<string, unknown> | null;
  token_lifetime_seconds?: number | null;
}

export interface ClientFilter {
  group?: string;
  /** `name=value`. */
  label?: string;
  state?: string;
  /** As `group=plant-7,hw!=rev-a`; without the others. */
  selector?: string;
}

export interface ClientPage {
  clients: ClientView[];
  next_cursor?: string | null;
}

/** What `POST /v1/revocations` takes; `at` is `now`, seconds since 1970 or RFC 3339. */
export type NewRevocation =
  | { kind: 'token'; jti: string }
  | { kind: 'client'; client_id: string }
  | { kind: 'issued_before'; client_id?: string; at: number | string }
  | { kind: 'key'; kid: string };

/** A revocation as `/v1/revocations` shows it. */
export type RevocationView = Revocation & { created_at: string };

export interface RevocationPage {
  revocations: RevocationView[];
  next_cursor?: string | null;
}

/** A signing key as `/v1/keys` shows it; times in RFC 3339. */
export interface SigningKeyView {
  kid: string;
  algorithm: string;
  state: string;
  created_at: string;
  activates_at?: string;
  activated_at?: string;
  retired_at?: string;
  published_until?: string;
}

/** An app as `/v1/apps` shows it; `admin_key` only in the answer to its creation. */
export interface AppView {
  app_id: string;
  issuer: string;
  admin_key?: string;
}

/** A page of `/v1/audit`. */
export interface AuditEventPage {
  events: AuditEventView[];
  next_cursor?: string;
}

/** The admin API as the fleet commands use it. Every method throws FleetgateError with what to do about it. */
export interface AdminClient extends ApiKeyClient, SecretClient, FleetClient {
  createClient(client: NewClient): Promise<ClientView>;
  listClients(query: ClientFilter & { limit?: number; cursor?: string }): Promise<ClientPage>;
  getClient(clientId: string): Promise<ClientView>;
  updateClient(
    clientId: string,
    patch: ClientPatch,
    options?: { revokeTokens?: boolean },
  ): Promise<ClientView>;
  quarantineClient(clientId: string, reason: string): Promise<ClientView>;
  releaseClient(clientId: string): Promise<ClientView>;
  /** Whether there was such a client. */
  deleteClient(clientId: string): Promise<boolean>;
  /**
   * The revocation, and whether it was made by this; `false` when one that takes back as much was there already.
   * Throws `client_unknown` and `key_unknown` as well.
   */
  revoke(revocation: NewRevocation): Promise<{ revocation: RevocationView; isNew: boolean }>;
  listRevocations(query: { limit?: number; cursor?: string }): Promise<RevocationPage>;
  /** The one that signs, the next one, then the retired. */
  listKeys(): Promise<SigningKeyView[]>;
  /** All keys afterwards, and whether another signs now; else it does when verifiers have it. */
  rotateKeys(isImmediate: boolean): Promise<{ keys: SigningKeyView[]; isDone: boolean }>;
  /** All keys afterwards, and whether it was so before. Throws `key_unknown` as well. */
  retireKey(kid: string, isCompromised: boolean): Promise<{ keys: SigningKeyView[]; isRepeated: boolean }>;
  createApp(appId: string): Promise<AppView>;
  listApps(): Promise<AppView[]>;
  /** Whether there was such an app. */
  deleteApp(appId: string): Promise<boolean>;
  /** Events of the audit trail; `query` as `GET /v1/audit` takes it. */
  listEvents(query: Readonly<Record<string, string>>): Promise<AuditEventPage>;
  /** The issuer's URL, `iss` of its tokens. */
  issuerUrl(): Promise<string>;
  /** Where devices ask over CoAP; unset where it is not served. */
  coapTokenEndpoint(): Promise<string | undefined>;
}

/**
 * An {@link AdminClient} for the admin listener at `url`, authenticated by the API key. `keyHint` says what to do where
 * the key is not taken; default: to look at the key file.
 */
export function adminClient(url: string, adminKey: string, keyHint = 'check --admin-key-file'): AdminClient {
  const base = url.replace(/\/+$/, '');

  async function send(method: string, path: string, body?: unknown): Promise<Answer> {
    const unchecked = uncheckedTls(base);
    if (unchecked !== undefined) unreachable(base, new Error(unchecked));
    const response = await fetch(`${base}${path}`, {
      method,
      headers: {
        'api-key': adminKey,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      redirect: 'error',
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }).catch((error: unknown) => unreachable(base, error));
    const text = await response.text();
    return { status: response.status, text };
  }

  /** The answer, `null` for one without a body; unset where the error is `absent`, which the caller expects. */
  async function call(method: string, path: string, body?: unknown, absent?: string): Promise<unknown> {
    const { status, text } = await send(method, path, body);
    if (absent !== undefined && codeOf(text) === absent) return undefined;
    if (status >= 400) refused(base, status, text, keyHint);
    return text === '' ? null : JSON.parse(text);
  }

  const issuer = async () =>
    (await call('GET', '/v1/issuer')) as { issuer: string; coap_token_endpoint?: string };

  /** An act on one client. */
  async function callClient(
    method: string,
    clientId: string,
    more: string,
    body?: unknown,
  ): Promise<ClientView> {
    const path = `/v1/clients/${encodeURIComponent(clientId)}${more}`;
    const client = await call(method, path, body, 'client_unknown');
    if (client !== undefined) return client as ClientView;
    throw new FleetgateError(
      'client_unknown',
      `no client '${clientId}' is registered; 'fleetgate client list' shows those that are`,
    );
  }

  return {
    ...apiKeyClient(call),
    ...secretClient(call),
    ...fleetClient(call),
    createClient: async (client) => {
      const created = await call('POST', '/v1/clients', client, 'registry_conflict');
      if (created !== undefined) return created as ClientView;
      throw new FleetgateError(
        'registry_conflict',
        `client '${client.client_id}' is registered already; choose another --id, change it with ` +
          "'fleetgate client update', or delete it first with 'fleetgate client delete'",
      );
    },
    listClients: async (query) => {
      const text = new URLSearchParams();
      for (const [name, value] of Object.entries(query)) {
        if (value !== undefined) text.set(name, String(value));
      }
      return (await call('GET', `/v1/clients?${text}`)) as ClientPage;
    },
    getClient: (clientId) => callClient('GET', clientId, ''),
    updateClient: (clientId, patch, { revokeTokens = false } = {}) =>
      callClient('PATCH', clientId, revokeTokens ? '?revoke_tokens=true' : '', patch),
    quarantineClient: (clientId, reason) => callClient('POST', clientId, '/quarantine', { reason }),
    releaseClient: (clientId) => callClient('POST', clientId, '/release'),
    deleteClient: async (clientId) =>
      (await call('DELETE', `/v1/clients/${encodeURIComponent(clientId)}`, undefined, 'client_unknown')) !==
      undefined,
    revoke: async (revocation) => {
      const { status, text } = await send('POST', '/v1/revocations', revocation);
      if (['client_unknown', 'key_unknown'].includes(String(codeOf(text)))) notFound(text);
      if (status >= 400) refused(base, status, text, keyHint);
      return { revocation: JSON.parse(text) as RevocationView, isNew: status === 201 };
    },
    listRevocations: async ({ limit, cursor }) => {
      const query = new URLSearchParams();
      if (limit !== undefined) query.set('limit', String(limit));
      if (cursor !== undefined) query.set('cursor', cursor);
      return (await call('GET', `/v1/revocations?${query}`)) as RevocationPage;
    },
    listKeys: async () => ((await call('GET', '/v1/keys')) as { keys: SigningKeyView[] }).keys,
    rotateKeys: async (isImmediate) => {
      const { status, text } = await send('POST', '/v1/keys/rotate', { now: isImmediate });
      if (status >= 400) refused(base, status, text, keyHint);
      return { ...(JSON.parse(text) as { keys: SigningKeyView[] }), isDone: status === 200 };
    },
    retireKey: async (kid, isCompromised) => {
      const path = `/v1/keys/${encodeURIComponent(kid)}/retire`;
      const { status, text } = await send('POST', path, { compromised: isCompromised });
      if (codeOf(text) === 'key_unknown') notFound(text);
      if (status >= 400) refused(base, status, text, keyHint);
      const { keys, repeated } = JSON.parse(text) as { keys: SigningKeyView[]; repeated: boolean };
      return { keys, isRepeated: repeated };
    },
    createApp: async (appId) => (await call('POST', '/v1/apps', { app_id: appId })) as AppView,
    listApps: async () => ((await call('GET', '/v1/apps')) as { apps: AppView[] }).apps,
    deleteApp: async (appId) =>
      (await call('DELETE', `/v1/apps/${encodeURIComponent(appId)}`, undefined, 'app_unknown')) !== undefined,
    listEvents: async (query) =>
      (await call('GET', `/v1/audit?${new URLSearchParams(query)}`)) as AuditEventPage,
    issuerUrl: async () => (await issuer()).issuer,
    coapTokenEndpoint: async () => (await issuer()).coap_token_endpoint,
  };
}

interface Answer {
  status: number;
  text: string;
}
