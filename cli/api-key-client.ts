/** An API key as `/v1/api-keys` shows it; `api_key` only in the answers to its creation and rotation. */
export interface ApiKeyView {
  name: string;
  role: string;
  created_at: string;
  rotated_at: string;
  expires_at?: string;
  previous_until?: string;
  last_used_at?: string;
  api_key?: string;
}

/** What `POST /v1/api-keys` takes; `expires_at` in seconds since 1970. */
export interface NewApiKey {
  name: string;
  role: string;
  expires_at?: number;
}

/** What `POST /v1/api-keys/{name}/rotate` takes. */
export interface ApiKeyRotation {
  expires_at?: number;
  overlap_seconds?: number;
}

/** The part of the admin API that is about API keys. */
export interface ApiKeyClient {
  createApiKey(key: NewApiKey): Promise<ApiKeyView>;
  listApiKeys(): Promise<ApiKeyView[]>;
  rotateApiKey(name: string, rotation: ApiKeyRotation): Promise<ApiKeyView>;
  /** Whether there was such a key. */
  deleteApiKey(name: string): Promise<boolean>;
}

/** @param call one request of the admin API, refused as it says; unset for a 404 with the code `absent` */
export function apiKeyClient(
  call: (method: string, path: string, body?: unknown, absent?: string) => Promise<unknown>,
): ApiKeyClient {
  const pathOf = (name: string) => `/v1/api-keys/${encodeURIComponent(name)}`;
  return {
    createApiKey: async (key) => (await call('POST', '/v1/api-keys', key)) as ApiKeyView,
    listApiKeys: async () => ((await call('GET', '/v1/api-keys')) as { api_keys: ApiKeyView[] }).api_keys,
    rotateApiKey: async (name, rotation) =>
      (await call('POST', `${pathOf(name)}/rotate`, rotation)) as ApiKeyView,
    deleteApiKey: async (name) =>
      (await call('DELETE', pathOf(name), undefined, 'api_key_unknown')) !== undefined,
  };
}
