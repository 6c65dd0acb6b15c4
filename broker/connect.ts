import { isTopicName, TokenError, type TokenErrorCode } from '@fleetgate/shared';
import type { VerifiedToken } from '@fleetgate/verifier';
import type { ConnectPacket } from 'aedes';
import type { Principal } from './authorization/decide.ts';
import { decide } from './authorization/decide.ts';
import { clientKey } from './client-key.ts';
import type { HostWill } from './guard/host.ts';
import type { Settings } from './options.ts';
import type { RefusalReason } from './refusal.ts';
import type { RevokedAs } from './revocation.ts';

/** CONNACK return codes (MQTT 3.1.1 §3.2.2.3), by what they tell a device to do. */
export const returnCodes = Object.freeze({
  /** Use another client id. */
  identifierRejected: 2,
  /** Come back later. */
  unavailable: 3,
  /** Get a new token. */
  badToken: 4,
  /** This is not allowed; trying again will not help. */
  notAllowed: 5,
});

export interface ConnectRefusal {
  readonly returnCode: number;
  readonly reason: RefusalReason;
  /** Once a token has shown it. */
  readonly clientId?: string;
  readonly tokenId?: string;
  /** Of `login_backoff`: why the attempts before were refused. */
  readonly lastReason?: RefusalReason;
}

/** A CONNECT whose token has verified. */
export interface ConnectAttempt {
  readonly principal: Principal;
  readonly packet: ConnectPacket;
  readonly will: HostWill | undefined;
  readonly nowMs: number;
  readonly token: VerifiedToken;
  /** The token of the session that is kept under this client id, if there is one. */
  readonly keptOf: VerifiedToken | undefined;
  /** Sessions of the client that are kept, of any client id. */
  readonly keptOfClient: number;
  readonly revokedAs: RevokedAs | undefined;
  /** Whether what its issuer revoked is not known, and must be. */
  readonly lacksRevocations: boolean;
  readonly settings: Settings;
}

/** One condition of a CONNECT beyond its token. */
export interface ConnectCheck {
  /** The rule it holds, in a few words. */
  readonly name: string;
  readonly refuse: (attempt: ConnectAttempt) => ConnectRefusal | undefined;
}

/** MQTT client ids of more than a client's own characters are refused whatever the binding: they end up in topics. */
export const clientIdPattern = /^[A-Za-z0-9._-]{1,128}$/;

/** In this order; the first that refuses gives the answer. */
export const connectChecks: readonly ConnectCheck[] = Object.freeze([
  {
    name: 'the token has not expired while it waited',
    refuse: ({ principal, nowMs }) =>
      nowMs < principal.expiresAtMs ? undefined : refusal(returnCodes.badToken, 'token_expired'),
  },
  {
    name: 'the token has not been revoked while it waited',
    refuse: ({ revokedAs }) => (revokedAs === undefined ? undefined : refusal(codeOf(revokedAs), revokedAs)),
  },
  {
    name: 'what the issuer revoked is known where it must be',
    refuse: ({ lacksRevocations }) =>
      lacksRevocations ? refusal(returnCodes.unavailable, 'revocations_unavailable') : undefined,
  },
  {
    name: 'the user name is the client or empty',
    refuse: ({ packet: { username = '' }, principal }) =>
      username === '' || username === principal.clientId
        ? undefined
        : refusal(returnCodes.notAllowed, 'user_name_mismatch'),
  },
  {
    name: 'a session without a client id is not kept',
    // [MQTT-3.1.3-8]
    refuse: ({ packet }) =>
      packet.clientId === '' && !packet.clean
        ? refusal(returnCodes.identifierRejected, 'client_id_invalid')
        : undefined,
  },
  {
    name: 'the client id has no character that means something in a topic',
    refuse: ({ packet: { clientId } }) =>
      clientId === '' || clientIdPattern.test(clientId)
        ? undefined
        : refusal(returnCodes.identifierRejected, 'client_id_invalid'),
  },
  {
    name: 'the client id is bound to the client of the token',
    refuse: ({ packet: { clientId }, principal, settings }) =>
      isBound(clientId, principal.clientId, settings.clientIdBinding)
        ? undefined
        : refusal(returnCodes.identifierRejected, 'client_id_mismatch'),
  },
  {
    name: 'a session that is kept belongs to the client that made it',
    // Matters only where client ids are bound loosely, or two issuers have clients of one name.
    refuse: ({ keptOf, token }) =>
      keptOf === undefined || isSameClient(keptOf, token)
        ? undefined
        : refusal(returnCodes.identifierRejected, 'client_id_mismatch'),
  },
  {
    name: 'a client keeps no more sessions than the limit',
    // Of those that would be kept; who takes up one that is has no more than before.
    refuse: ({ packet, keptOf, keptOfClient, settings }) =>
      packet.clean || keptOf !== undefined || keptOfClient < settings.limits.maxSessionsPerClient
        ? undefined
        : refusal(returnCodes.unavailable, 'too_many_sessions'),
  },
  {
    name: 'the keep alive is within the limit',
    refuse: ({ packet: { keepalive = 0 }, settings }) =>
      keepalive > 0 && keepalive <= settings.limits.maxKeepaliveSeconds
        ? undefined
        : refusal(returnCodes.notAllowed, 'keepalive_refused'),
  },
  {
    name: 'the will is within the grants',
    refuse: ({ will, principal, nowMs }) => {
      if (will === undefined) return undefined;
      // `decide` leaves the form of a topic to the guard that looks at each PUBLISH.
      if (!isTopicName(will.topic)) return refusal(returnCodes.notAllowed, 'topic_malformed');
      const decision = decide(principal, willAttempt(will), nowMs);
      return decision.allowed ? undefined : refusal(returnCodes.notAllowed, decision.reason);
    },
  },
]);

/** Whether two tokens are of one client: the same name at the same issuer. */
export function isSameClient(
  one: { clientId: string; issuer: string },
  other: { clientId: string; issuer: string },
): boolean {
  return clientKey(one) === clientKey(other);
}

/** The will as what it will be: a publish. */
export function willAttempt({ topic, qos, retain, payload }: HostWill) {
  const bytes = payload?.length ?? 0;
  return { action: 'publish', topic, qos, retain, bytes } as const;
}

/** The answer to a CONNECT whose verification threw `error`. */
export function refusalOfError(error: unknown): ConnectRefusal {
  if (!(error instanceof TokenError)) return refusal(returnCodes.unavailable, 'internal_error');
  return { ...refusal(codeOf(error.code), error.code), ...error.of };
}

function codeOf(code: TokenErrorCode): number {
  if (code === 'keys_unavailable') return returnCodes.unavailable;
  return code === 'client_quarantined' ? returnCodes.notAllowed : returnCodes.badToken;
}

function isBound(mqttClientId: string, clientId: string, binding: Settings['clientIdBinding']): boolean {
  if (binding === 'none' || mqttClientId === clientId) return true;
  if (binding !== 'prefix' || !mqttClientId.startsWith(clientId)) return false;
  return '._-'.includes(mqttClientId.charAt(clientId.length));
}

function refusal(returnCode: number, reason: RefusalReason): ConnectRefusal {
  return { returnCode, reason };
}
