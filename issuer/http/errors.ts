import { FleetgateError, OAuthError, type OAuthErrorCode, type TokenErrorResponse } from '@fleetgate/shared';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { SlowDownError } from '../limited-requests.ts';
import { recordedReason } from '../refusal.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Why it was refused, for its line in the log. */
    refusalReason?: string;
  }
}

/** Statuses other than 400 (RFC 6749 §5.2). */
const oauthStatuses: Partial<Record<OAuthErrorCode, number>> = {
  invalid_client: 401,
  invalid_token: 401,
  insufficient_scope: 403,
  server_error: 500,
  slow_down: 429,
  temporarily_unavailable: 503,
};

const faultStatuses: ReadonlyMap<string, number> = new Map([
  ['registry_conflict', 409],
  ['client_unknown', 404],
  ['app_unknown', 404],
  ['app_not_empty', 409],
  ['template_unknown', 404],
  ['job_unknown', 404],
  ['job_conflict', 409],
  ['campaign_unknown', 404],
  ['campaign_conflict', 409],
  ['enrollment_unknown', 404],
  ['enrollment_conflict', 409],
  ['enrollment_credential_invalid', 401],
  ['enrollment_expired', 403],
  ['enrollment_exhausted', 403],
  ['enrollment_revoked', 403],
  ['enrollment_refused', 403],
  ['secret_unknown', 404],
  ['secret_limit_reached', 409],
  ['key_unknown', 404],
  ['key_conflict', 409],
  ['api_key_unknown', 404],
  ['api_key_invalid', 401],
  ['role_insufficient', 403],
  ['precondition_failed', 412],
  ['idempotency_key_reused', 422],
  ['registry_unavailable', 503],
]);

/** Descriptions of what Fastify and Node refuse. Their own messages may quote the request. */
const descriptions: ReadonlyMap<number, string> = new Map([
  [400, 'the request is malformed'],
  [404, 'there is nothing at this path'],
  [405, 'this method is not allowed here'],
  [408, 'the request took too long'],
  [413, 'the body is too long'],
  [414, 'the URL is too long'],
  [415, 'the Content-Type is not supported here'],
  [431, 'the headers are too long'],
]);

/** Seconds after which to come back when the registry does not answer. */
const RETRY_AFTER_SECONDS = 5;

/** Longest `error_description`: the list of all fields is near 300. A longer one would mostly quote the request. */
const MAX_DESCRIPTION_LENGTH = 384;

/** Answers with an error as RFC 6749 §5.2 shapes it. What nobody expected is logged and not described. */
export function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  return reply.send(prepareError(error, request, reply).body);
}

/** Logs an error if nobody expected it, sets status and headers of its answer, and says what the body is to tell. */
export function prepareError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): { readonly status: number; readonly body: TokenErrorResponse } {
  const status = statusOf(error);
  noteReason(error, request);
  if (status === 500 && !(error instanceof OAuthError))
    request.log.error({ event: 'request_failed', err: error }, 'request failed');
  if (status === 401 && !reply.hasHeader('www-authenticate')) {
    // RFC 9110 §11.6.1 asks for a challenge in every 401; RFC 6749 §5.2 for that of the scheme used.
    const scheme = error instanceof OAuthError ? 'Basic' : 'Bearer';
    reply.header('www-authenticate', `${scheme} realm="fleetgate"`);
  }
  if (status === 503) reply.header('retry-after', RETRY_AFTER_SECONDS);
  if (error instanceof SlowDownError) reply.header('retry-after', error.retryAfterSeconds);
  reply.code(status).headers({ 'cache-control': 'no-store', pragma: 'no-cache' });
  return { status, body: bodyOf(error, status) };
}

/** Why the request was refused, for its line in the log: what the audit trail has, also where the client is not told. */
export function noteReason(error: unknown, request: FastifyRequest): void {
  if (!(error instanceof FleetgateError)) return;
  request.refusalReason = error instanceof OAuthError ? recordedReason(error) : error.code;
}

/** The body of an error that has a status and nothing else. */
export function errorBody(status: number): TokenErrorResponse {
  return {
    error: status >= 500 ? 'server_error' : 'invalid_request',
    error_description: descriptions.get(status) ?? 'the request could not be served',
  };
}

/** An error description, with the characters RFC 6749 §5.2 allows. */
export function describe(error: FleetgateError): string {
  return error.message
    .slice(0, MAX_DESCRIPTION_LENGTH)
    .replaceAll('"', "'")
    .replaceAll('§', 'section ')
    .replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, '?');
}

export function statusOf(error: unknown): number {
  if (error instanceof OAuthError) return oauthStatuses[error.code] ?? 400;
  if (error instanceof FleetgateError) return faultStatuses.get(error.code) ?? 400;
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  return typeof status === 'number' && status >= 400 && status < 500 ? status : 500;
}

function bodyOf(error: unknown, status: number): TokenErrorResponse {
  if (!(error instanceof FleetgateError)) return errorBody(status);
  // Outside the token endpoint the registry's own fault goes by the name a client of OAuth knows.
  const code = error.code === 'registry_unavailable' ? 'temporarily_unavailable' : error.code;
  return { error: code === 'scope_malformed' ? 'invalid_scope' : code, error_description: describe(error) };
}
