import { FleetgateError, OAuthError } from '@fleetgate/shared';
import type { Logger } from 'pino';
import { type AuditAction, anonymousActor, auditEvent, type Caller, clientActor } from './audit.ts';
import type { Registry } from './registry/registry.ts';

export interface RefusalContext {
  readonly registry: Registry;
  readonly now: () => number;
  readonly log?: Logger | undefined;
}

/** What a client was refused. */
export interface RefusedAct {
  readonly action: AuditAction;
  readonly caller: Caller;
  /** The client it claims to be. */
  readonly clientId: string | undefined;
}

/**
 * Records that a client was refused, and refuses.
 * @throws OAuthError always: the error itself, or what a client is told of another
 */
export async function recordRefusal(
  error: unknown,
  { action, caller, clientId }: RefusedAct,
  { registry, now, log }: RefusalContext,
): Promise<never> {
  const refusal = asOAuthError(error);
  if (refusal.code === 'server_error') {
    log?.error({ event: 'request_failed', err: error, requestId: caller.requestId }, 'a request failed');
  }
  const actor = clientId === undefined ? anonymousActor : clientActor(clientId);
  const result = recordedReason(refusal);
  const event = auditEvent({ atMs: now(), actor, action, caller, target: clientId, result });
  try {
    await registry.recordEvent(event);
  } catch (cause) {
    log?.error(
      { event: 'refusal_not_recorded', err: cause, requestId: caller.requestId },
      'a refusal could not be recorded',
    );
    throw unavailable(cause);
  }
  throw refusal;
}

// What a client is not told: one answer fits all it may not tell apart.
export function recordedReason({ code, cause }: OAuthError): string {
  return code === 'invalid_client' && cause instanceof FleetgateError ? cause.code : code;
}

function asOAuthError(error: unknown): OAuthError {
  if (error instanceof OAuthError) return error;
  const isUnavailable = error instanceof FleetgateError && error.code === 'registry_unavailable';
  return isUnavailable
    ? unavailable(error)
    : new OAuthError('server_error', 'the request could not be served', { cause: error });
}

const unavailable = (cause: unknown) =>
  new OAuthError('temporarily_unavailable', 'the registry does not answer; try again later', { cause });
