import type { IssuerFixture, RegisteredClient } from './issuer-fixture.ts';

/** One app of an issuer: the calls of {@link IssuerFixture}, at the app and with its key. */
export interface AppFixture extends Pick<IssuerFixture, 'call' | 'register' | 'requestToken' | 'tokenFor'> {
  /** `iss`. */
  readonly url: string;
  readonly adminKey: string;
  /** Another API key of the app. */
  apiKey(name: string, role: 'admin' | 'provisioner' | 'auditor'): Promise<string>;
  /** An access token of a client that is registered for it. */
  token(client?: Record<string, unknown>): Promise<string>;
}

/** Makes an app. */
export async function createApp(fixture: IssuerFixture, appId: string): Promise<AppFixture> {
  const answer = await fixture.call('POST', '/v1/apps', { app_id: appId });
  if (answer.status !== 201) throw new Error(`app not created: ${await answer.text()}`);
  const { issuer, admin_key } = (await answer.json()) as { issuer: string; admin_key: string };
  return appAt(fixture, `/appid-${appId}`, issuer, admin_key);
}

/** The default app, as one among others. */
export function defaultApp(fixture: IssuerFixture, adminKey: string): AppFixture {
  return appAt(fixture, '', fixture.issuer.url, adminKey);
}

function appAt(fixture: IssuerFixture, prefix: string, url: string, adminKey: string): AppFixture {
  const call: AppFixture['call'] = (method, path, body, headers = { 'api-key': adminKey }) =>
    fixture.call(method, `${prefix}${path}`, body, headers);
  const requestToken: AppFixture['requestToken'] = (body, headers = {}) =>
    fetch(`${url}/oauth/token`, {
      method: 'POST',
      headers,
      body: typeof body === 'string' ? body : new URLSearchParams(body),
    });
  const register: AppFixture['register'] = async (client) => {
    const answer = await call('POST', '/v1/clients', client);
    if (answer.status !== 201) throw new Error(`client not created: ${await answer.text()}`);
    return (await answer.json()) as RegisteredClient;
  };
  const tokenFor: AppFixture['tokenFor'] = ({ client_id, client_secret }, more = {}) =>
    requestToken({ grant_type: 'client_credentials', client_id, client_secret, ...more });
  return {
    url,
    adminKey,
    call,
    register,
    requestToken,
    tokenFor,
    async apiKey(name, role) {
      const answer = await call('POST', '/v1/api-keys', { name, role });
      return ((await answer.json()) as { api_key: string }).api_key;
    },
    async token(client = {}) {
      const answer = await tokenFor(await register(client));
      return ((await answer.json()) as { access_token: string }).access_token;
    },
  };
}
