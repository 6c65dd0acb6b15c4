import type { ShownCredential } from './commands/credential.ts';

/** What `POST /v1/clients/{client_id}/secrets` takes. Times in seconds since 1970. */
export interface Rotation {
  overlap_seconds?: number;
  until_new_is_used?: boolean;
  expires_at?: number;
  revoke_tokens?: boolean;
}

/** A secret as the admin API shows it; never the secret itself. */
export interface SecretView {
  /** Only in a list of many clients. */
  client_id?: string;
  secret_id: string;
  state: 'live' | 'ended';
  created_at: string;
  expires_at?: string;
  first_used_at?: string;
  last_used_on?: string;
  until_new_is_used?: boolean;
}

/** The answer to a rotation. */
export interface RotatedSecretView extends SecretView, ShownCredential {
  client_id: string;
  old_secret_id?: string;
  /** `null`: no end is set. */
  old_secret_expires_at?: string | null;
  old_secret_until_new_is_used?: boolean;
}

export interface SecretPage {
  secrets: SecretView[];
  next_cursor?: string | null;
}

export interface SecretQuery {
  state: 'never_used' | 'expiring';
  within_seconds?: number;
  limit?: number;
  cursor?: string;
}

/** The part of the admin API that is about secrets. Throws `client_unknown` and what the API refuses with. */
export interface SecretClient {
  rotateSecret(clientId: string, rotation: Rotation): Promise<RotatedSecretView>;
  /** From old to new. */
  secretsOf(clientId: string): Promise<SecretView[]>;
  endSecret(clientId: string, secretId: string): Promise<void>;
  listSecrets(query: SecretQuery): Promise<SecretPage>;
}

/** @param call one request of the admin API, refused as it says */
export function secretClient(
  call: (method: string, path: string, body?: unknown) => Promise<unknown>,
): SecretClient {
  const pathOf = (clientId: string) => `/v1/clients/${encodeURIComponent(clientId)}/secrets`;
  return {
    rotateSecret: async (clientId, rotation) =>
      (await call('POST', pathOf(clientId), rotation)) as RotatedSecretView,
    secretsOf: async (clientId) =>
      ((await call('GET', pathOf(clientId))) as { secrets: SecretView[] }).secrets,
    endSecret: async (clientId, secretId) => {
      await call('DELETE', `${pathOf(clientId)}/${encodeURIComponent(secretId)}`);
    },
    listSecrets: async (query) => {
      const text = new URLSearchParams();
      for (const [name, value] of Object.entries(query)) {
        if (value !== undefined) text.set(name, String(value));
      }
      return (await call('GET', `/v1/secrets?${text}`)) as SecretPage;
    },
  };
}
