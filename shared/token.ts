/** Shapes of access tokens and of the token endpoint's requests and responses. Names are the wire's. */

/** Header of our access tokens (RFC 9068 §2.1). */
export interface AccessTokenHeader {
  alg: SigningAlgorithm;
  kid: string;
  typ: 'at+jwt';
}

/** JWS algorithms tokens may be signed with (RFC 7518 §3.1, RFC 8037 §3.1). */
export const signingAlgorithms = ['ES256', 'EdDSA', 'RS256'] as const;
export type SigningAlgorithm = (typeof signingAlgorithms)[number];

/** Claims of our access tokens (RFC 9068 §2.2, and what the SuperTokens guide reads). Times in seconds since 1970. */
export interface AccessTokenClaims {
  iss: string;
  /** Same as `client_id`. */
  sub: string;
  client_id: string;
  aud: string[];
  scp: string[];
  /** `scp`, separated by spaces. */
  scope: string;
  /** SuperTokens' token type: 1 is an OAuth 2.0 access token. */
  stt: 1;
  jti: string;
  iat: number;
  /** 5 s before `iat`. */
  nbf: number;
  exp: number;
  /** SuperTokens' grant id: here, as `jti`, one for each token. */
  gid: string;
  group?: string;
  /** Certificate binding (RFC 8705 §3.1). */
  cnf?: { 'x5t#S256': string };
}

/** How many seconds `nbf` lies before `iat`: a resource server whose clock is a little behind accepts the token. */
export const NOT_BEFORE_MARGIN_SECONDS = 5;

/** Characters of an access token that are looked at, ours and others': 8 KiB (RFC 8725 gives no figure; proxies use 8 KiB). */
export const MAX_TOKEN_LENGTH = 8192;

/** A successful answer of the token endpoint (RFC 6749 §5.1). */
export interface TokenResponse {
  access_token: string;
  token_type: 'Bearer';
  /** Lifetime in seconds. */
  expires_in: number;
  scope?: string;
}

/** The same in the SuperTokens guide's spelling. */
export interface TokenResponseCamelCase {
  accessToken: string;
  tokenType: 'Bearer';
  expiresIn: number;
  scope: string;
}

/** An error answer of the token endpoint (RFC 6749 §5.2). */
export interface TokenErrorResponse {
  error: string;
  error_description?: string;
}

/** A public key set (RFC 7517 §5). */
export interface JsonWebKeySet {
  keys: PublicJsonWebKey[];
}

/** A public signing key (RFC 7517 §4). */
export interface PublicJsonWebKey {
  kty: string;
  kid: string;
  alg: SigningAlgorithm;
  use: 'sig';
  [parameter: string]: unknown;
}
