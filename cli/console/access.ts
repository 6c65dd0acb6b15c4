import { basename } from 'node:path';
import type { Attempt, Explanation, LiveSession, Policy, TokenExplanation } from '@fleetgate/broker';
import { FleetgateError, isIdentifier } from '@fleetgate/shared';
import { isMatrixTopic, MAX_TOPIC_LENGTH, ownTopic } from '../policy/matrix-topics.ts';
import { type NeededScopes, scopesNeededInTurns } from '../policy/needed-scopes.ts';
import type { RegisteredClient } from '../policy/registered-token.ts';
import { tokenOf } from '../policy/registered-token.ts';
import { scopeNotes } from '../policy/scope-notes.ts';
import { judgeOf, plainPublish, type Subject } from '../policy/subject.ts';
import type { PolicyFile } from '../policy-file.ts';
import type { AskAdmin } from './ask-admin.ts';
import { type Asked, detailOf, lookAtClients } from './looked-at.ts';

/** Clients that are named. */
const MAX_NAMED = 500;

/** Clients that are explained at once: one for each way in which the clients of a cell differ. */
const MAX_EXPLAINED = 8;

/** What the topic policy in force says of registered clients. */
export interface AccessOptions {
  /** The policy in force; undefined where no broker runs in this process. */
  readonly policy: () => PolicyFile | undefined;
  /** Of the brokers that hold clients to it. */
  readonly audience: string;
  /** What a client gets tokens for that was registered without saying. */
  readonly defaultAudience: readonly string[];
  /** Fields of metadata that the issuer copies into tokens. */
  readonly tokenClaims: readonly string[];
  /** Sessions of a client, where a broker runs in this process. */
  readonly sessions: (clientId: string) => Iterable<LiveSession>;
  /** What the broker of this process says to whoever holds that token; undefined where none runs. */
  readonly explainToken: (token: string, attempt: Attempt) => Promise<TokenExplanation | undefined>;
}

/**
 * One attempt, with what led to the decision: of a client, as if it had a token for all it may have, or of whoever holds the
 * token that is given.
 */
export async function decideFor(access: AccessOptions, ask: AskAdmin, question: unknown): Promise<Asked> {
  const inForce = access.policy();
  if (inForce === undefined) return noPolicy;
  const attempt = attemptOf(question);
  const { client_id: id, token } = (question ?? {}) as { client_id?: unknown; token?: unknown };
  if (attempt !== undefined && typeof token === 'string' && id === undefined) {
    // A token is no word of who asks: that is for the sign-in to say.
    const { status, body } = await ask('/v1/clients?limit=1');
    if (status !== 200) return { status, words: detailOf(body) };
    return decideForToken(access, inForce.policy, token.trim(), attempt);
  }
  if (attempt === undefined || typeof id !== 'string' || id === '' || token !== undefined) {
    const words = 'client_id or token, action (publish, subscribe or receive) and topic are wanted';
    return { status: 400, words };
  }
  const { status, body } = await ask(`/v1/clients/${encodeURIComponent(id)}`);
  if (status !== 200) return { status, words: status === 404 ? `no client ${id} is registered` : 'refused' };
  const { policy } = inForce;
  const subject = tokenOf([policy], access.tokenClaims, body as RegisteredClient);
  const explanation = judgeOf(policy, subject).explain(attempt);
  return { answer: { ...explanation, ...(await whatWouldDo(policy, subject, attempt, explanation)) } };
}

/** Scopes that would allow what is refused. */
async function whatWouldDo(
  policy: Policy,
  subject: Subject,
  attempt: Attempt,
  { decision }: Explanation,
): Promise<NeededScopes | undefined> {
  return decision.allowed ? undefined : scopesNeededInTurns(policy, subject, attempt);
}

async function decideForToken(
  { explainToken }: AccessOptions,
  policy: Policy,
  presented: string,
  attempt: Attempt,
): Promise<Asked> {
  const told = await explainToken(presented, attempt);
  if (told === undefined) return noPolicy;
  if ('refused' in told) {
    const { reason, returnCode } = told.refused;
    const decision = { allowed: false, reason };
    const because = `CONNECT is refused with code ${returnCode}: ${told.because}`;
    return { answer: { decision, attempt, because, notes: [] } };
  }
  const { token, explanation } = told;
  // An AIF scope has no name that one of the policy could stand beside.
  const needed =
    token.scopeFormat === 'aif' ? undefined : await whatWouldDo(policy, token, attempt, explanation);
  return {
    answer: {
      ...explanation,
      ...needed,
      token: {
        client_id: token.clientId,
        issuer: token.issuer,
        scopes: token.scopes,
        expires_at: token.expiresAtSeconds,
        // Whether a CONNECT wants the certificate it is bound to (RFC 8705 §3.1).
        is_bound: token.certificateThumbprint !== undefined,
      },
    },
  };
}

/**
 * Why some clients may do what they may at one place of the matrix: `{clients, topic}`. Placeholders in the topic are those
 * of each client.
 */
export async function cellFor(access: AccessOptions, ask: AskAdmin, question: unknown): Promise<Asked> {
  const inForce = access.policy();
  if (inForce === undefined) return noPolicy;
  const { clients: ids, topic } = (question ?? {}) as { clients?: unknown; topic?: unknown };
  const isList = Array.isArray(ids) && ids.length <= MAX_EXPLAINED && ids.every((id) => isIdentifier(id));
  const isTopic = typeof topic === 'string' && topic.length <= MAX_TOPIC_LENGTH && isMatrixTopic(topic);
  if (!isList || !isTopic) {
    return { status: 400, words: `clients (${MAX_EXPLAINED} ids at most) and topic are wanted` };
  }
  const explained: object[] = [];
  for (const id of ids) {
    const { status, body } = await ask(`/v1/clients/${encodeURIComponent(id)}`);
    if (status === 404) continue;
    if (status !== 200) return { status, words: detailOf(body) };
    const subject = tokenOf([inForce.policy], access.tokenClaims, body as RegisteredClient);
    const own = ownTopic(topic, subject);
    if (own === undefined) {
      explained.push({ client_id: id });
      continue;
    }
    const judge = judgeOf(inForce.policy, subject);
    explained.push({
      client_id: id,
      topic: own,
      actions: [
        judge.explain(plainPublish(own)),
        judge.explain({ action: 'subscribe', filter: own, qos: 0 }),
        judge.explain({ action: 'receive', topic: own }),
      ],
    });
  }
  return { answer: { clients: explained } };
}

/** What of scopes that are to be registered would grant nothing: `{scope, audience?}`. */
export async function scopeNotesFor(access: AccessOptions, ask: AskAdmin, question: unknown): Promise<Asked> {
  const inForce = access.policy();
  if (inForce === undefined) return noPolicy;
  const { scope, audience = access.defaultAudience } = (question ?? {}) as Record<string, unknown>;
  if (typeof scope !== 'string' || !Array.isArray(audience)) {
    return { status: 400, words: 'a scope is wanted, and a list where audience is given' };
  }
  const { status, body } = await ask('/v1/clients?limit=1');
  if (status !== 200) return { status, words: detailOf(body) };
  // A scope for another service is that service's to define.
  if (!audience.includes(access.audience)) return { answer: { notes: [] } };
  try {
    return { answer: { notes: scopeNotes(scope, inForce.policy, basename(inForce.file)) } };
  } catch (error) {
    if (error instanceof FleetgateError) return { status: 400, words: error.message };
    throw error;
  }
}

/** The sessions of one client now, to whoever may read clients. */
export async function sessionsOf(
  { sessions }: AccessOptions,
  ask: AskAdmin,
  clientId: string,
): Promise<Asked> {
  const { status, body } = await ask(`/v1/clients/${encodeURIComponent(clientId)}`);
  if (status !== 200) return { status, words: detailOf(body) };
  const all: LiveSession[] = [];
  for (const session of sessions(clientId)) {
    if (all.length === MAX_NAMED) break;
    all.push(session);
  }
  return { answer: { sessions: all } };
}

/** Who may do that, of all registered clients or of those a selector names. */
export async function whoMay(access: AccessOptions, ask: AskAdmin, question: unknown): Promise<Asked> {
  const inForce = access.policy();
  if (inForce === undefined) return noPolicy;
  const attempt = attemptOf(question);
  if (attempt === undefined) {
    return { status: 400, words: 'action (publish, subscribe or receive) and topic are wanted' };
  }
  // Some milliseconds for each client it would be.
  if (('filter' in attempt ? attempt.filter : attempt.topic).length > MAX_TOPIC_LENGTH) {
    return { status: 400, words: `a topic of ${MAX_TOPIC_LENGTH} characters at most is wanted` };
  }
  const { policy } = inForce;
  const { selector } = question as { selector?: unknown };
  const clients: string[] = [];
  const looked = await lookAtClients(ask, { selector }, (page) => {
    for (const client of page) {
      const judge = judgeOf(policy, tokenOf([policy], access.tokenClaims, client));
      if (judge.decide(attempt).allowed && clients.length < MAX_NAMED) clients.push(client.client_id);
    }
  });
  if ('status' in looked) return looked;
  const complete = looked.cursor === undefined && clients.length < MAX_NAMED;
  return { answer: { clients, looked_at: looked.clients, complete } };
}

export const noPolicy: Asked = Object.freeze({
  status: 404,
  words: 'no broker runs in this process; the policy is that of the brokers',
});

function attemptOf(question: unknown): Attempt | undefined {
  if (typeof question !== 'object' || question === null) return undefined;
  const { action, topic, qos = 0, retain = false, bytes = 0 } = question as Record<string, unknown>;
  if (typeof topic !== 'string' || topic === '' || topic.length > 65_535) return undefined;
  if (qos !== 0 && qos !== 1 && qos !== 2) return undefined;
  if (action === 'publish' && typeof retain === 'boolean' && Number.isSafeInteger(bytes)) {
    return { ...plainPublish(topic), qos, retain, bytes: bytes as number };
  }
  if (action === 'subscribe') return { action, filter: topic, qos };
  return action === 'receive' ? { action, topic } : undefined;
}
