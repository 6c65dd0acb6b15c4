import { isMatrixTopic, MAX_TOPIC_LENGTH } from '../policy/matrix-topics.ts';
import type { RegisteredClient } from '../policy/registered-token.ts';
import type { PolicyFile } from '../policy-file.ts';
import { type AccessOptions, noPolicy } from './access.ts';
import type { AskAdmin } from './ask-admin.ts';
import { type Asked, lookAtClients, MAX_LOOKED_AT, type Unanswered } from './looked-at.ts';
import { MAX_MATRIX_TOPICS, type PolicyJob, type PolicyText } from './policy-thread.ts';
import type { PolicyWork } from './policy-work.ts';

/** Clients of one page where each has a row, or its own changes. */
const CLIENTS_PAGE = 25;

/** What answers questions about many clients at once. */
export interface Comparing {
  readonly access: AccessOptions;
  readonly work: PolicyWork;
}

/**
 * Who may do what where: `{by: client | group, topics?, selector?, cursor?}`. Of a group the clients of one look are counted;
 * `next_cursor` goes on with others, whose counts add up.
 */
export async function matrixFor(comparing: Comparing, ask: AskAdmin, question: unknown): Promise<Asked> {
  const inForce = comparing.access.policy();
  if (inForce === undefined) return noPolicy;
  const { by, topics, selector, cursor } = fieldsOf(question);
  if (by !== 'client' && by !== 'group') return bad('by is client or group');
  if (topics !== undefined && (!Array.isArray(topics) || topics.length > MAX_MATRIX_TOPICS)) {
    return bad(`topics is a list of ${MAX_MATRIX_TOPICS} topics at most`);
  }
  const wrong = (topics as unknown[] | undefined)?.find(
    (topic) => typeof topic !== 'string' || topic.length > MAX_TOPIC_LENGTH || !isMatrixTopic(topic),
  );
  if (wrong !== undefined) {
    return bad(
      typeof wrong === 'string' ? `'${wrong.slice(0, 100)}' is no topic or filter` : 'a topic is text',
    );
  }
  return overClients(comparing, ask, { by, selector, cursor }, (clients) => ({
    kind: 'matrix',
    policy: textOf(inForce),
    by,
    clients,
    tokenClaims: comparing.access.tokenClaims,
    ...(topics === undefined ? {} : { topics: topics as string[] }),
  }));
}

/**
 * Who gains and loses what by another policy: `{policy, file?, by: scope | client | group, selector?, cursor?}`, `policy` its
 * text. By scope no client is looked at; by client it is about those of one page.
 */
export async function differenceFor(comparing: Comparing, ask: AskAdmin, question: unknown): Promise<Asked> {
  const inForce = comparing.access.policy();
  if (inForce === undefined) return noPolicy;
  const { by, policy, file, selector, cursor } = fieldsOf(question);
  if (by !== 'scope' && by !== 'client' && by !== 'group') return bad('by is scope, client or group');
  if (typeof policy !== 'string' || policy.trim() === '') return bad('policy is the text of a policy');
  const name = typeof file === 'string' && /^[\w .-]{1,100}$/.test(file) ? file : 'new-policy.yaml';
  const asked = await overClients(comparing, ask, { by, selector, cursor }, (clients) => ({
    kind: 'difference',
    policy: textOf(inForce),
    next: { file: name, text: policy },
    by,
    clients,
    tokenClaims: comparing.access.tokenClaims,
  }));
  return 'answer' in asked ? { answer: { ...asked.answer, policy_file: inForce.file } } : asked;
}

interface Asking {
  readonly by: 'scope' | 'client' | 'group';
  readonly selector: unknown;
  readonly cursor: unknown;
}

async function overClients(
  { access, work }: Comparing,
  ask: AskAdmin,
  { by, ...from }: Asking,
  jobOf: (clients: readonly RegisteredClient[]) => PolicyJob,
): Promise<Asked> {
  const clients: RegisteredClient[] = [];
  const take = (page: readonly RegisteredClient[]) => {
    for (const client of page) clients.push(kept(client, access.tokenClaims));
  };
  // By scope only whether who asks may read clients is looked at.
  const most = by === 'scope' ? 1 : by === 'client' ? CLIENTS_PAGE : MAX_LOOKED_AT;
  const looked = await lookAtClients(ask, by === 'scope' ? {} : from, take, most);
  if ('status' in looked) return looked;
  const outcome = await work.ask(jobOf(clients));
  if (!('answer' in outcome)) return { status: statusOf(outcome.code), ...outcome };
  if (by === 'scope') return outcome;
  const { cursor } = looked;
  return {
    answer: {
      ...outcome.answer,
      looked_at: looked.clients,
      ...(cursor === undefined ? {} : { next_cursor: cursor }),
    },
  };
}

/** What a decision depends on; its other metadata may be large. */
function kept({ client_id, group, scope, metadata }: RegisteredClient, tokenClaims: readonly string[]) {
  const claims = tokenClaims.filter((name) => metadata !== undefined && Object.hasOwn(metadata, name));
  return {
    client_id,
    scope,
    labels: {},
    metadata: Object.fromEntries(claims.map((name) => [name, metadata?.[name]])),
    ...(group == null ? {} : { group }),
  };
}

function statusOf(code: string): number {
  if (code === 'busy' || code === 'too_much_work') return 503;
  return code === 'internal_error' ? 500 : 400;
}

const textOf = ({ file, text }: PolicyFile): PolicyText => ({ file, text });

const bad = (words: string): Unanswered => ({ status: 400, words });

function fieldsOf(question: unknown): Partial<Record<string, unknown>> {
  return typeof question === 'object' && question !== null ? (question as Record<string, unknown>) : {};
}
