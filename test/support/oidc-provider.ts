import type { Server } from 'node:http';

/** An OpenID Connect provider as there are many, with a page where anybody signs in by their name. */
export interface RunningOidcProvider {
  readonly issuer: string;
  close(): Promise<void>;
}

export interface OidcClient {
  readonly clientId: string;
  readonly clientSecret: string;
  readonly redirectUri: string;
  /** The claim `roles` of somebody. */
  readonly rolesOf: (name: string) => readonly string[];
}

/** On localhost, which is another site than 127.0.0.1 to a browser. */
export async function startOidcProvider(port: number, client: OidcClient): Promise<RunningOidcProvider> {
  const { Provider } = await import('oidc-provider');
  const issuer = `http://localhost:${port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: client.clientId,
        client_secret: client.clientSecret,
        redirect_uris: [client.redirectUri],
        response_types: ['code'],
        grant_types: ['authorization_code'],
      },
    ],
    claims: { openid: ['sub', 'roles', 'preferred_username'] },
    conformIdTokenClaims: false,
    cookies: { keys: ['a key of a test'] },
    findAccount: (_context: unknown, name: string) => ({
      accountId: name,
      claims: async () => ({
        sub: name,
        roles: client.rolesOf(name),
        preferred_username: `${name} of the shift`,
      }),
    }),
  });
  const server = await new Promise<Server>((listening) => {
    const made = provider.listen(port, 'localhost', () => listening(made));
  });
  return {
    issuer,
    close: () =>
      new Promise<void>((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };
}
