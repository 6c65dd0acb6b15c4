import type { ScopeFormat } from './issuer.ts';

/** What a token that verified says. Frozen, and the same object for the same token while it is cached. */
export interface VerifiedToken {
  readonly clientId: string;
  readonly group?: string;
  /** Scope tokens (RFC 6749 §3.3), each a whole token. */
  readonly scopes: readonly string[];
  /** Of the issuer. Default: `named`. */
  readonly scopeFormat?: ScopeFormat;
  /** All claims of the token, as parsed: what is asked of it goes through `Object.hasOwn`. */
  readonly claims: Readonly<Record<string, unknown>>;
  readonly issuer: string;
  /** `jti`. */
  readonly tokenId: string;
  /** `kid` of the key it was verified with. */
  readonly keyId: string;
  readonly issuedAtSeconds: number;
  readonly expiresAtSeconds: number;
  /** Of a bound token, what {@link Peer.certificateThumbprint} must be (RFC 8705 §3.1). */
  readonly certificateThumbprint?: string;
}

/** What the connection that shows a token can prove of itself. */
export interface Peer {
  /** SHA-256 of its TLS client certificate in DER, base64url (RFC 8705 §3.1). */
  readonly certificateThumbprint?: string | undefined;
}
