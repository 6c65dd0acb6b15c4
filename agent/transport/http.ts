import { type Credentials, FleetgateError, OAuthError, type TokenResponse } from '@fleetgate/shared';
import { type HttpAnswer, isJson, parseObject, processTokenAnswer } from './token-response.ts';
import type { TokenRequest, TokenTransport } from './token-transport.ts';

/** Bytes of an answer that are read. A token of 8 KiB and its frame need a fraction; more is not a token. */
export const MAX_ANSWER_BYTES = 65_536;

export interface HttpTransportOptions {
  /** Time for one exchange, discovery and body included, in milliseconds. Default 10 000. */
  timeoutMs?: number;
}

/**
 * Fetches tokens over HTTP with the client credentials grant (RFC 6749 §4.4) and `client_secret_basic`
 * (§2.3.1). Without `token_endpoint` in the credentials the issuer's metadata names it (RFC 8414), and is asked
 * again after a failure. A redirect is an error: the secret is not sent again elsewhere. Addresses must be https
 * unless they are loopback.
 * @throws FleetgateError `not_supported` for another authentication method, `credentials_invalid` for an http address
 */
export function httpTransport(credentials: Credentials, options: HttpTransportOptions = {}): TokenTransport {
  const { timeoutMs = 10_000 } = options;
  const authorization = basicAuthorization(credentials);
  requireSecure(credentials.issuer, 'issuer', 'credentials_invalid');
  if (credentials.token_endpoint !== undefined) {
    requireSecure(credentials.token_endpoint, 'token_endpoint', 'credentials_invalid');
  }
  let discovered: string | undefined;

  return async function requestToken(request, signal): Promise<TokenResponse> {
    const within = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    try {
      discovered ??= credentials.token_endpoint ?? (await discoverTokenEndpoint(credentials.issuer, within));
      const answer = await exchange(discovered, tokenRequestInit(authorization, request, within));
      return processTokenAnswer(answer, secretsOf(credentials, authorization));
    } catch (error) {
      // An issuer that answered is where it was said to be.
      if (!(error instanceof OAuthError)) discovered = undefined;
      throw error;
    }
  };
}

/**
 * The token endpoint of an issuer by its metadata: RFC 8414 §3 (the well-known path between host and the
 * issuer's path), then OpenID Connect's place (behind it).
 */
async function discoverTokenEndpoint(issuer: string, signal: AbortSignal): Promise<string> {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, '');
  const places = [
    `${origin}/.well-known/oauth-authorization-server${path}`,
    `${origin}${path}/.well-known/openid-configuration`,
  ];
  for (const place of places) {
    const answer = await exchange(place, { headers: { accept: 'application/json' }, signal });
    if (answer.status === 404) continue;
    if (answer.status !== 200) failed(`the metadata of issuer ${issuer} answered ${answer.status}`);
    const metadata = isJson(answer.contentType) ? parseObject(answer.body) : undefined;
    if (metadata === undefined) invalid(`the metadata of issuer ${issuer} is not a JSON object`);
    // RFC 8414 §3.3: must be identical, or another issuer answers in this one's name.
    if (metadata['issuer'] !== issuer)
      invalid(`the metadata at ${place} is of another issuer than ${issuer}`);
    const endpoint = metadata['token_endpoint'];
    if (typeof endpoint !== 'string' || URL.parse(endpoint) === null) {
      invalid(`the metadata of issuer ${issuer} names no token_endpoint`);
    }
    requireSecure(endpoint, 'token_endpoint of the metadata', 'token_response_invalid');
    return endpoint;
  }
  return failed(`issuer ${issuer} serves no metadata; put token_endpoint into the credentials`);
}

function tokenRequestInit(authorization: string, request: TokenRequest, signal: AbortSignal): RequestInit {
  const form = new URLSearchParams({ grant_type: 'client_credentials' });
  if (request.scope !== undefined) form.set('scope', request.scope);
  if (request.audience !== undefined) form.set('audience', request.audience);
  return { method: 'POST', headers: { accept: 'application/json', authorization }, body: form, signal };
}

/** One HTTP exchange, the body read up to the limit. */
async function exchange(url: string, init: RequestInit): Promise<HttpAnswer> {
  let response: Response;
  try {
    response = await fetch(url, { ...init, redirect: 'error' });
    return {
      status: response.status,
      contentType: response.headers.get('content-type') ?? '',
      retryAfter: response.headers.get('retry-after'),
      body: await readBounded(response),
    };
  } catch (error) {
    if (error instanceof FleetgateError) throw error;
    return failed(`${new URL(url).origin} cannot be asked: ${whyFetchFailed(error)}`);
  }
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop cancels the body and closes the connection.
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > MAX_ANSWER_BYTES) invalid(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

// The cause only: fetch's own message is "fetch failed", and neither holds what was sent.
function whyFetchFailed(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown reason';
  if (error.name === 'TimeoutError') return 'no answer in time';
  if (error.name === 'AbortError') return 'stopped';
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  const code = 'code' in cause ? String(cause.code) : '';
  return cause.message || code || error.message;
}

/** RFC 6749 §2.3.1: id and secret are form-encoded each, then joined for HTTP Basic. */
function basicAuthorization({ client_id: clientId, auth }: Credentials): string {
  if (auth.method !== 'client_secret_basic') {
    throw new FleetgateError(
      'not_supported',
      `auth.method ${auth.method} is not supported by this agent yet; client_secret_basic is`,
    );
  }
  const pair = `${formEncode(clientId)}:${formEncode(auth.client_secret)}`;
  return `Basic ${Buffer.from(pair, 'utf8').toString('base64')}`;
}

function formEncode(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1);
}

function requireSecure(
  address: string,
  name: string,
  code: 'credentials_invalid' | 'token_response_invalid',
): void {
  const { protocol, hostname } = new URL(address);
  if (protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname))) return;
  throw new FleetgateError(code, `${name} must begin with https:// unless its host is loopback`);
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

// The secret in each form in which it is sent.
function secretsOf({ auth }: Credentials, authorization: string): string[] {
  if (auth.method !== 'client_secret_basic') return [];
  return [authorization.slice('Basic '.length), auth.client_secret, formEncode(auth.client_secret)];
}

function failed(message: string): never {
  throw new FleetgateError('token_request_failed', message);
}

function invalid(message: string): never {
  throw new FleetgateError('token_response_invalid', message);
}
