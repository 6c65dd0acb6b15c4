import type { FastifyReply, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import { prepareError } from './errors.ts';

/** An error of `/v1` as RFC 9457 shapes it, with the two members that every other error here has. */
export const Problem = Type.Object(
  {
    type: Type.String({ description: '`urn:fleetgate:error:` and the code' }),
    title: Type.String({ description: 'the code in words' }),
    status: Type.Integer(),
    detail: Type.String({ description: 'for people; may change' }),
    code: Type.String({ description: 'for programs; stable, see error-codes.md' }),
    error: Type.String({ description: 'as `code`' }),
    error_description: Type.String({ description: 'as `detail`' }),
  },
  { $id: 'Problem' },
);
type Problem = Static<typeof Problem>;

/** Answers with an error as problem details. What nobody expected is logged and not described. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, body } = prepareError(error, request, reply);
  const { error: code, error_description: detail = '' } = body;
  const title = `${code.charAt(0).toUpperCase()}${code.slice(1).replaceAll('_', ' ')}`;
  const problem: Problem = {
    type: `urn:fleetgate:error:${code}`,
    title,
    status,
    detail,
    code,
    error: code,
    error_description: detail,
  };
  return reply.type('application/problem+json').send(problem);
}
