import type { Refusal } from './refusal.ts';
import type { Session } from './session.ts';

/**
 * One event that matters for security, as it is written down: names as on the wire. It holds no token and no payload.
 * Refused deliveries are left out: with a `broader: filter` rule they are everyday.
 */
export interface AuditEvent {
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly event: AuditEventName;
  /** The client as its token says; absent before a token was verified. */
  readonly client_id?: string;
  /** Of `connect_refused`: the MQTT client id that was presented, unverified, where it is not `client_id`. */
  readonly presented_client_id?: string;
  readonly address?: string;
  /** Why it was refused or ended. */
  readonly reason?: string;
  /** Topic or filter, cut as in the log. */
  readonly topic?: string;
  /** `jti` of its token. */
  readonly token_id?: string;
  /** Of `refused_more`: how many. */
  readonly count?: number;
}

export const auditEventNames = [
  'connect_accepted',
  'connect_refused',
  'session_ended',
  'renewal_accepted',
  'renewal_refused',
  'publish_refused',
  'will_refused',
  'subscribe_refused',
  'packet_refused',
  'refused_more',
  'policy_changed',
] as const;
export type AuditEventName = (typeof auditEventNames)[number];

const eventOfAction: Readonly<Record<Exclude<Refusal['action'], 'receive'>, AuditEventName>> = {
  connect: 'connect_refused',
  session: 'session_ended',
  renewal: 'renewal_refused',
  publish: 'publish_refused',
  will: 'will_refused',
  subscribe: 'subscribe_refused',
  packet: 'packet_refused',
};

/** What is written down of a refusal; `undefined` for those that are left out. */
export function auditOfRefusal(refusal: Refusal, nowMs: number): AuditEvent | undefined {
  const { action } = refusal;
  return action === 'receive' ? undefined : auditEvent(eventOfAction[action], nowMs, refusal);
}

/** What is written down of a session that was accepted, or renewed. */
export function auditOfSession(
  event: 'connect_accepted' | 'renewal_accepted',
  { principal, connection }: Session,
  nowMs: number,
): AuditEvent {
  const { clientId, tokenId } = principal;
  return auditEvent(event, nowMs, { clientId, tokenId, address: connection.address });
}

/** An event; what is not known is left out. */
export function auditEvent(
  event: AuditEventName,
  nowMs: number,
  about: Pick<Refusal, 'clientId' | 'presentedClientId' | 'address' | 'topic' | 'tokenId'> & {
    reason?: string;
    count?: number;
  } = {},
): AuditEvent {
  const { clientId, presentedClientId, address, reason, topic, tokenId, count } = about;
  return {
    at: new Date(nowMs).toISOString(),
    event,
    ...(clientId === undefined ? {} : { client_id: clientId }),
    ...(presentedClientId === undefined ? {} : { presented_client_id: presentedClientId }),
    ...(address === undefined ? {} : { address }),
    ...(reason === undefined ? {} : { reason }),
    ...(topic === undefined ? {} : { topic }),
    ...(tokenId === undefined ? {} : { token_id: tokenId }),
    ...(count === undefined ? {} : { count }),
  };
}
