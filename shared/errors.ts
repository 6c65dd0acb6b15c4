/**
 * One error base and one table of codes. What each means stands in cli/explained-codes.ts, and in docs/error-codes.md,
 * which is made from that.
 */

/**
 * OAuth error codes an issuer answers with: RFC 6749 §5.2, RFC 8707 §2, RFC 6750 §3.1, RFC 8628 §3.5 for 429 and, for
 * 500 and 503, RFC 6749 §4.1.2.1.
 */
export const oauthErrorCodes = [
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
  'invalid_target',
  'invalid_token',
  'insufficient_scope',
  'slow_down',
  'server_error',
  'temporarily_unavailable',
] as const;
export type OAuthErrorCode = (typeof oauthErrorCodes)[number];

/** Why a token was not accepted. */
export const tokenErrorCodes = [
  'token_missing',
  'token_too_long',
  'token_malformed',
  'token_type_refused',
  'token_algorithm_refused',
  'token_issuer_unknown',
  'token_key_unknown',
  'token_signature_invalid',
  'token_claim_invalid',
  'token_audience_refused',
  'token_not_yet_valid',
  'token_expired',
  'token_revoked',
  'client_quarantined',
  'token_binding_mismatch',
  'keys_unavailable',
] as const;
export type TokenErrorCode = (typeof tokenErrorCodes)[number];

/** Why one attempt (CONNECT, publish, subscribe, receive, will) was refused. */
export const reasonCodes = [
  'not_authenticated',
  'session_expired',
  'client_id_mismatch',
  'client_id_invalid',
  'user_name_mismatch',
  'topic_malformed',
  'filter_malformed',
  'topic_reserved',
  'no_rule',
  'denied_by_rule',
  'filter_broader_than_rule',
  'filter_not_exact',
  'qos_too_high',
  'retain_not_allowed',
  'payload_too_large',
  'rate_exceeded',
  'too_many_sessions',
  'too_many_subscriptions',
  'too_many_retained',
  'reads_too_slowly',
  'packet_too_large',
  'too_many_connections',
  'connect_timeout',
  'login_backoff',
  'tls_refused',
  'proxy_header_refused',
  'keepalive_refused',
  'too_many_renewals',
  'revocations_unavailable',
  'cluster_unavailable',
  'session_moved',
  'session_cut',
  'too_many_unreleased',
  'protocol_refused',
  'internal_error',
] as const;
export type ReasonCode = (typeof reasonCodes)[number];

/** What a caller of the libraries can meet besides the above. */
export const faultCodes = [
  'scope_malformed',
  'credentials_invalid',
  'revocation_malformed',
  'revocation_kind_unknown',
  'policy_invalid',
  'policy_untranslatable',
  'config_invalid',
  'data_directory_in_use',
  'not_supported',
  'registry_unavailable',
  'registry_schema_newer',
  'registry_moved',
  'registry_conflict',
  'client_unknown',
  'template_unknown',
  'job_unknown',
  'job_conflict',
  'campaign_unknown',
  'campaign_conflict',
  'enrollment_unknown',
  'enrollment_conflict',
  'enrollment_credential_invalid',
  'enrollment_expired',
  'enrollment_exhausted',
  'enrollment_revoked',
  'enrollment_refused',
  'secret_unknown',
  'secret_limit_reached',
  'secret_expired',
  'assertion_refused',
  'assertion_used',
  'certificate_refused',
  'app_unknown',
  'app_not_empty',
  'session_unknown',
  'key_unknown',
  'key_conflict',
  'api_key_invalid',
  'api_key_unknown',
  'role_insufficient',
  'precondition_failed',
  'idempotency_key_reused',
  'key_file_invalid',
  'tls_file_invalid',
  'token_response_invalid',
  'token_request_failed',
  'broker_refused',
  'broker_unreachable',
  'queue_full',
  'sink_failed',
  'stopped',
  'oidc_unavailable',
  'oidc_refused',
  'oidc_role_unmapped',
  'oidc_attempt_unknown',
  'address_in_use',
  'audit_malformed',
  'backup_failed',
  'transfer_failed',
] as const;
export type FaultCode = (typeof faultCodes)[number];

export type ErrorCode = OAuthErrorCode | TokenErrorCode | ReasonCode | FaultCode;

/**
 * Base of every error Fleetgate raises on purpose. `code` is stable and for programs, `message` is for people
 * and may change. Neither ever holds a secret, a token or a payload. A caller's mistake is a `TypeError` instead.
 */
export class FleetgateError extends Error {
  override readonly name: string = 'FleetgateError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** An error as RFC 6749 §5.2 answers it; the message becomes `error_description`. */
export class OAuthError extends FleetgateError {
  override readonly name = 'OAuthError';
  declare readonly code: OAuthErrorCode;

  constructor(code: OAuthErrorCode, description: string, options?: ErrorOptions) {
    super(code, description, options);
  }
}

/** The client a token was issued to, and the `jti` of the token. */
export interface TokenOwner {
  readonly clientId: string;
  readonly tokenId: string;
}

/** A token that was not accepted. */
export class TokenError extends FleetgateError {
  override readonly name = 'TokenError';
  declare readonly code: TokenErrorCode;
  /** Whose token it is and its `jti`, where its signature had verified: an expired or revoked one. */
  readonly of: TokenOwner | undefined;

  constructor(code: TokenErrorCode, message: string, options?: ErrorOptions & { readonly of?: TokenOwner }) {
    super(code, message, options);
    const { of } = options ?? {};
    this.of = of && { clientId: of.clientId, tokenId: of.tokenId };
  }
}
