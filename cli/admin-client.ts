import { FleetgateError } from '@fleetgate/shared';

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

/** The admin API as the fleet commands use it. Every method throws FleetgateError with what to do about it. */
export interface AdminClient {
  createClient(client: NewClient): Promise<ClientView>;
  listClients(query: { limit?: number; cursor?: string }): Promise<ClientPage>;
  getClient(clientId: string): Promise<ClientView>;
  /** Whether there was such a client. */
  deleteClient(clientId: string): Promise<boolean>;
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

function refused(base: string, status: number, text: string): never {
  const hint =
    status === 401
      ? `; ${base} does not take this admin key: check --admin-key-file`
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
