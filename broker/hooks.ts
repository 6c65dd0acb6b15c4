import { type ReasonCode, SESSION_TOPIC, TOKEN_TOPIC } from '@fleetgate/shared';
import type { AedesOptions, AuthenticateError, ConnectPacket } from 'aedes';
import { authenticate, type ConnectAnswer } from './authenticate.ts';
import { type Attempt, type Decision, refused } from './authorization/decide.ts';
import { type ConnectRefusal, returnCodes, willAttempt } from './connect.ts';
import type { Core } from './core.ts';
import type { RetainedMessage } from './guard/guard.ts';
import type { HostClient, HostWill } from './guard/host.ts';
import { withinRate } from './message-rate.ts';
import { discard, isOwnPacket } from './own-topics.ts';
import { renew } from './renewal.ts';
import { inSpan } from './spans.ts';
import { judgeSubscription } from './subscription.ts';

/** What is given to Aedes when it is made: its hooks, and those of its own limits that follow ours. */
export type AedesHooks = Required<
  Pick<
    AedesOptions,
    | 'preConnect'
    | 'authenticate'
    | 'authorizePublish'
    | 'authorizeSubscribe'
    | 'authorizeForward'
    | 'connectTimeout'
    | 'drainTimeout'
    | 'maxClientsIdLength'
    | 'concurrency'
  >
>;

/** The hooks of them that decide; `attach` wants them in the broker. */
export const decidingHooks = [
  'preConnect',
  'authenticate',
  'authorizePublish',
  'authorizeSubscribe',
  'authorizeForward',
] as const satisfies (keyof AedesHooks)[];

/** Reasons for which `denied_publish: drop` acknowledges: those of the policy. Whoever has no session is closed. */
const policyReasons: ReadonlySet<ReasonCode> = new Set<ReasonCode>([
  'topic_reserved',
  'no_rule',
  'denied_by_rule',
  'qos_too_high',
  'retain_not_allowed',
  'payload_too_large',
  'too_many_retained',
  'rate_exceeded',
]);

const HOST_TIMEOUT_MARGIN_MS = 5_000;

/** Aedes' hooks: its callback shapes on one side, `rule` on the other. None throws or rejects into the host. */
export function createHooks(core: Core): AedesHooks {
  const { sessions, onError, reportOf, reports, rule } = core;
  const { settings } = core;
  const { limits } = settings;
  const { installed } = core;

  return Object.freeze<AedesHooks>({
    // The host's own, which ends at CONNECT, after ours: only ours is reported.
    connectTimeout: limits.connectTimeoutSeconds * 1000 + HOST_TIMEOUT_MARGIN_MS,
    drainTimeout: limits.drainTimeoutSeconds * 1000,
    // Only for MQTT 3.1, which is refused.
    maxClientsIdLength: 23,
    // No queue in the emitter: one slow reader would hold up everybody's messages in it, and a long one ends the
    // process when it is worked off. What a reader may leave unread is bounded by a guard.
    concurrency: 0,

    preConnect(client, packet, callback) {
      const reason = screenConnect(core, client as HostClient, packet);
      if (reason === undefined) return callback(null, true);
      reportOf(client, { action: 'connect', reason });
      callback(denial(reason), false);
    },

    authenticate(client, _userName, password, callback) {
      const host = client as HostClient;
      const connection = sessions.connections.get(host);
      const protocol = connection?.protocol;
      const tokenId = () => connection?.session?.principal.tokenId;
      inSpan({ name: 'fleetgate.connect', protocol, resultOf, tokenId, onError }, () =>
        authenticate(core, host, password),
      )
        .then(
          (answer) => {
            if (answer === 'gone') {
              if (connection?.isTimedOut !== true) reports.gone(protocol);
              return;
            }
            if (answer === 'enter') return callback(null, true);
            reportOf(client, { action: 'connect', ...answer });
            callback(connectError(answer), false);
          },
          (error) => {
            onError(error);
            reportOf(client, { action: 'connect', reason: 'internal_error' });
            callback(connectError({ returnCode: returnCodes.unavailable, reason: 'internal_error' }), false);
          },
        )
        .catch((error) => {
          onError(error);
          host.conn.destroy();
        });
    },

    authorizePublish(client, packet, callback) {
      const host = client as HostClient | null;
      const session = host === null ? undefined : sessions.byClient.get(host);
      if (packet.topic === TOKEN_TOPIC && session !== undefined && !session.client.closed && !core.isClosed) {
        return renew(core, session, packet, () => callback(null));
      }
      if (host === null) return callback(refuseWillOfLostPeer(core, packet as unknown as LostWill));
      const isWill = host.will !== undefined && host.will === (packet as unknown as HostWill);
      const decision = isWill
        ? judgeWill(core, host, host.will as HostWill)
        : judgePublish(core, host, packet);
      const action = isWill ? 'will' : 'publish';
      const answer = (reason: ReasonCode | undefined) => {
        if (reason === undefined) {
          reports.allowed(host, action, packet.topic);
          return callback(null);
        }
        reportOf(client, { action, reason, topic: packet.topic });
        if (isWill || settings.deniedPublish === 'disconnect' || !policyReasons.has(reason)) {
          return callback(denial(reason));
        }
        discard(packet);
        callback(null);
      };
      if (!decision.allowed) return answer(decision.reason);
      const { publish } = installed;
      if (publish === undefined) return answer(undefined);
      publish(host, packet, isWill)
        .then(answer, (error) => {
          onError(error);
          answer('internal_error');
        })
        .catch(onError);
    },

    authorizeSubscribe(client, subscription, callback) {
      const decision = judgeSubscription(core, client, subscription);
      if (decision.allowed) {
        reports.allowed(client, 'subscribe', subscription.topic);
        return callback(null, subscription);
      }
      const { reason } = decision;
      reportOf(client, { action: 'subscribe', reason, topic: subscription.topic });
      // An error closes the connection; a refusal is return code 0x80 for this filter.
      if (reason === 'filter_malformed' || !sessions.byClient.has(client)) return callback(denial(reason));
      callback(null, null);
    },

    authorizeForward(client, packet) {
      for (const deliver of installed.deliver) if (!deliver(client as HostClient, packet)) return null;
      if (packet.topic === SESSION_TOPIC) return isOwnPacket(packet) ? packet : null;
      const decision = rule(client, { action: 'receive', topic: packet.topic });
      if (decision.allowed) {
        reports.allowed(client, 'receive', packet.topic);
        return packet;
      }
      reportOf(client, { action: 'receive', reason: decision.reason, topic: packet.topic });
      for (const withheld of installed.withheld) withheld(client as HostClient, packet);
      return null;
    },
  });
}

function screenConnect(
  { sessions, guards, onError, isClosed }: Core,
  client: HostClient,
  packet: ConnectPacket,
) {
  try {
    const connection = sessions.connections.get(client);
    // Not attached, or a connection that went past the guards.
    if (connection === undefined || isClosed) return 'internal_error';
    connection.connect = { ...packet };
    for (const guard of guards.connect) {
      const reason = guard.connect(client, packet);
      if (reason !== undefined) return reason;
    }
    return undefined;
  } catch (error) {
    onError(error);
    return 'internal_error';
  }
}

type PublishAttempt = Attempt & { action: 'publish' };

function judgePublish(
  core: Core,
  client: HostClient,
  packet: { topic: string; qos: 0 | 1 | 2; retain: boolean; payload: Uint8Array | string },
): Decision {
  // What a closing client still had in the air was not accepted before.
  if (client.closed) return refused.not_authenticated;
  const { topic, qos, retain, payload } = packet;
  const bytes = typeof payload === 'string' ? Buffer.byteLength(payload) : (payload?.length ?? Infinity);
  const attempt = { action: 'publish', topic, qos, retain, bytes } as const;
  return judgeRetained(core, client, packet, judgeRate(core, client, attempt, core.rule(client, attempt)));
}

function judgeWill(core: Core, client: HostClient, will: HostWill): Decision {
  return judgeRetained(core, client, will, core.rule(client, willAttempt(will), true));
}

function judgeRate(core: Core, client: HostClient, attempt: PublishAttempt, decision: Decision): Decision {
  if (!decision.allowed || decision.rate === undefined) return decision;
  try {
    return withinRate(core.sessions.byClient.get(client), attempt, decision, core.monotonicMs());
  } catch (error) {
    core.onError(error);
    return refused.internal_error;
  }
}

/** Last, when nothing else refuses it: it takes room. */
function judgeRetained(
  { installed }: Core,
  client: HostClient,
  message: RetainedMessage & { readonly retain: boolean },
  decision: Decision,
): Decision {
  if (!message.retain || !decision.allowed) return decision;
  for (const retainProblem of installed.retain) {
    const reason = retainProblem(client, message);
    if (reason !== undefined) return refused[reason];
  }
  return decision;
}

interface LostWill {
  readonly clientId: string;
  readonly brokerId: string;
}

/**
 * The will of a client of a broker that is gone. Nobody here knows what that client was granted, so it is not
 * published, and not kept: the host would stumble over it again and again, and over those behind it never.
 */
function refuseWillOfLostPeer(
  { report, guardContext, onError }: Core,
  { clientId, brokerId }: LostWill,
): Error {
  report({ action: 'will', reason: 'not_authenticated' });
  guardContext?.broker.persistence.delWill({ id: clientId, brokerId }).catch(onError);
  return denial('not_authenticated');
}

function resultOf(answer: ConnectAnswer): string {
  if (answer === 'enter') return 'accepted';
  return answer === 'gone' ? answer : answer.reason;
}

function denial(reason: string): Error {
  return new Error(`refused: ${reason}`);
}

function connectError({ returnCode, reason }: ConnectRefusal): AuthenticateError {
  return Object.assign(denial(reason), { returnCode }) as AuthenticateError;
}
