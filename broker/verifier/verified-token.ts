import type { GrantClaims } from '../authorization/grants.ts';

/** What a token that verified says. Frozen, and the same object for the same token while it is cached. */
export interface VerifiedToken extends GrantClaims {
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
