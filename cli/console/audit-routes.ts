import { Readable } from 'node:stream';
import { parseCheckpoint } from '@fleetgate/issuer';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { AskAdmin } from './ask-admin.ts';
import { auditEvents, verifyTrail, WalkRefused } from './audit-walk.ts';
import { problemIn, refuse } from './refuse.ts';

/** Walks through the whole trail at once, of all who are signed in: each takes a share of the process. */
const MAX_WALKS = 2;

/** Filters of an export. Without any it is the whole trail, which can be verified. */
const filters = ['actor', 'action', 'target', 'result', 'since', 'until'] as const;

export interface AuditRoutesOptions {
  /** The admin API, asked as who sent the request. */
  readonly asker: (request: FastifyRequest) => AskAdmin;
  /** Whether the sign-in of the request has ended since. */
  readonly isOver: (request: FastifyRequest) => boolean;
  /** How long a walk waits for who reads nothing of it; then the connection ends. Default 60,000. */
  readonly stallMs?: number | undefined;
}

type Walk = (ask: AskAdmin, signal: AbortSignal) => AsyncIterable<object>;

/** `/audit/verify` and `/audit/export`: what goes through all of the trail, as lines of JSON that come as it goes. */
export function auditRoutes(
  app: FastifyInstance,
  { asker, isOver, stallMs = 60_000 }: AuditRoutesOptions,
): void {
  let walks = 0;

  /** @param download name of the file that the answer is to be kept as */
  async function answer(
    request: FastifyRequest,
    reply: FastifyReply,
    walk: Walk,
    download?: string,
  ): Promise<FastifyReply> {
    if (walks >= MAX_WALKS) {
      return refuse(
        reply,
        429,
        'busy',
        'the trail is being gone through already; try again when that is done',
      );
    }
    walks += 1;
    const gone = new AbortController();
    const end = () => {
      walks -= 1;
      gone.abort();
    };
    const admin = asker(request);
    const ask: AskAdmin = async (path) => {
      if (isOver(request)) throw new WalkRefused(401, undefined);
      return admin(path);
    };
    try {
      const steps = walk(ask, gone.signal)[Symbol.asyncIterator]();
      // What is refused is refused before anything was said.
      const first = await steps.next();
      const body = Readable.from(asText(first, steps, () => stalled.refresh()));
      const stalled = setTimeout(() => body.destroy(new Error('nobody reads it')), stallMs);
      body.once('close', () => {
        clearTimeout(stalled);
        end();
      });
      if (download !== undefined) {
        reply.header('content-disposition', `attachment; filename="${download}"`);
      }
      return reply.type('application/x-ndjson').header('x-accel-buffering', 'no').send(body);
    } catch (error) {
      end();
      if (!(error instanceof WalkRefused)) throw error;
      const { code, words } = problemIn(error.body) ?? { code: 'not_answered', words: error.message };
      return refuse(reply, error.status, code, words);
    }
  }

  app.get<{ Querystring: { expect?: unknown } }>('/audit/verify', async (request, reply) => {
    const { expect } = request.query;
    if (expect !== undefined && (typeof expect !== 'string' || parseCheckpoint(expect) === undefined)) {
      return refuse(
        reply,
        400,
        'invalid_request',
        'a checkpoint is SEQUENCE:HASH, as audit verify prints it',
      );
    }
    return answer(request, reply, (ask, signal) => verifyTrail(ask, expect, signal));
  });

  app.get<{ Querystring: Record<string, unknown> }>('/audit/export', async (request, reply) => {
    const given = filters.flatMap((name) => {
      const value = request.query[name];
      return typeof value === 'string' && value !== '' ? [[name, value] as const] : [];
    });
    const name = given.length === 0 ? 'audit.jsonl' : 'audit-part.jsonl';
    const filter = Object.fromEntries(given);
    return answer(request, reply, (ask, signal) => auditEvents(ask, filter, signal), name);
  });
}

/** Lines as they come. What fails on the way breaks the connection off: half a file is not taken for a whole one. */
async function* asText(
  first: IteratorResult<object>,
  rest: AsyncIterator<object>,
  wanted: () => void,
): AsyncGenerator<string> {
  try {
    for (let step = first; step.done !== true; step = await rest.next()) {
      wanted();
      yield `${JSON.stringify(step.value)}\n`;
    }
  } finally {
    await rest.return?.();
  }
}
