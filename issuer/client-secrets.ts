import { FleetgateError, isIdentifier, OAuthError } from '@fleetgate/shared';
import { administrativeActs } from './administrative-act.ts';
import type { AuditEvent } from './audit.ts';
import { checkChosenSecret } from './chosen-secret.ts';
import { makeCredential, type ShownCredential } from './client-credential.ts';
import type { Administrator } from './clients.ts';
import type { ContextVault } from './oscore-context.ts';
import type { Registry } from './registry/registry.ts';
import type { OwnedSecret, SecretPosition } from './registry/secret-registry.ts';
import { expiring } from './revocation.ts';
import { type ClientSecret, checkSecretEnd, isLiveSecret, unusedSecret } from './secrets.ts';

/** Secrets on one page of a list. */
export const MAX_PAGE_SECRETS = 1000;

/** How long an old secret goes on when nothing else is said. Ours: a machine that is off over a weekend is served. */
export const DEFAULT_OVERLAP_SECONDS = 604_800;

/** Longest overlap, and how far ahead the list of ending secrets looks. Ours: a machine that is off all winter. */
export const MAX_OVERLAP_SECONDS = 31_622_400;

/** How far ahead the list of ending secrets looks unless asked: time for a rotation with an overlap. */
export const DEFAULT_EXPIRING_SECONDS = 2_592_000;

/** What is asked of a rotation. */
export interface RotationRequest {
  /** For how long the old secret goes on; 0 ends it now. Default 7 days, with `untilNewIsUsed` no limit. */
  readonly overlapSeconds?: number | undefined;
  /** Whether the old secret ends a minute after the new one was used first. Default no. */
  readonly untilNewIsUsed?: boolean | undefined;
  /** When the new secret ends. Default: no end. */
  readonly expiresAtMs?: number | undefined;
  /** One that was made elsewhere; see {@link checkChosenSecret}. Default: one is made. */
  readonly clientSecret?: string | undefined;
  /** Whether to revoke all tokens of the client too; only with an overlap of 0. Default no. */
  readonly revokeTokens?: boolean | undefined;
}

export interface RotatedSecret {
  readonly secret: ClientSecret;
  /** Shown this once. */
  readonly shown: ShownCredential;
  /** The secret it has beside it, while that goes on. */
  readonly old: ClientSecret | undefined;
}

/** Which secrets a list is to hold. `withinSeconds` as {@link DEFAULT_EXPIRING_SECONDS} says. */
export interface SecretListRequest {
  readonly state: 'never_used' | 'expiring';
  readonly withinSeconds?: number | undefined;
  readonly after?: SecretPosition | undefined;
  readonly limit: number;
}

export interface SecretListPage {
  readonly secrets: readonly OwnedSecret[];
  readonly nextAfter: SecretPosition | undefined;
}

/** The administrative acts on secrets. Each, done or refused, is in the audit trail before its promise settles. */
export interface ClientSecrets {
  /** @throws FleetgateError `client_unknown`, `secret_limit_reached`, `not_supported`, `invalid_request` */
  rotate(clientId: string, request: RotationRequest, by: Administrator): Promise<RotatedSecret>;
  /**
   * Ends a secret now. Tokens that were issued for it live on. One that has ended is left as it is.
   * @throws FleetgateError `client_unknown`, `secret_unknown`
   */
  end(clientId: string, secretId: string, by: Administrator): Promise<void>;
  /**
   * The secrets of a client from old to new, also one that has ended.
   * @throws FleetgateError `client_unknown`
   */
  of(clientId: string): Promise<readonly (ClientSecret & { readonly isLive: boolean })[]>;
  /** Live secrets of all clients: never used, from old to new; or those that end soon, the next to end first. */
  list(request: SecretListRequest): Promise<SecretListPage>;
}

/** The result in the audit trail of ending what had ended. */
const ENDED_ALREADY = 'ended_already';

/** @param onRevoked called after an act that revoked tokens */
export function openClientSecrets(
  registry: Registry,
  now: () => number,
  onRevoked: () => void,
  contexts: ContextVault,
): ClientSecrets {
  const { event, recorded } = administrativeActs(registry, now);

  async function rotate(
    clientId: string,
    request: RotationRequest,
    event: AuditEvent,
  ): Promise<RotatedSecret> {
    const { atMs } = event;
    checkRotation(request, atMs);
    const client = isIdentifier(clientId) ? await registry.findClient(clientId) : undefined;
    if (client === undefined) throw unknownClient();
    const made = makeCredential(client.authMethod, contexts, { chosen: request.clientSecret });
    if (made === undefined) {
      throw new FleetgateError(
        'not_supported',
        `this client authenticates by ${client.authMethod} and has no secret`,
      );
    }
    const { untilNewIsUsed = false, revokeTokens = false, expiresAtMs } = request;
    const overlapSeconds = request.overlapSeconds ?? (untilNewIsUsed ? undefined : DEFAULT_OVERLAP_SECONDS);
    const secret = unusedSecret(made.kept, { createdAtMs: atMs, expiresAtMs });
    const atSeconds = Math.floor(atMs / 1000);
    const rotated = await registry.rotateSecret(
      {
        clientId,
        secret,
        olderEndAtMs: overlapSeconds === undefined ? undefined : atMs + overlapSeconds * 1000,
        olderEndOnSuccession: untilNewIsUsed,
        ...(revokeTokens && {
          revocation: expiring({ kind: 'client', clientId, atSeconds }, atSeconds),
        }),
      },
      event,
    );
    if (rotated.outcome === 'client_unknown') throw unknownClient();
    if (rotated.outcome === 'too_many') throw tooMany(clientId, rotated.secrets);
    if (revokeTokens) onRevoked();
    const old = rotated.secrets.find((one) => one.secretId !== secret.secretId && isLiveSecret(one, atMs));
    return { secret, shown: made.shown, old };
  }

  async function end(clientId: string, secretId: string, event: AuditEvent): Promise<void> {
    const outcome = isIdentifier(clientId)
      ? await registry.endSecret(clientId, secretId, event)
      : 'client_unknown';
    if (outcome === 'client_unknown') throw unknownClient();
    if (outcome === 'secret_unknown') {
      throw new FleetgateError(
        'secret_unknown',
        'the client has no secret of this id; its ids: fleetgate client secrets ID',
      );
    }
    if (outcome === 'already') await registry.recordEvent({ ...event, result: ENDED_ALREADY });
  }

  return {
    rotate: (clientId, request, by) =>
      recorded('secret.rotate', clientId, by, () =>
        rotate(clientId, request, event(by, 'secret.rotate', clientId)),
      ),
    end: (clientId, secretId, by) =>
      recorded('secret.end', clientId, by, () => end(clientId, secretId, event(by, 'secret.end', clientId))),
    async of(clientId) {
      const client = isIdentifier(clientId) ? await registry.findClient(clientId) : undefined;
      if (client === undefined) throw unknownClient();
      const atMs = now();
      return client.secrets.map((secret) => ({ ...secret, isLive: isLiveSecret(secret, atMs) }));
    },
    async list({ state, withinSeconds, after, limit }) {
      if (state === 'never_used' && withinSeconds !== undefined) {
        invalid('within_seconds belongs to state=expiring');
      }
      const nowMs = now();
      const size = Math.min(limit, MAX_PAGE_SECRETS);
      const untilMs = nowMs + (withinSeconds ?? DEFAULT_EXPIRING_SECONDS) * 1000;
      const found = await registry.listSecrets({ state, nowMs, untilMs, after, limit: size + 1 });
      const secrets = found.slice(0, size);
      return { secrets, nextAfter: found.length > size ? secrets.at(-1)?.position : undefined };
    },
  };
}

function checkRotation(
  { overlapSeconds, expiresAtMs, revokeTokens, clientSecret }: RotationRequest,
  atMs: number,
): void {
  if (clientSecret !== undefined) checkChosenSecret(clientSecret);
  if (overlapSeconds !== undefined && !isOverlap(overlapSeconds)) {
    invalid(`overlap_seconds must be a whole number from 0 to ${MAX_OVERLAP_SECONDS}`);
  }
  checkSecretEnd('expires_at', expiresAtMs, atMs);
  if (revokeTokens === true && overlapSeconds !== 0) {
    invalid(
      'revoke_tokens needs overlap_seconds 0: whoever has the old secret would fetch new tokens with it',
    );
  }
}

const isOverlap = (seconds: number) =>
  Number.isSafeInteger(seconds) && seconds >= 0 && seconds <= MAX_OVERLAP_SECONDS;

/** Refused rather than taking the place of one: the one that waits to be used may be on its way to the machine. */
function tooMany(clientId: string, secrets: readonly ClientSecret[]): FleetgateError {
  const unused = secrets.findLast(({ firstUsedAtMs }) => firstUsedAtMs === undefined);
  const { secretId } = (unused ?? secrets[0]) as ClientSecret;
  const which = unused === undefined ? 'the older' : 'one that was never used';
  return new FleetgateError(
    'secret_limit_reached',
    `the client has two live secrets; first end ${which}, ${secretId} (fleetgate client end-secret ` +
      `${clientId} ${secretId}), or rotate with an overlap of 0 (overlap_seconds 0), which ends both`,
  );
}

function unknownClient(): FleetgateError {
  return new FleetgateError('client_unknown', 'there is no such client');
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
