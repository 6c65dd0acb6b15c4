import { OAuthError, type TokenResponse } from '@fleetgate/shared';

/** What one token request asks for; who asks is known to the transport. */
export interface TokenRequest {
  /** Space-separated; unset asks for all that is registered. */
  scope?: string;
  audience?: string;
  /** W3C Trace Context, for the header of that name. Over CoAP there is none. */
  traceparent?: string;
}

/**
 * Asks the issuer for one token, once, without a retry: retrying has one owner, and it is not here.
 * Rejects with a FleetgateError or OAuthError; neither holds the secret or a token.
 */
export type TokenTransport = (request: TokenRequest, signal: AbortSignal) => Promise<TokenResponse>;

/** The issuer is there and asks to come back later (429, 503, or `temporarily_unavailable`). */
export class IssuerBusyError extends OAuthError {
  /** From `Retry-After`, in milliseconds; unset when it did not say. */
  readonly retryAfterMs: number | undefined;

  constructor(description: string, retryAfterMs?: number) {
    super('temporarily_unavailable', description);
    this.retryAfterMs = retryAfterMs;
  }
}
