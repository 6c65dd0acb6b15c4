import type { FastifyReply, FastifyRequest } from 'fastify';
import Type from 'typebox';
import type { Issuer } from '../open-issuer.ts';
import type { ClientRecord } from '../registry/registry.ts';
import { clientTimes, clientView } from './client-wire.ts';
import { entityTag, isMatched } from './entity-tag.ts';
import { answer } from './openapi.ts';

/** What the routes of one client have in common. */
export const clientTags = ['clients'];
export const clientParams = Type.Object({ client_id: Type.String() });
export const clientIdOf = ({ params }: FastifyRequest) => (params as { client_id: string }).client_id;

/** The answer that shows a client, in a route's schema. */
export const shownClient = (description: string) =>
  answer(description, { $ref: 'Client#' }, { etag: 'names this state of the client, for `If-Match`' });

/** Answers with the client as it is now, and its tag. */
export function showClient(
  client: ClientRecord,
  { defaultAudience, now }: Issuer,
  reply: FastifyReply,
): FastifyReply {
  const view = clientView(client, defaultAudience);
  return reply.header('etag', entityTag(view)).send({ ...view, ...clientTimes(client, now()) });
}

export const ifMatch = Type.Object({
  'if-match': Type.Optional(
    Type.String({ description: 'the `ETag` of the client as it was read; 412 when it is another now' }),
  ),
});

/** Whether a client is the one that `If-Match` names; unset without that header. */
export function precondition({ headers }: FastifyRequest, { defaultAudience }: Issuer) {
  const tags = headers['if-match'];
  if (tags === undefined) return undefined;
  return (client: ClientRecord) => isMatched(tags, entityTag(clientView(client, defaultAudience)));
}
