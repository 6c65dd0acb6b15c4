import { ownTurn } from '@fleetgate/shared';
import type { RegisteredClient } from '../policy/registered-token.ts';
import type { AskAdmin } from './ask-admin.ts';

/** A question that was answered, or the status and words why not. */
export type Asked = { readonly answer: object } | Unanswered;

export interface Unanswered {
  readonly status: number;
  readonly words: string;
  /** Default: `not_answered`. */
  readonly code?: string;
}

/** Clients that are looked at for one question; of more the page says so. */
export const MAX_LOOKED_AT = 20_000;

/** And for how long. */
const MAX_LOOK_MS = 5_000;

/** Looks at once, of all who are signed in: each keeps what it has seen. As many as wait for the thread. */
const MAX_LOOKS = 5;

/** Clients of one page: a few milliseconds in which nothing else is done. */
const PAGE = 200;

export interface LookedAt {
  readonly clients: number;
  /** Where the next look goes on; undefined where no client is left. */
  readonly cursor: string | undefined;
}

let looks = 0;

/**
 * Shows `see` the clients of a selector page by page, in the order of their ids, until `most` are seen or time is up.
 * @param from `selector`: undefined or empty for all; `cursor`: of the look before
 */
export async function lookAtClients(
  ask: AskAdmin,
  from: { readonly selector?: unknown; readonly cursor?: unknown },
  see: (page: readonly RegisteredClient[]) => void,
  most: number = MAX_LOOKED_AT,
): Promise<LookedAt | Unanswered> {
  if (looks >= MAX_LOOKS) return busy;
  looks += 1;
  try {
    return await look(ask, from, see, most);
  } finally {
    looks -= 1;
  }
}

const busy: Unanswered = Object.freeze({
  status: 503,
  code: 'busy',
  words: 'others are being answered; ask again in a few seconds',
});

async function look(
  ask: AskAdmin,
  from: { readonly selector?: unknown; readonly cursor?: unknown },
  see: (page: readonly RegisteredClient[]) => void,
  most: number,
): Promise<LookedAt | Unanswered> {
  const { selector } = from;
  const endMs = performance.now() + MAX_LOOK_MS;
  let cursor = typeof from.cursor === 'string' ? from.cursor : undefined;
  let clients = 0;
  do {
    const query = new URLSearchParams({
      limit: String(Math.min(PAGE, most - clients)),
      ...(typeof selector === 'string' && selector !== '' ? { selector } : {}),
      ...(cursor === undefined ? {} : { cursor }),
    });
    // Of a page in SQLite nothing waits: without a turn of its own the broker would stand still.
    await ownTurn();
    const { status, body } = await ask(`/v1/clients?${query}`);
    if (status !== 200) return { status, words: detailOf(body) };
    const page = body as { clients: RegisteredClient[]; next_cursor?: string };
    clients += page.clients.length;
    see(page.clients);
    cursor = page.next_cursor;
  } while (cursor !== undefined && clients < most && performance.now() < endMs);
  return { clients, cursor };
}

/** What the admin API says no with. */
export function detailOf(body: unknown): string {
  const { detail } = (body ?? {}) as { detail?: unknown };
  return typeof detail === 'string' ? detail : 'refused';
}
