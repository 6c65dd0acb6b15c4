import type { FastifyReply } from 'fastify';

/** Answers no, as the admin API does (RFC 9457). */
export function refuse(reply: FastifyReply, status: number, code: string, words: string): FastifyReply {
  return reply
    .code(status)
    .type('application/problem+json')
    .send(JSON.stringify({ status, code, detail: words }));
}

/** The refusal of the admin API, handed on; `undefined` for what is none. */
export function problemIn(body: unknown): { readonly code: string; readonly words: string } | undefined {
  const { code, detail } = (body ?? {}) as { code?: unknown; detail?: unknown };
  return typeof code === 'string' && typeof detail === 'string' ? { code, words: detail } : undefined;
}
