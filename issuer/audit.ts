import { isSecretShaped } from '@fleetgate/shared';
import type { FieldChange } from './field-changes.ts';

/** What the audit trail records: every administrative act and every token issued, refused or revoked. */

export type AuditAction =
  | 'token.issue'
  | 'token.revoke'
  | 'token.introspect'
  | 'client.revoke'
  | 'issued_before.revoke'
  | 'key.revoke'
  | 'client.create'
  | 'client.update'
  | 'client.quarantine'
  | 'client.release'
  | 'client.delete'
  | 'template.put'
  | 'template.delete'
  | 'job.create'
  | 'job.cancel'
  | 'campaign.create'
  | 'campaign.pause'
  | 'campaign.resume'
  | 'campaign.finish'
  | 'campaign.cancel'
  | 'enrollment.create'
  | 'enrollment.revoke'
  | 'enrollment.roll_key'
  | 'enrollment.allow'
  | 'enrollment.approve'
  | 'enrollment.reject'
  | 'device.enroll'
  | 'secret.rotate'
  | 'secret.end'
  | 'secret.first_use'
  | 'key.publish'
  | 'key.schedule'
  | 'key.activate'
  | 'key.retire'
  | 'key.remove'
  | 'key.reencrypt'
  | 'app.create'
  | 'app.delete'
  | 'api_key.create'
  | 'api_key.rotate'
  | 'api_key.delete'
  | 'admin.authenticate'
  | 'admin.authorize'
  | 'audit.prune'
  | 'database.restore'
  | 'database.migrate';

/** One audit row. It never holds a secret, a token or anything a caller chose freely and unchecked. */
export interface AuditEvent {
  readonly atMs: number;
  /** Who acted; see {@link adminActor}, {@link clientActor}, {@link anonymousActor}, {@link issuerActor}. */
  readonly actor: string;
  /** Address of the peer's socket; unset for what the issuer does by itself. */
  readonly address: string | undefined;
  readonly action: AuditAction;
  /** What was acted upon: a client id, a key id, the name of an API key or a template, a job, or a row of the trail as `SEQUENCE:HASH`. */
  readonly target: string | undefined;
  /** `ok`, the error code the caller was answered with, or why nothing was done. */
  readonly result: string;
  readonly requestId: string | undefined;
  /** `jti` of an issued or revoked token. */
  readonly tokenId: string | undefined;
  /** What a `client.update` changed; unset for every other act, and where it changed nothing. */
  readonly changes?: readonly FieldChange[] | undefined;
}

export interface RecordedAuditEvent extends AuditEvent {
  /** Position in the trail, increasing. */
  readonly sequence: number;
}

/** Who asks, as the transport knows it. */
export interface Caller {
  readonly address: string | undefined;
  readonly requestId: string | undefined;
  /** W3C Trace Context of a request over HTTP, as it came: for a span alone, never recorded. */
  readonly traceparent?: string | undefined;
}

/** Whoever holds the admin API key of that name. */
export const adminActor = (keyName: string) => `admin:${keyName}`;
/** A client by the id it claims; whether it proved it says the result. */
export const clientActor = (clientId: string) => `client:${clientId}`;
/** A device by the enrollment whose claim code or key it has shown. */
export const enrollmentActor = (enrollmentId: string) => `enrollment:${enrollmentId}`;
/** A request that names nobody, or nobody that could exist. */
export const anonymousActor = 'anonymous';
/** Whoever works on the files of the data directory while no issuer runs on it. */
export const operatorActor = 'operator';
/** The issuer itself. */
export const issuerActor = 'issuer';

interface EventFields {
  readonly atMs: number;
  readonly actor: string;
  readonly action: AuditAction;
  readonly caller?: Caller;
  readonly target?: string | undefined;
  readonly result?: string;
  readonly tokenId?: string | undefined;
}

/** An event; `result` is `ok` unless given. */
export function auditEvent({
  atMs,
  actor,
  action,
  caller,
  target,
  result = 'ok',
  tokenId,
}: EventFields): AuditEvent {
  const address = caller?.address;
  return withResult({ atMs, actor, address, action, target, requestId: caller?.requestId, tokenId }, result);
}

/**
 * The event with what came of it. Of a refusal it holds no client id that could be a secret: who is refused may have
 * taken one for the other.
 */
export function withResult(event: Omit<AuditEvent, 'result'>, result: string): AuditEvent {
  const { actor, action, target } = event;
  // The ids of keys have that shape too.
  if (result === 'ok' || action.startsWith('key.')) return { ...event, result };
  const prefix = clientActor('');
  const isDoubtfulActor = actor.startsWith(prefix) && isSecretShaped(actor.slice(prefix.length));
  return {
    ...event,
    actor: isDoubtfulActor ? anonymousActor : actor,
    target: target !== undefined && isSecretShaped(target) ? undefined : target,
    result,
  };
}
