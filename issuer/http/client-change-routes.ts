import Type, { type Static } from 'typebox';
import type { Issuer } from '../open-issuer.ts';
import { administratorOf } from './admin-access.ts';
import {
  clientIdOf,
  ifMatch,
  clientParams as params,
  precondition,
  showClient,
  shownClient,
  clientTags as tags,
} from './client-answer.ts';
import { ClientPatch, toChange } from './client-wire.ts';
import { refusal } from './openapi.ts';
import type { MethodRoute } from './routes.ts';

export function updateClient(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'updateClient',
        summary: 'Change a client',
        description:
          'A JSON merge patch (RFC 7396): what is left out stays, null takes a field back to its default. It holds for the next token; tokens that were issued keep what they have until they expire, unless they are revoked.',
        consumes: ['application/merge-patch+json', 'application/json'],
        params,
        querystring: Type.Object(
          {
            revoke_tokens: Type.Optional(
              Type.Boolean({ description: 'also revoke its tokens. Default: false' }),
            ),
          },
          { additionalProperties: false },
        ),
        headers: ifMatch,
        body: ClientPatch,
        response: { 200: shownClient('As it is now'), default: refusal },
      },
    },
    async handler(request, reply) {
      const { revoke_tokens: revokesTokens } = request.query as { revoke_tokens?: boolean };
      const updated = await issuer.clientChanges.update(
        clientIdOf(request),
        toChange(request.body as object),
        administratorOf(request),
        { revokesTokens, isExpected: precondition(request, issuer) },
      );
      return showClient(updated, issuer, reply);
    },
  };
}

const Quarantine = Type.Object(
  { reason: Type.String({ minLength: 1, description: 'why; kept with the client' }) },
  { additionalProperties: false },
);

export function quarantineClient(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'quarantineClient',
        summary: 'Revoke the tokens of a client and issue it no more',
        description:
          'Its token requests are refused as `invalid_client`, as if it were unknown, until it is released. Of a client that is in quarantine the reason is replaced.',
        params,
        body: Quarantine,
        response: { 200: shownClient('In quarantine'), default: refusal },
      },
    },
    async handler(request, reply) {
      const { reason } = request.body as Static<typeof Quarantine>;
      const by = administratorOf(request);
      return showClient(
        await issuer.clientChanges.quarantine(clientIdOf(request), reason, by),
        issuer,
        reply,
      );
    },
  };
}

export function releaseClient(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'releaseClient',
        summary: 'Issue tokens again to a client in quarantine',
        description:
          'Tokens that were revoked stay so. Of a client that is not in quarantine nothing changes.',
        params,
        response: { 200: shownClient('Released'), default: refusal },
      },
    },
    async handler(request, reply) {
      const by = administratorOf(request);
      return showClient(await issuer.clientChanges.release(clientIdOf(request), by), issuer, reply);
    },
  };
}
