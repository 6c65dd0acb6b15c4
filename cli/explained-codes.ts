import type { FaultCode, OAuthErrorCode, ReasonCode, TokenErrorCode } from '@fleetgate/shared';

/**
 * When each code comes and what to do, in Markdown as it stands in docs/error-codes.md, which is made from it.
 */

const oauthErrors: Readonly<Record<OAuthErrorCode, string>> = {
  invalid_request:
    'a parameter is missing, given twice, malformed, or two client authentication methods are used',
  invalid_client:
    'the client is unknown or its proof is wrong; both get the same answer, and `fleetgate audit list --client ID` says which it was',
  invalid_grant: 'reserved by RFC 6749; not answered for client credentials',
  unauthorized_client: 'the client may not use this grant',
  unsupported_grant_type: 'only `client_credentials` is offered',
  invalid_scope:
    'a requested scope is malformed, a pattern, or not covered by the registered ones, or the token would be too long; or what the scopes give this client [cannot be said](engines.md#what-cannot-be-said) to the broker it is for',
  invalid_target:
    'a requested audience or resource is not registered for the client, or a resource is no absolute URI (RFC 8707 §2), or two of the audiences read one claim',
  invalid_token:
    'the bearer token of a request to the issuer itself is missing, expired, revoked or not its own (RFC 6750 §3.1); get a new one',
  insufficient_scope: 'the bearer token lacks the scope that `WWW-Authenticate` names (RFC 6750 §3.1)',
  slow_down:
    'too many requests of this client or from this address, or too many failures in its name from there; 429, come back after `Retry-After`',
  server_error: 'something unexpected; the log has the request id',
  temporarily_unavailable:
    "the registry cannot be written, or the keys at a client's `jwks_uri` cannot be fetched; ask again after `Retry-After`",
};

const tokenErrors: Readonly<Record<TokenErrorCode, string>> = {
  token_missing: 'CONNECT has no password; the password is the access token',
  token_too_long: 'over 8,192 characters; ask for fewer scopes',
  token_malformed:
    'the password is no access token: not three canonical base64url parts with JSON objects in them. Mostly it is a shared password, or the client secret, which is for the issuer alone: the password is what that answers (`fleetgate token request --credentials FILE`)',
  token_type_refused: '`typ` is not `at+jwt`, or what the issuer is trusted with',
  token_algorithm_refused: '`alg` is not one the issuer is trusted with',
  token_issuer_unknown: '`iss` is not a trusted issuer',
  token_key_unknown: '`kid` is missing or names no key of the issuer',
  token_signature_invalid: 'the signature does not verify',
  token_claim_invalid: 'a claim is missing, of the wrong type or out of bounds',
  token_audience_refused: "`aud` does not hold the broker's audience",
  token_not_yet_valid: '`nbf` or `iat` is in the future; look at the clocks',
  token_expired: 'get a new token',
  token_revoked: 'get a new token; if that is refused too, the client was revoked',
  client_quarantined:
    'the client is in quarantine, or the token is from before it was released; a new token is issued after the release only. Asking the issuer it is told `invalid_client`, and this code is in the audit',
  token_binding_mismatch:
    'the token is bound to a client certificate (`cnf.x5t#S256`) that this connection did not show; connect over TLS with it',
  keys_unavailable: "the issuer's keys cannot be fetched; come back later",
};

const refusals: Readonly<Record<ReasonCode, string>> = {
  not_authenticated: 'a packet before a verified token',
  session_expired: 'the token has expired',
  client_id_mismatch:
    'the MQTT client id is not the client of the token; CONNACK 2. Set it to that client id (`-i` of mosquitto_pub; `fleetgate token inspect` shows it), or see `client_id_binding`',
  client_id_invalid: 'the MQTT client id is empty or malformed; CONNACK 2',
  user_name_mismatch:
    'the user name is neither empty nor the client of the token; CONNACK 5. Leave it empty, or set it to that client id (`-u` of mosquitto_pub)',
  topic_malformed: 'no valid topic name (MQTT 3.1.1 §4.7, §1.5.3)',
  filter_malformed: 'no valid topic filter (MQTT 3.1.1 §4.7, §1.5.3)',
  topic_reserved: '`$SYS`, `$share` or `$fleetgate`',
  no_rule: "no rule of the token's scopes matches; `fleetgate policy explain` names the nearest",
  denied_by_rule: 'a deny matches or overlaps',
  filter_broader_than_rule: 'the filter asks for more than the rule gives; see `broader`',
  filter_not_exact: 'the rule has `broader: exact`',
  qos_too_high: 'over `max_qos` of the rule',
  retain_not_allowed: 'the rule has `retain: false`',
  payload_too_large: 'over `max_payload_bytes` of the rule',
  rate_exceeded: 'over `max_messages_per_second` of each rule that allows it; send less often',
  too_many_sessions:
    'over `max_sessions_per_client`; CONNACK 3; a connection with clean session 1 and the MQTT client id of one that is no longer needed ends that',
  too_many_subscriptions: 'over `max_subscriptions_per_client`',
  too_many_retained:
    'over `max_retained_messages`, `max_retained_messages_per_client` or `max_retained_bytes_per_client`',
  reads_too_slowly: 'more than `max_unread_bytes_per_client` wait to be read',
  packet_too_large: 'over `max_connect_bytes` or `max_packet_bytes`',
  too_many_connections: 'over `max_connections` or `max_connections_per_address`; CONNACK 3',
  connect_timeout: 'no accepted CONNECT within `connect_timeout_seconds`',
  login_backoff:
    'too many refused logins of this client id from this address, or too many in this second from the address; CONNACK 3. `lastReason` of the log line is what to mend',
  tls_refused: 'the TLS handshake failed, or the client certificate is missing or not valid',
  proxy_header_refused: 'no valid PROXY header, or from an address that is not in `proxy_from`',
  keepalive_refused: 'keepalive 0 or over `max_keepalive_seconds`',
  too_many_renewals: 'more than 8 tokens on `$fleetgate/token` that were not acknowledged',
  revocations_unavailable: 'what the issuer revoked is not known; CONNACK 3',
  cluster_unavailable:
    'the Redis that the brokers share does not answer this one; CONNACK 3, and its sessions are ended; another broker may reach it',
  session_moved: 'another connection has taken the session, perhaps on another broker',
  session_cut: '`fleetgate sessions cut`',
  too_many_unreleased: 'more than 1000 QoS 2 messages of the session wait for their PUBREL',
  protocol_refused:
    'not MQTT 3.1.1, or a packet out of order; a client of MQTT 5 or 3.1 is answered CONNACK 1: set it to 3.1.1 (`-V mqttv311` of mosquitto_pub)',
  internal_error: 'something unexpected; refused to be safe',
};

const faults: Readonly<Record<FaultCode, string>> = {
  scope_malformed: 'a scope is not as RFC 6749 §3.3 has it, or a direct scope holds no topic filter',
  credentials_invalid: 'the credentials file is not valid; the message names the key',
  revocation_malformed: 'an event of a revocation feed is not as [revocation.md](revocation.md) has it',
  revocation_kind_unknown:
    'an event of a revocation feed is of a kind this version does not know; treat every token issued so far as revoked, and update',
  policy_invalid: 'the policy file is not valid; a line for each problem',
  policy_untranslatable:
    'a rule of the policy of a token target cannot be said to RabbitMQ or EMQX without allowing more; each problem is a line with file, line and column. Mend it, or give the target a policy of its own',
  config_invalid: 'the configuration is not valid; a line for each problem',
  data_directory_in_use: 'another process runs on the data directory; the message has its pid',
  not_supported: 'known and not built yet',
  registry_unavailable: 'the database or the admin API cannot be reached',
  registry_schema_newer: 'the database was written by a newer version; use that one',
  registry_moved:
    'the registry of the file was carried to PostgreSQL, and an issuer on the file would make two of it; set issuer.database, or restore a backup of the file to go back',
  registry_conflict:
    'a client of that id, or an API key of that name, exists; or it changed while it was being changed',
  client_unknown: 'no client of that id exists',
  app_unknown: 'no app of that id exists',
  app_not_empty: 'the app to delete has clients; delete them first, which revokes their tokens',
  template_unknown: 'there is no template of that name, or no such version of it',
  job_unknown: 'there is no such provisioning job',
  job_conflict: 'the rows are not the next ones of the job, it was cancelled, or the key is of another',
  campaign_unknown: 'there is no such campaign',
  campaign_conflict: 'the campaign does not run, or its batch is not settled, or the key is of another',
  enrollment_unknown: 'there is no such enrollment, or no such request',
  enrollment_conflict:
    'the request is not in a state for that, the client id is that of another, or the claim code was made for another device',
  enrollment_credential_invalid: 'no enrollment has this claim code, or the proof is not made by its key',
  enrollment_expired: 'the claim code or group key has expired',
  enrollment_exhausted: 'the claim code has been used as often as it may be',
  enrollment_revoked: 'the enrollment has been revoked',
  enrollment_refused: 'the device was rejected, or the hook has refused it',
  secret_unknown: 'the client has no secret of that id',
  secret_limit_reached:
    'the client has two live secrets; end one, as the message says, or rotate without an overlap',
  secret_expired:
    'only in the audit: a secret that has ended was presented; the client was told `invalid_client`',
  assertion_refused:
    "only in the audit: a client assertion is malformed, not for this issuer or this moment, or signed by none of the client's keys",
  assertion_used: 'only in the audit: a client assertion came a second time',
  certificate_refused: 'only in the audit: the client certificate is not valid, or not one of the client',
  session_unknown: 'no session of that MQTT client id is live or kept',
  key_unknown: 'no signing key of that id exists',
  key_conflict: 'the signing keys do not allow it as they are; the message says what to wait for',
  api_key_invalid: 'the admin API key is wrong, missing or has expired',
  api_key_unknown: 'no API key of that name exists',
  role_insufficient: 'the role of the API key does not allow this; the message names those that do',
  precondition_failed: 'the client is not as `If-Match` names it; read it again, then change it',
  idempotency_key_reused: 'the `Idempotency-Key` came with another request within 24 h; use a new one',
  key_file_invalid: 'a key file is missing, malformed or readable by others',
  tls_file_invalid:
    'a certificate, key or authority file is missing, malformed, readable by others, or does not fit; the message names it',
  token_response_invalid: 'the token endpoint answered something else than a token',
  token_request_failed: 'the token endpoint could not be reached',
  broker_refused: 'the broker refused a connection, publish or subscribe',
  broker_unreachable: 'the broker could not be reached',
  queue_full: 'too many messages are waiting',
  sink_failed:
    'the command of `--sink-exec` did not end with 0 within 30 s, or the token is longer than the 1019 bytes that Mosquitto reads of a line',
  stopped: 'the agent was stopped',
  oidc_unavailable:
    'the OpenID Connect provider of `console.oidc` cannot be reached, or its metadata is of no use; sign in to the console with an admin API key, and see the log line `console_sign_in_refused`',
  oidc_refused:
    'the provider refused a sign-in to the console, or what came back does not fit: `state`, `nonce`, `iss`, `aud`, `exp`, the signature, or when the person last proved who they are',
  oidc_role_unmapped:
    'the person is known to the provider, and the claim `console.oidc.role_claim` of the ID token gives none of `console.oidc.roles`',
  oidc_attempt_unknown:
    'a sign-in to the console took more than ten minutes, was begun in another browser, or came back a second time; sign in again',
  address_in_use: 'a port is taken; the message names its key',
  audit_malformed: 'a line of an exported audit trail is not an event',
  backup_failed: 'a backup is damaged or could not be written; the message names the file',
  transfer_failed: 'a registry could not be carried to another database; the message says what differs',
};

/** All of them, by what has them. */
export const codesByKind = {
  'oauth error': oauthErrors,
  'token error': tokenErrors,
  refusal: refusals,
  fault: faults,
} as const;
