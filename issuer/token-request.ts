import type { Caller } from './audit.ts';
import type { ClientCertificate } from './client-certificate.ts';

/** What any request of a client says of who asks. */
export interface ClientRequest {
  readonly caller: Caller;
  /** `client_id` and `client_secret` of the body. */
  readonly clientId: string | undefined;
  readonly clientSecret: string | undefined;
  /** Value of the HTTP `Authorization` header. */
  readonly authorization: string | undefined;
  /** `client_assertion` and `client_assertion_type` of the body (RFC 7521 §4.2). */
  readonly clientAssertion?: string | undefined;
  readonly clientAssertionType?: string | undefined;
  /** The OSCORE context it was protected with, which the transport has seen to. */
  readonly oscore?: { readonly clientId: string; readonly secretId: string } | undefined;
  /** Of the TLS connection it came by. */
  readonly certificate?: ClientCertificate | undefined;
}

/** A request for a token as any transport hands it over: translated, nothing decided. */
export interface TokenRequest extends ClientRequest {
  readonly grantType: string | undefined;
  /** Space-separated, or one element a token; unset asks for all that is registered. */
  readonly scope: string | readonly string[] | undefined;
  /** Names; empty, together with `resource`, asks for all that are registered. */
  readonly audience: readonly string[];
  /** URIs (RFC 8707 §2), which are audiences too. */
  readonly resource?: readonly string[] | undefined;
  /** Characters of a token that the transport can carry. Default: as many as any verifier takes. */
  readonly maxTokenLength?: number | undefined;
}
