import {
  type Credentials,
  FleetgateError,
  isLoopback,
  OAuthError,
  type TokenResponse,
} from '@fleetgate/shared';
import { type ClientProof, clientAuthentication } from './client-auth.ts';
import { exchange } from './exchange.ts';
import { isJson, parseObject, processTokenAnswer } from './token-response.ts';
import type { TokenRequest, TokenTransport } from './token-transport.ts';

export interface HttpTransportOptions {
  /** Time for one exchange, discovery and body included, in milliseconds. Default 10 000. */
  timeoutMs?: number;
}

/**
 * Fetches tokens over HTTP with the client credentials grant (RFC 6749 §4.4); the device proves itself by a secret, a
 * key or a certificate. Without `token_endpoint` in the credentials the issuer's metadata names it (RFC 8414), and is
 * asked again after a failure. A redirect is an error: the proof is not sent again elsewhere. Addresses must be https
 * unless they are loopback, and always with a certificate.
 * @throws FleetgateError `not_supported` for another authentication method, `credentials_invalid` for an http address
 * or a key that cannot sign
 */
export function httpTransport(credentials: Credentials, options: HttpTransportOptions = {}): TokenTransport {
  const { timeoutMs = 10_000 } = options;
  const prove = clientAuthentication(credentials);
  const isByCertificate = credentials.auth.method === 'tls_client_auth';
  requireSecure(credentials.issuer, 'issuer', 'credentials_invalid', isByCertificate);
  if (credentials.token_endpoint !== undefined) {
    requireSecure(credentials.token_endpoint, 'token_endpoint', 'credentials_invalid', isByCertificate);
  }
  let discovered: string | undefined;

  return async function requestToken(request, signal): Promise<TokenResponse> {
    const within = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    try {
      const { issuer, token_endpoint: named } = credentials;
      discovered ??= named ?? (await discoverTokenEndpoint(issuer, isByCertificate, within));
      const proof = await prove();
      const answer = await exchange({ url: discovered, ...tokenRequest(request, proof), signal: within });
      return processTokenAnswer(answer, proof.secrets);
    } catch (error) {
      // An issuer that answered is where it was said to be.
      if (!(error instanceof OAuthError)) discovered = undefined;
      throw error;
    }
  };
}

/**
 * The token endpoint of an issuer by its metadata: RFC 8414 §3 (the well-known path between host and the
 * issuer's path), then OpenID Connect's place (behind it). For certificates it may be another one (RFC 8705 §5).
 */
async function discoverTokenEndpoint(
  issuer: string,
  isByCertificate: boolean,
  signal: AbortSignal,
): Promise<string> {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, '');
  const places = [
    `${origin}/.well-known/oauth-authorization-server${path}`,
    `${origin}${path}/.well-known/openid-configuration`,
  ];
  for (const place of places) {
    const answer = await exchange({ url: place, signal });
    if (answer.status === 404) continue;
    if (answer.status !== 200) failed(`the metadata of issuer ${issuer} answered ${answer.status}`);
    const metadata = isJson(answer.contentType) ? parseObject(answer.body) : undefined;
    if (metadata === undefined) invalid(`the metadata of issuer ${issuer} is not a JSON object`);
    // RFC 8414 §3.3: must be identical, or another issuer answers in this one's name.
    if (metadata['issuer'] !== issuer)
      invalid(`the metadata at ${place} is of another issuer than ${issuer}`);
    const aliases = isByCertificate ? (metadata['mtls_endpoint_aliases'] as Aliases) : undefined;
    const endpoint = aliases?.token_endpoint ?? metadata['token_endpoint'];
    if (typeof endpoint !== 'string' || URL.parse(endpoint) === null) {
      invalid(`the metadata of issuer ${issuer} names no token_endpoint`);
    }
    const name = 'token_endpoint of the metadata';
    requireSecure(endpoint, name, 'token_response_invalid', isByCertificate);
    return endpoint;
  }
  return failed(`issuer ${issuer} serves no metadata; put token_endpoint into the credentials`);
}

function tokenRequest(request: TokenRequest, { headers, parameters, certificate }: ClientProof) {
  const form = new URLSearchParams({ grant_type: 'client_credentials', ...parameters });
  if (request.scope !== undefined) form.set('scope', request.scope);
  if (request.audience !== undefined) form.set('audience', request.audience);
  const traced =
    request.traceparent === undefined ? headers : { ...headers, traceparent: request.traceparent };
  return { form, certificate, ...(traced && { headers: traced }) };
}

/** Endpoints for who authenticates by certificate. */
type Aliases = { readonly token_endpoint?: unknown } | null | undefined;

/** @param isByCertificate which no connection without TLS can show */
function requireSecure(
  address: string,
  name: string,
  code: 'credentials_invalid' | 'token_response_invalid',
  isByCertificate = false,
): void {
  const { protocol, hostname } = new URL(address);
  if (protocol === 'https:' || (protocol === 'http:' && !isByCertificate && isLoopback(hostname))) return;
  const exception = isByCertificate
    ? ': a certificate is shown by TLS alone'
    : ' unless its host is loopback';
  throw new FleetgateError(code, `${name} must begin with https://${exception}`);
}

function failed(message: string): never {
  throw new FleetgateError('token_request_failed', message);
}

function invalid(message: string): never {
  throw new FleetgateError('token_response_invalid', message);
}
