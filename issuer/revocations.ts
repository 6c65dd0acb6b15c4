import { FleetgateError, isIdentifier, isTokenId, OAuthError } from '@fleetgate/shared';
import { type AuditAction, type AuditEvent, adminActor, auditEvent, withResult } from './audit.ts';
import type { Administrator } from './clients.ts';
import type { KeyAdministration } from './keys/key-administration.ts';
import type { Registry } from './registry/registry.ts';
import { expiring, type RecordedRevocation, type RevocationTarget } from './revocation.ts';

/** Revocations on one page of a list. */
export const MAX_PAGE_REVOCATIONS = 1000;

/** How far ahead of the clock `issued_before` may lie: what scripts' clocks need. */
const MAX_AHEAD_SECONDS = 5;

/** What an administrator asks to be revoked. A client's moment is now, and where none is named that of `issued_before`. */
export type RevocationRequest =
  | Exclude<RevocationTarget, { kind: 'client' | 'issued_before' }>
  | { readonly kind: 'client'; readonly clientId: string }
  | { readonly kind: 'issued_before'; readonly clientId?: string; readonly atSeconds?: number };

export interface RevocationMade {
  readonly revocation: RecordedRevocation;
  /** Whether one that takes back as much was there already, and nothing was done. */
  readonly isRepeated: boolean;
}

export interface RevocationPage {
  readonly revocations: readonly RecordedRevocation[];
  readonly nextAfter: string | undefined;
}

/** The administrative acts that revoke. Each, done or refused, is in the audit trail before its promise settles. */
export interface Revocations {
  /** @throws FleetgateError `client_unknown`, `key_unknown`, `not_supported`, `invalid_request` */
  revoke(request: RevocationRequest, by: Administrator): Promise<RevocationMade>;
  /** One page of those that have not expired, in the order they were made. */
  list(page: { readonly after?: string | undefined; readonly limit: number }): Promise<RevocationPage>;
}

const actions: Readonly<Record<DirectTarget['kind'], AuditAction>> = {
  token: 'token.revoke',
  client: 'client.revoke',
  issued_before: 'issued_before.revoke',
};

/** The result in the audit trail of an act that was done before. */
export const REVOKED_ALREADY = 'revoked_already';

/** What is revoked in the registry itself; keys are in more hands. */
type DirectTarget = Exclude<RevocationTarget, { kind: 'key' }>;

/** @param onRevoked called after an act that revoked tokens */
export function openRevocations(
  registry: Registry,
  now: () => number,
  onRevoked: () => void,
  { revoke: revokeKey }: Pick<KeyAdministration, 'revoke'>,
): Revocations {
  async function revoke(target: DirectTarget, event: AuditEvent): Promise<RevocationMade> {
    const nowSeconds = Math.floor(event.atMs / 1000);
    checkTarget(target, nowSeconds);
    const recorded = await registry.revoke(expiring(target, nowSeconds), event);
    switch (recorded.outcome) {
      case 'recorded':
        onRevoked();
        return { revocation: recorded.revocation, isRepeated: false };
      case 'already':
        await registry.recordEvent({ ...event, result: REVOKED_ALREADY });
        return { revocation: recorded.revocation, isRepeated: true };
      default:
        throw new FleetgateError(
          'client_unknown',
          'there is no such client; the tokens of a client that was deleted were revoked with it',
        );
    }
  }

  return {
    async revoke(request, by) {
      if (request.kind === 'key') return revokeKey(request.keyId, by);
      const atMs = now();
      const target = targetOf(request, Math.floor(atMs / 1000));
      const event = eventOf(target, atMs, by);
      try {
        return await revoke(target, event);
      } catch (error) {
        if (!(error instanceof FleetgateError) || error.code === 'registry_unavailable') throw error;
        await registry.recordEvent(withResult(event, error.code));
        throw error;
      }
    },
    async list({ after, limit }) {
      const size = Math.min(limit, MAX_PAGE_REVOCATIONS);
      const nowSeconds = Math.floor(now() / 1000);
      const found = await registry.listRevocations({ after, nowSeconds, limit: size + 1 });
      const revocations = found.slice(0, size);
      return { revocations, nextAfter: found.length > size ? revocations.at(-1)?.cursor : undefined };
    },
  };
}

function targetOf(request: Exclude<RevocationRequest, { kind: 'key' }>, nowSeconds: number): DirectTarget {
  switch (request.kind) {
    case 'token':
      return request;
    case 'client':
      return { ...request, atSeconds: nowSeconds };
    case 'issued_before':
      // The end of this second, so that what was issued in it is hit.
      return { ...request, atSeconds: request.atSeconds ?? nowSeconds + 1 };
  }
}

function eventOf(target: DirectTarget, atMs: number, by: Administrator): AuditEvent {
  // A wrong id is told to the caller; the audit holds none that could not exist.
  const clientId = 'clientId' in target && isIdentifier(target.clientId) ? target.clientId : undefined;
  return auditEvent({
    atMs,
    actor: adminActor(by.keyName),
    action: actions[target.kind],
    caller: by,
    target: clientId,
    tokenId: target.kind === 'token' && isTokenId(target.tokenId) ? target.tokenId : undefined,
  });
}

function checkTarget(target: DirectTarget, nowSeconds: number): void {
  if (target.kind === 'token' && !isTokenId(target.tokenId)) {
    invalid('jti must be 1 to 256 visible ASCII characters');
  }
  if ('clientId' in target && target.clientId !== undefined && !isIdentifier(target.clientId)) {
    invalid('client_id must match [A-Za-z0-9._-]{1,64}');
  }
  if ('atSeconds' in target) checkMoment(target.atSeconds, nowSeconds);
}

function checkMoment(atSeconds: number, nowSeconds: number): void {
  if (!Number.isSafeInteger(atSeconds) || atSeconds < 0) invalid('at must be whole seconds since 1970');
  if (atSeconds > nowSeconds + MAX_AHEAD_SECONDS) {
    invalid('at lies in the future; what is issued until then cannot be revoked now');
  }
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
