import { CborError, type CborItem, type CborMap, decodeCbor, encodeCbor } from './cbor.ts';
import { OAuthError, type OAuthErrorCode } from './errors.ts';
import type { TokenResponse } from './token.ts';

/** Content-Format of `application/ace+cbor` (RFC 9200 §8.16). */
export const ACE_CBOR = 19;

/** Content-Format of `application/cbor` (RFC 8949 §9.4). */
export const CBOR = 60;

/** A token request as a device sends it over CoAP (RFC 9200 §5.8.1). */
export interface AceTokenRequest {
  /** Default: `client_credentials`. */
  readonly grantType?: string | undefined;
  readonly scope?: string | undefined;
  readonly audience?: string | undefined;
  readonly clientId?: string | undefined;
}

// RFC 9200 §5.8.5, figure 12, and §8.10.
const parameter = {
  accessToken: 1,
  expiresIn: 2,
  audience: 5,
  scope: 9,
  clientId: 24,
  clientSecret: 25,
  error: 30,
  errorDescription: 31,
  grantType: 33,
  tokenType: 34,
} as const;

/** By their numbers (RFC 9200 §8.5). */
const grantTypes = ['password', 'authorization_code', 'client_credentials', 'refresh_token'] as const;
const CLIENT_CREDENTIALS = 2;

/** RFC 9200 §8.7: the default, 2, would be a proof-of-possession token. */
const BEARER = 1;

/** By their numbers, from 1 (RFC 9200 §8.4). */
const errorCodes: readonly OAuthErrorCode[] = [
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
];

/** Of what comes later, or is ours; a description says more. */
const OTHER_ERROR = 1;

export function encodeAceRequest({ scope, audience, clientId }: AceTokenRequest): Buffer {
  const entries: [number, CborItem | undefined][] = [
    [parameter.audience, audience],
    [parameter.scope, scope],
    [parameter.clientId, clientId],
    [parameter.grantType, CLIENT_CREDENTIALS],
  ];
  return encodeMap(entries);
}

/**
 * Parameters that are not known are passed over (RFC 6749 §3.2).
 * @throws OAuthError `invalid_request`, holding nothing of what came
 */
export function decodeAceRequest(payload: Uint8Array): AceTokenRequest {
  const map = mapIn(payload);
  if (map.has(parameter.clientSecret)) {
    // RFC 6749 §2.3: the context is the authentication, and a secret has no business here.
    throw new OAuthError('invalid_request', 'there is a client_secret beside OSCORE');
  }
  return {
    grantType: grantTypeOf(map.get(parameter.grantType)),
    scope: textOf(map, parameter.scope, 'scope'),
    audience: textOf(map, parameter.audience, 'audience'),
    clientId: textOf(map, parameter.clientId, 'client_id'),
  };
}

/** @param scope unset where it is what was asked for */
export function encodeAceResponse(
  { access_token, expires_in }: Pick<TokenResponse, 'access_token' | 'expires_in'>,
  scope: string | undefined,
): Buffer {
  return encodeMap([
    [parameter.accessToken, Buffer.from(access_token, 'latin1')],
    [parameter.expiresIn, expires_in],
    [parameter.scope, scope],
    [parameter.tokenType, BEARER],
  ]);
}

/** @returns unset for what is no answer with a Bearer token */
export function decodeAceResponse(payload: Uint8Array): TokenResponse | undefined {
  const map = lenientMapIn(payload);
  const token = map?.get(parameter.accessToken);
  const expiresIn = map?.get(parameter.expiresIn);
  const scope = map?.get(parameter.scope);
  if (!(token instanceof Uint8Array) || map?.get(parameter.tokenType) !== BEARER) return undefined;
  if (typeof expiresIn !== 'number' || expiresIn <= 0) return undefined;
  if (scope !== undefined && typeof scope !== 'string') return undefined;
  return {
    access_token: Buffer.from(token).toString('latin1'),
    token_type: 'Bearer',
    expires_in: expiresIn,
    ...(scope === undefined ? {} : { scope }),
  };
}

export function encodeAceError(code: string, description: string): Buffer {
  const number = errorCodes.indexOf(code as OAuthErrorCode) + 1;
  return encodeMap([
    [parameter.error, number || OTHER_ERROR],
    [parameter.errorDescription, description],
  ]);
}

/** @returns unset for what is no error */
export function decodeAceError(
  payload: Uint8Array,
): { readonly code: OAuthErrorCode; readonly description: string } | undefined {
  const map = lenientMapIn(payload);
  const number = map?.get(parameter.error);
  const code = typeof number === 'number' ? errorCodes[number - 1] : undefined;
  if (code === undefined) return undefined;
  const description = map?.get(parameter.errorDescription);
  return { code, description: typeof description === 'string' ? description : '' };
}

function encodeMap(entries: readonly [number, CborItem | undefined][]): Buffer {
  return encodeCbor(new Map(entries.filter((entry): entry is [number, CborItem] => entry[1] !== undefined)));
}

function lenientMapIn(payload: Uint8Array): CborMap | undefined {
  try {
    return mapIn(payload);
  } catch {
    return undefined;
  }
}

function mapIn(payload: Uint8Array): CborMap {
  let item: CborItem;
  try {
    item = decodeCbor(payload);
  } catch (error) {
    if (error instanceof CborError) return malformed(`the payload is not CBOR: ${error.message}`);
    throw error;
  }
  return item instanceof Map ? item : malformed('the payload is no map');
}

function textOf(map: CborMap, key: number, name: string): string | undefined {
  const value = map.get(key);
  return value === undefined || typeof value === 'string' ? value : malformed(`${name} is no text`);
}

function grantTypeOf(value: CborItem | undefined): string {
  if (value === undefined) return grantTypes[CLIENT_CREDENTIALS];
  if (typeof value !== 'number') return malformed('grant_type is no number');
  return grantTypes[value] ?? String(value);
}

function malformed(problem: string): never {
  throw new OAuthError('invalid_request', problem);
}
