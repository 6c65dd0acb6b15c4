import type { Attempt, LiveSession, Policy } from '@fleetgate/broker';
import type { FastifyInstance } from 'fastify';
import type { RegisteredClient } from '../policy/registered-token.ts';
import { tokenOf } from '../policy/registered-token.ts';
import { judgeOf, plainPublish } from '../policy/subject.ts';

/** Clients that are looked at for one question; of more the page says so. */
const MAX_LOOKED_AT = 20_000;

/** And for how long. */
const MAX_LOOK_MS = 5_000;

/** Clients that are named. */
const MAX_NAMED = 500;

const PAGE = 500;

/** What the topic policy in force says of registered clients. */
export interface AccessOptions {
  /** The policy in force; undefined where no broker runs in this process. */
  readonly policy: () => Policy | undefined;
  /** Fields of metadata that the issuer copies into tokens. */
  readonly tokenClaims: readonly string[];
  /** Sessions of a client, where a broker runs in this process. */
  readonly sessions: (clientId: string) => Iterable<LiveSession>;
}

/** Asks the admin API with the key of whoever asks. */
export type AskAdmin = (path: string) => Promise<{ readonly status: number; readonly body: unknown }>;

/** A question that was answered, or the status and words why not. */
export type Asked = { readonly answer: object } | { readonly status: number; readonly words: string };

/** One attempt of one client, decided as the broker would if it had a token for all it may have; with what led to it. */
export async function decideFor(
  { policy, tokenClaims }: AccessOptions,
  ask: AskAdmin,
  question: unknown,
): Promise<Asked> {
  const inForce = policy();
  if (inForce === undefined) return noPolicy;
  const attempt = attemptOf(question);
  const { client_id: id } = (question ?? {}) as { client_id?: unknown };
  if (attempt === undefined || typeof id !== 'string' || id === '') {
    return { status: 400, words: 'client_id, action (publish, subscribe or receive) and topic are wanted' };
  }
  const { status, body } = await ask(`/v1/clients/${encodeURIComponent(id)}`);
  if (status !== 200) return { status, words: status === 404 ? `no client ${id} is registered` : 'refused' };
  const judge = judgeOf(inForce, tokenOf([inForce], tokenClaims, body as RegisteredClient));
  return { answer: judge.explain(attempt) };
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
export async function whoMay(
  { policy, tokenClaims }: AccessOptions,
  ask: AskAdmin,
  question: unknown,
): Promise<Asked> {
  const inForce = policy();
  if (inForce === undefined) return noPolicy;
  const attempt = attemptOf(question);
  if (attempt === undefined) {
    return { status: 400, words: 'action (publish, subscribe or receive) and topic are wanted' };
  }
  const { selector } = question as { selector?: unknown };
  const endMs = performance.now() + MAX_LOOK_MS;
  const clients: string[] = [];
  let lookedAt = 0;
  let cursor: string | undefined;
  do {
    const query = new URLSearchParams({
      limit: String(PAGE),
      ...(typeof selector === 'string' && selector !== '' ? { selector } : {}),
      ...(cursor === undefined ? {} : { cursor }),
    });
    const { status, body } = await ask(`/v1/clients?${query}`);
    if (status !== 200) return { status, words: detailOf(body) };
    const page = body as { clients: RegisteredClient[]; next_cursor?: string };
    for (const client of page.clients) {
      lookedAt += 1;
      const judge = judgeOf(inForce, tokenOf([inForce], tokenClaims, client));
      if (judge.decide(attempt).allowed && clients.length < MAX_NAMED) clients.push(client.client_id);
    }
    cursor = page.next_cursor;
  } while (cursor !== undefined && lookedAt < MAX_LOOKED_AT && performance.now() < endMs);
  return {
    answer: { clients, looked_at: lookedAt, complete: cursor === undefined && clients.length < MAX_NAMED },
  };
}

const noPolicy: Asked = Object.freeze({
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

function detailOf(body: unknown): string {
  const { detail } = (body ?? {}) as { detail?: unknown };
  return typeof detail === 'string' ? detail : 'refused';
}

/** The admin API on the same listener, asked as the holder of `apiKey` from `address`. */
export function askAdmin(root: FastifyInstance, apiKey: string, address: string): AskAdmin {
  return async (path) => {
    const { statusCode, payload } = await root.inject({
      method: 'GET',
      url: path,
      headers: { 'api-key': apiKey },
      remoteAddress: address,
    });
    return { status: statusCode, body: payload === '' ? undefined : JSON.parse(payload) };
  };
}
