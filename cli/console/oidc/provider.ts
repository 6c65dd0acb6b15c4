import { FleetgateError, uncheckedTls } from '@fleetgate/shared';
import type { ClientAuth, Configuration } from 'openid-client';
import type { Attempt } from './attempts.ts';

/** Of one request to the provider. */
const TIMEOUT_SECONDS = 10;

/** After so long the metadata of the provider is looked at again. */
const METADATA_MS = 3_600_000;

/** After the provider could not be reached it is left alone for so long. */
const PAUSE_MS = 5_000;

/** How far its clock may differ. */
export const CLOCK_TOLERANCE_SECONDS = 5;

export interface ProviderOptions {
  /** `iss` of its ID tokens; https, or http on a loopback host. */
  readonly issuer: string;
  readonly clientId: string;
  /** Unset: a public client, which PKCE alone protects. */
  readonly clientSecret: string | undefined;
  readonly scopes: readonly string[];
  /** Where the provider sends the browser back to, exactly. */
  readonly redirectUri: string;
}

/** Who the provider says it is: the claims of an ID token that was verified. */
export type IdentityClaims = Readonly<Record<string, unknown>> & { readonly sub: string };

/** An OpenID Connect provider, seen by its relying party. */
export interface Provider {
  /**
   * Where the browser is to go, and what its way back is to be held to.
   * @param isAnew whether who is signed in there has to prove it once more
   * @throws FleetgateError `oidc_unavailable`
   */
  begin(isAnew: boolean): Promise<{ readonly url: string; readonly secrets: Secrets }>;
  /**
   * Redeems the code that the browser has brought back and verifies the ID token: signature, `iss`, `aud`, `exp`, `nonce`.
   * @param query of the request that brought it, with its question mark
   * @throws FleetgateError `oidc_unavailable`, `oidc_refused`
   */
  finish(query: string, secrets: Secrets): Promise<IdentityClaims>;
}

type Secrets = Pick<Attempt, 'state' | 'nonce' | 'codeVerifier'>;

export function createProvider(options: ProviderOptions, now: () => number): Provider {
  let known: { readonly configuration: Promise<Configuration>; readonly untilMs: number } | undefined;

  async function configuration(): Promise<Configuration> {
    const unchecked = uncheckedTls(options.issuer);
    if (unchecked !== undefined) throw new FleetgateError('oidc_unavailable', unchecked);
    if (known !== undefined && now() < known.untilMs) return known.configuration;
    const found = discover(options);
    known = { configuration: found, untilMs: now() + METADATA_MS };
    found.catch(() => {
      known = { configuration: found, untilMs: now() + PAUSE_MS };
    });
    return found;
  }

  return {
    async begin(isAnew) {
      const client = await import('openid-client');
      try {
        const config = await configuration();
        const secrets = {
          state: client.randomState(),
          nonce: client.randomNonce(),
          codeVerifier: client.randomPKCECodeVerifier(),
        };
        const url = client.buildAuthorizationUrl(config, {
          redirect_uri: options.redirectUri,
          scope: options.scopes.join(' '),
          state: secrets.state,
          nonce: secrets.nonce,
          code_challenge: await client.calculatePKCECodeChallenge(secrets.codeVerifier),
          code_challenge_method: 'S256',
          ...(isAnew ? { prompt: 'login', max_age: '0' } : {}),
        });
        return { url: url.href, secrets };
      } catch (error) {
        throw asFault(error, 'oidc_unavailable');
      }
    },
    async finish(query, { state, nonce, codeVerifier }) {
      const client = await import('openid-client');
      try {
        const config = await configuration();
        const back = new URL(options.redirectUri);
        back.search = query;
        const tokens = await client.authorizationCodeGrant(config, back, {
          expectedState: state,
          expectedNonce: nonce,
          pkceCodeVerifier: codeVerifier,
          idTokenExpected: true,
        });
        const claims = tokens.claims();
        if (claims === undefined) throw new FleetgateError('oidc_refused', 'no ID token came');
        return claims;
      } catch (error) {
        throw asFault(error, 'oidc_refused');
      }
    },
  };
}

async function discover({ issuer, clientId, clientSecret }: ProviderOptions): Promise<Configuration> {
  const client = await import('openid-client');
  const server = new URL(issuer);
  const isPlain = server.protocol === 'http:';
  const config = await client.discovery(
    server,
    clientId,
    { [client.clockTolerance]: CLOCK_TOLERANCE_SECONDS },
    clientSecret === undefined
      ? client.None()
      : bySecret(client.ClientSecretBasic(clientSecret), client.ClientSecretPost(clientSecret)),
    {
      timeout: TIMEOUT_SECONDS,
      // An ID token that came over TLS is verified all the same.
      execute: [client.enableNonRepudiationChecks, ...(isPlain ? [client.allowInsecureRequests] : [])],
    },
  );
  const { authorization_endpoint: endpoint } = config.serverMetadata();
  const { protocol } = new URL(endpoint ?? 'none:');
  if (protocol !== 'https:' && !(isPlain && protocol === 'http:')) {
    throw new FleetgateError('oidc_unavailable', 'its metadata names no https authorization_endpoint');
  }
  return config;
}

/** As the provider takes it; RFC 8414 §2: without a word by Basic. */
function bySecret(basic: ClientAuth, post: ClientAuth): ClientAuth {
  return (server, ...rest) => {
    const methods = server.token_endpoint_auth_methods_supported;
    return (methods?.includes('client_secret_basic') === false ? post : basic)(server, ...rest);
  };
}

/** Codes of the library that say that there was no answer, or none of use. */
const unavailable: ReadonlySet<unknown> = new Set(['OAUTH_TIMEOUT', 'OAUTH_RESPONSE_IS_NOT_CONFORM']);

/** A code and no more: what the library attaches to its errors holds answers, and with them codes and tokens. */
function asFault(error: unknown, otherwise: 'oidc_unavailable' | 'oidc_refused'): FleetgateError {
  if (error instanceof FleetgateError) return error;
  const { code, error: said, name, cause } = error as Record<string, unknown>;
  const inner = typeof cause === 'object' && cause !== null ? (cause as { code?: unknown }).code : undefined;
  const isAway = error instanceof TypeError || unavailable.has(code);
  const words = [said, code, inner, name].filter(
    (one) => typeof one === 'string' && /^[\w.-]{1,64}$/.test(one),
  );
  return new FleetgateError(isAway ? 'oidc_unavailable' : otherwise, words.join(', '));
}
