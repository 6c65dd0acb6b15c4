import { OAuthError, type TokenResponse, type TokenResponseCamelCase } from '@fleetgate/shared';
import type { Caller } from '../audit.ts';
import type { ClientCertificate } from '../client-certificate.ts';
import type { ClientRequest, TokenRequest } from '../token-request.ts';
import { parseStrictJson } from './strict-json.ts';

/** A body as the content type parser leaves it: not decoded yet, so that a malformed one is refused in one place. */
export interface RawBody {
  readonly type: 'form' | 'json';
  readonly bytes: Uint8Array;
}

/** What the endpoints for clients look at of a request. */
export interface HttpClientRequest {
  readonly body: RawBody | undefined;
  readonly hasQuery: boolean;
  /** Whether it says twice who asks or how the body is to be read. */
  readonly isAmbiguous: boolean;
  readonly authorization: string | undefined;
  readonly certificate?: ClientCertificate | undefined;
  readonly caller: Caller;
}

export interface ReadTokenRequest {
  readonly request: TokenRequest;
  /** Whether the guide's spelling was used, and is to be used in the answer. */
  readonly isCamelCase: boolean;
}

/** Resources one token may be asked for; a device talks to one or two. */
const MAX_RESOURCES = 16;

type Parameters = ReadonlyMap<string, unknown>;

/** The guide's spelling of parameters, in JSON only. Whichever is used decides the spelling of the answer. */
const camelCaseNames: ReadonlyMap<string, string> = new Map([
  ['clientId', 'client_id'],
  ['clientSecret', 'client_secret'],
  ['grantType', 'grant_type'],
]);

/**
 * Reads a token request (RFC 6749 §4.4.2), as form or JSON. Unknown parameters are ignored (§3.2).
 * @throws OAuthError `invalid_request`; the message never quotes a value
 */
export function readTokenRequest(http: HttpClientRequest): ReadTokenRequest {
  const { parameters, isCamelCase } = readParameters(http);
  const request = {
    ...clientRequest(http, parameters),
    grantType: text(parameters, 'grant_type'),
    scope: textOrList(parameters, 'scope'),
    audience: audiences(parameters),
    resource: resources(parameters),
  };
  return { request, isCamelCase };
}

/** A request about a token that the client holds. */
export interface HeldTokenRequest extends ClientRequest {
  readonly token: string | undefined;
}

/**
 * Reads a request to revoke a token (RFC 7009 §2.1) or to introspect it (RFC 7662 §2.1), as form or JSON.
 * `token_type_hint` is ignored: there is one type.
 * @throws OAuthError `invalid_request`; the message never quotes a value
 */
export function readHeldTokenRequest(http: HttpClientRequest): HeldTokenRequest {
  const { parameters } = readParameters(http);
  return { ...clientRequest(http, parameters), token: text(parameters, 'token') };
}

function readParameters({ body, hasQuery, isAmbiguous }: HttpClientRequest) {
  // RFC 6749 §2.3.1: never in the URI, which ends up in logs.
  if (hasQuery) invalid('parameters belong in the body, not in the query');
  if (isAmbiguous) invalid('Authorization or Content-Type is included more than once');
  if (body === undefined) return invalid('the request has no body');
  return body.type === 'form' ? readForm(body.bytes) : readJson(body.bytes);
}

function clientRequest(
  { caller, authorization, certificate }: HttpClientRequest,
  parameters: Parameters,
): ClientRequest {
  return {
    caller,
    authorization,
    certificate,
    clientId: text(parameters, 'client_id'),
    clientSecret: text(parameters, 'client_secret'),
    clientAssertion: text(parameters, 'client_assertion'),
    clientAssertionType: text(parameters, 'client_assertion_type'),
  };
}

/** The answer in the guide's spelling. */
export function toCamelCase(response: TokenResponse): TokenResponseCamelCase & { status: 'OK' } {
  return {
    status: 'OK',
    accessToken: response.access_token,
    tokenType: response.token_type,
    expiresIn: response.expires_in,
    scope: response.scope ?? '',
  };
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function readForm(bytes: Uint8Array): { parameters: Parameters; isCamelCase: false } {
  let form: string;
  try {
    form = utf8.decode(bytes);
  } catch {
    return invalid('the body is not UTF-8');
  }
  const parameters = new Map<string, unknown>();
  const resources: string[] = [];
  for (const [name, value] of new URLSearchParams(form)) {
    // What stands for an escape that is not UTF-8 (RFC 6749 appendix B): several values would become this one.
    if (name.includes('\ufffd') || value.includes('\ufffd')) invalid('the body is not UTF-8');
    // RFC 6749 §3.2: once; only `resource` may come again (RFC 8707 §2).
    if (name === 'resource') resources.push(value);
    else if (parameters.has(name)) invalid('a parameter is included more than once');
    else parameters.set(name, value);
    if (resources.length > MAX_RESOURCES) tooManyResources();
  }
  if (resources.length > 0) parameters.set('resource', resources.length === 1 ? resources[0] : resources);
  return { parameters, isCamelCase: false };
}

function readJson(bytes: Uint8Array): { parameters: Parameters; isCamelCase: boolean } {
  const value = parseStrictJson(bytes);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return invalid('the body is not a JSON object');
  }
  const parameters = new Map<string, unknown>();
  let isCamelCase = false;
  for (const [name, member] of Object.entries(value)) {
    const wireName = camelCaseNames.get(name) ?? name;
    if (parameters.has(wireName)) invalid('a parameter is included in both spellings');
    parameters.set(wireName, member);
    isCamelCase ||= wireName !== name;
  }
  return { parameters, isCamelCase };
}

// RFC 6749 §3.2: a parameter without a value counts as omitted.
function text(parameters: Parameters, name: string): string | undefined {
  const value = parameters.get(name);
  if (value === undefined || value === '') return undefined;
  return typeof value === 'string' ? value : invalid(`${name} must be a string`);
}

function textOrList(parameters: Parameters, name: string): string | readonly string[] | undefined {
  const value = parameters.get(name);
  if (!Array.isArray(value)) return text(parameters, name);
  if (!value.every((element) => typeof element === 'string')) invalid(`${name} must hold strings only`);
  return value as string[];
}

function audiences(parameters: Parameters): readonly string[] {
  const value = textOrList(parameters, 'audience') ?? [];
  return typeof value === 'string' ? value.split(' ').filter((one) => one !== '') : value;
}

function resources(parameters: Parameters): readonly string[] {
  const value = textOrList(parameters, 'resource') ?? [];
  if (typeof value === 'string') return [value];
  if (value.length > MAX_RESOURCES) tooManyResources();
  return value.filter((one) => one !== '');
}

function tooManyResources(): never {
  invalid(`resource is included more than ${MAX_RESOURCES} times`);
}

function invalid(description: string): never {
  throw new OAuthError('invalid_request', description);
}
