import { FleetgateError, type Revocation } from '@fleetgate/shared';
import type { AuditEventView } from './commands/audit-source.ts';
import { type SecretClient, secretClient } from './secret-client.ts';

/** Milliseconds an admin request may take. Ours: the API answers in milliseconds, so a longer wait is a fault. */
const REQUEST_TIMEOUT_MS = 30_000;

/** A registered client as `/v1/clients` shows it; `client_secret` only in the answer to its creation. */
export interface ClientView {
  client_id: string;
  name?: string | null;
  scope: string;
  audience: string[];
  auth_method: string;
  group?: string | null;
  labels?: Record<string, string>;
  metadata?: Record<string, unknown>;
  token_lifetime_seconds?: number | null;
  created_at: string;
  updated_at?: string;
  client_secret?: string;
}

export interface NewClient {
  client_id?: string;
  name?: string;
  scope?: string;
  audience?: string[];
  auth_method?: string;
  group?: string;
  labels?: Record<string, string>;
  token_lifetime_seconds?: number;
}

export interface ClientPage {
  clients: ClientView[];
  next_cursor?: string | null;
}

/** What `POST /v1/revocations` takes; `at` in seconds since 1970 or RFC 3339. */
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
export interface AdminClient extends SecretClient {
  createClient(client: NewClient): Promise<ClientView>;
  listClients(query: { limit?: number; cursor?: string }): Promise<ClientPage>;
  getClient(clientId: string): Promise<ClientView>;
  /** Whether there was such a client. */
  deleteClient(clientId: string): Promise<boolean>;
  /**
   * The revocation, and whether it was made by this; `false` when one that takes back as much was there already.
   * Throws `client_unknown` and `key_unknown` as well.
   */
  revoke(revocation: NewRevocation): Promise<{ revocation: RevocationView; isNew: boolean }>;
  listRevocations(query: { limit?: number; cursor?: string }): Promise<RevocationPage>;
  createApp(appId: string): Promise<AppView>;
  listApps(): Promise<AppView[]>;
  /** Whether there was such an app. */
  deleteApp(appId: string): Promise<boolean>;
  /** Events of the audit trail; `query` as `GET /v1/audit` takes it. */
  listEvents(query: Readonly<Record<string, string>>): Promise<AuditEventPage>;
  /** The issuer's URL, `iss` of its tokens. */
  issuerUrl(): Promise<string>;
}

/** An {@link AdminClient} for the admin listener at `url`, authenticated by the API key. */
export function adminClient(url: string, adminKey: string): AdminClient {
  const base = url.replace(/\/+$/, '');

  async function send(method: string, path: string, body?: unknown): Promise<Answer> {
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

  async function call(method: string, path: string, body?: unknown): Promise<unknown> {
    const { status, text } = await send(method, path, body);
    if (status >= 400) refused(base, status, text);
    return text === '' ? undefined : JSON.parse(text);
  }

  return {
    ...secretClient(call),
    createClient: async (client) => (await call('POST', '/v1/clients', client)) as ClientView,
    listClients: async ({ limit, cursor }) => {
      const query = new URLSearchParams();
      if (limit !== undefined) query.set('limit', String(limit));
      if (cursor !== undefined) query.set('cursor', cursor);
      return (await call('GET', `/v1/clients?${query}`)) as ClientPage;
    },
    getClient: async (clientId) => {
      const { status, text } = await send('GET', `/v1/clients/${encodeURIComponent(clientId)}`);
      if (isUnknownClient(status, text)) {
        throw new FleetgateError(
          'client_unknown',
          `no client '${clientId}' is registered; 'fleetgate client list' shows those that are`,
        );
      }
      if (status >= 400) refused(base, status, text);
      return JSON.parse(text) as ClientView;
    },
    deleteClient: async (clientId) => {
      const { status, text } = await send('DELETE', `/v1/clients/${encodeURIComponent(clientId)}`);
      if (isUnknownClient(status, text)) return false;
      if (status >= 400) refused(base, status, text);
      return true;
    },
    revoke: async (revocation) => {
      const { status, text } = await send('POST', '/v1/revocations', revocation);
      if (['client_unknown', 'key_unknown'].includes(String(codeOf(text)))) notFound(text);
      if (status >= 400) refused(base, status, text);
      return { revocation: JSON.parse(text) as RevocationView, isNew: status === 201 };
    },
    listRevocations: async ({ limit, cursor }) => {
      const query = new URLSearchParams();
      if (limit !== undefined) query.set('limit', String(limit));
      if (cursor !== undefined) query.set('cursor', cursor);
      return (await call('GET', `/v1/revocations?${query}`)) as RevocationPage;
    },
    createApp: async (appId) => (await call('POST', '/v1/apps', { app_id: appId })) as AppView,
    listApps: async () => ((await call('GET', '/v1/apps')) as { apps: AppView[] }).apps,
    deleteApp: async (appId) => {
      const { status, text } = await send('DELETE', `/v1/apps/${encodeURIComponent(appId)}`);
      if (status === 404 && codeOf(text) === 'app_unknown') return false;
      if (status >= 400) refused(base, status, text);
      return true;
    },
    listEvents: async (query) =>
      (await call('GET', `/v1/audit?${new URLSearchParams(query)}`)) as AuditEventPage,
    issuerUrl: async () => ((await call('GET', '/v1/issuer')) as { issuer: string }).issuer,
  };
}

interface Answer {
  status: number;
  text: string;
}

function unreachable(base: string, error: unknown): never {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  const detail =
    cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : String(cause);
  throw new FleetgateError(
    'registry_unavailable',
    `no admin API answers at ${base} (${detail}); start one with 'fleetgate up', or name it with --admin-url`,
  );
}

function notFound(text: string): never {
  const code = /"error":"key_unknown"/.test(text) ? 'key_unknown' : 'client_unknown';
  throw new FleetgateError(code, describe(text) ?? 'there is no such client or key');
}

function refused(base: string, status: number, text: string): never {
  const hint = ['secret_unknown', 'secret_limit_reached'].includes(String(codeOf(text)))
    ? ''
    : status === 401
      ? `; ${base} does not take this admin key: check --admin-key-file`
      : codeOf(text) === 'app_unknown'
        ? "; 'fleetgate app list' shows those there are"
        : status === 404 && codeOf(text) !== 'client_unknown'
          ? `; ${base} is no admin API: it has a listener of its own, the 'admin' of the ready line; name that with --admin-url`
          : codeOf(text) === 'registry_conflict'
            ? "; choose another --id, or delete it first with 'fleetgate client delete'"
            : '';
  throw new FleetgateError('invalid_request', `${describe(text) ?? `HTTP ${status}`}${hint}`);
}

function isUnknownClient(status: number, text: string): boolean {
  return status === 404 && codeOf(text) === 'client_unknown';
}

function describe(text: string): string | undefined {
  try {
    const { error_description, error } = JSON.parse(text) as Record<string, unknown>;
    return String(error_description ?? error);
  } catch {
    return undefined;
  }
}

function codeOf(text: string): unknown {
  try {
    return (JSON.parse(text) as Record<string, unknown>)['error'];
  } catch {
    return undefined;
  }
}
