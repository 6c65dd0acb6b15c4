import { addressKey, FleetgateError, OAuthError, putBounded } from '@fleetgate/shared';
import type { Logger } from 'pino';
import { type AuditAction, anonymousActor, auditEvent, type Caller, clientActor } from './audit.ts';
import type { AuditTrail } from './audit-trail.ts';
import { claimedClient } from './client-auth/authenticate.ts';
import type { TokenIntrospector } from './introspect-token.ts';
import type { TokenIssuer } from './issue.ts';
import type { Requester, RequestRate } from './request-rate.ts';
import type { TokenRevoker } from './revoke-token.ts';
import type { ClientRequest } from './token-request.ts';

/** Between two rows that say that one address is limited: a flood must not fill the audit trail. */
const RECORD_INTERVAL_MS = 60_000;

/** Addresses whose last such row is remembered. */
const MAX_REMEMBERED = 10_000;

/** A refusal of a request that comes too soon. */
export class SlowDownError extends OAuthError {
  /** Whole seconds, 1 or more. */
  readonly retryAfterSeconds: number;

  constructor(waitMs: number) {
    super('slow_down', 'too many requests; come back after the time that Retry-After says');
    this.retryAfterSeconds = Math.max(1, Math.ceil(waitMs / 1000));
  }
}

export interface LimitContext {
  readonly rate: RequestRate;
  readonly trail: Pick<AuditTrail, 'recordEvent'>;
  readonly now: () => number;
  readonly monotonicMs: () => number;
  readonly log?: Logger | undefined;
}

type Acts = TokenIssuer & TokenIntrospector & TokenRevoker;

/** Whether such an act is in the audit trail also when it was served. */
const leavesRow = (action: AuditAction) => action !== 'token.introspect';

/** Errors that a client meets only after it has proven who it is. */
const afterProof: ReadonlySet<string> = new Set(['invalid_scope', 'invalid_target', 'unauthorized_client']);

/**
 * The acts of clients, refused with `slow_down` where they come too soon. Such a refusal costs no look at the registry,
 * and the audit trail has a row of it once a minute for each address.
 */
export function limitRequests(acts: Acts, context: LimitContext): Acts {
  const { rate, trail, now, monotonicMs, log } = context;
  const recordedAtMs = new Map<string, number>();

  async function refuse(
    waitMs: number,
    from: Requester,
    action: AuditAction,
    caller: Caller,
  ): Promise<never> {
    const nowMs = monotonicMs();
    const key = from.address === undefined ? '' : addressKey(from.address);
    const lastMs = recordedAtMs.get(key);
    if (lastMs === undefined || nowMs - lastMs >= RECORD_INTERVAL_MS) {
      putBounded(recordedAtMs, key, nowMs, MAX_REMEMBERED);
      const { clientId } = from;
      log?.warn({ event: 'requests_limited', address: from.address }, 'requests come too soon');
      const actor = clientId === undefined ? anonymousActor : clientActor(clientId);
      const event = { atMs: now(), actor, action, caller, target: clientId, result: 'slow_down' };
      await trail.recordEvent(auditEvent(event)).catch((cause: unknown) => {
        // Nothing was done, and it is refused in any case.
        const { requestId } = caller;
        log?.error(
          { event: 'refusal_not_recorded', err: cause, requestId },
          'a refusal could not be recorded',
        );
      });
    }
    throw new SlowDownError(waitMs);
  }

  const limited =
    <Request extends ClientRequest, Answer>(
      action: AuditAction,
      act: (request: Request) => Promise<Answer>,
    ) =>
    async (request: Request): Promise<Answer> => {
      const { caller } = request;
      const from = { address: caller.address, clientId: claimedClient(request).clientId };
      const isRecorded = leavesRow(action);
      const waitMs = isRecorded ? rate.tokenWaitMs(from) : rate.proofWaitMs(from);
      if (waitMs > 0) return await refuse(waitMs, from, action, caller);
      const proven = isRecorded ? 'token' : 'proven';
      try {
        const answer = await act(request);
        rate.note(from, proven);
        return answer;
      } catch (error) {
        const code = error instanceof FleetgateError ? error.code : undefined;
        if (!isRecorded) rate.noteRow(from);
        if (code === 'invalid_client') rate.note(from, 'unproven');
        else if (code !== undefined && afterProof.has(code)) rate.note(from, proven);
        throw error;
      }
    };

  return {
    ...acts,
    async refuse(error, caller, action = 'token.issue') {
      const from = { address: caller.address, clientId: undefined };
      const isRecorded = leavesRow(action);
      const waitMs = isRecorded ? rate.tokenWaitMs(from) : rate.proofWaitMs(from);
      if (waitMs > 0) return await refuse(waitMs, from, action, caller);
      if (!isRecorded) rate.noteRow(from);
      rate.note(from, 'unproven');
      return await acts.refuse(error, caller, action);
    },
    issue: limited('token.issue', acts.issue),
    introspectToken: limited('token.introspect', acts.introspectToken),
    revokeToken: limited('token.revoke', acts.revokeToken),
  };
}
