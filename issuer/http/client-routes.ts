import { FleetgateError, OAuthError } from '@fleetgate/shared';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import { usesSecret } from '../client-auth/methods.ts';
import { MAX_PAGE_CLIENTS } from '../clients.ts';
import type { Issuer } from '../open-issuer.ts';
import type { ClientFilter } from '../registry/client-changes.ts';
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
import { quarantineClient, releaseClient, updateClient } from './client-change-routes.ts';
import { Client, clientTimes, clientView, NewClient, toRegistration } from './client-wire.ts';
import { Credential, credentialView } from './credential-wire.ts';
import { entityTag } from './entity-tag.ts';
import { answer, refusal } from './openapi.ts';
import { addRoute, type MethodRoute } from './routes.ts';
import { nextOf, readClientCursor, selector } from './selection-routes.ts';

/** Clients on a page when no limit is given. */
const DEFAULT_PAGE_CLIENTS = 100;

// Visible ASCII, as draft-ietf-httpapi-idempotency-key-header has it: a UUID is 36 characters of it.
const creationKeyPattern = /^[\x21-\x7e]{1,255}$/;

const Page = Type.Object(
  {
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_PAGE_CLIENTS,
        description: `clients on the page. Default: ${DEFAULT_PAGE_CLIENTS}`,
      }),
    ),
    cursor: Type.Optional(Type.String({ description: '`next_cursor` of the page before' })),
    group: Type.Optional(Type.String({ description: 'only those of this group' })),
    label: Type.Optional(Type.String({ description: 'only those with this label, as `name=value`' })),
    state: Type.Optional(Type.Enum(['active', 'quarantined'], { description: 'only those in this state' })),
    selector: Type.Optional(selector),
  },
  { additionalProperties: false },
);
type Page = Static<typeof Page>;

const CreatedClient = Type.Object(
  {
    ...Client.properties,
    ...Credential.properties,
    notice: Type.Optional(
      Type.String({ description: 'why there is no secret in the answer to a repeated request' }),
    ),
  },
  { $id: 'CreatedClient' },
);

/** `/v1/clients`. */
export function clientRoutes(app: FastifyInstance, issuer: Issuer): void {
  app.addSchema(Client);
  app.addSchema(CreatedClient);
  addRoute(app, '/clients', { POST: createClient(issuer), GET: listClients(issuer) });
  addRoute(app, '/clients/:client_id', {
    GET: getClient(issuer),
    PATCH: updateClient(issuer),
    DELETE: deleteClient(issuer),
  });
  addRoute(app, '/clients/:client_id/quarantine', { POST: quarantineClient(issuer) });
  addRoute(app, '/clients/:client_id/release', { POST: releaseClient(issuer) });
}

function createClient(issuer: Issuer): MethodRoute {
  const headers = Type.Object({
    'idempotency-key': Type.Optional(
      Type.String({
        description:
          'the same request with the same key within 24 h is done once. 1 to 255 visible characters',
      }),
    ),
  });
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'createClient',
        summary: 'Register a client',
        description:
          'A repeated request is answered with the client that is there and `Idempotency-Replayed: true`, without the secret, which is kept nowhere: rotate it if the first answer was lost.',
        headers,
        body: NewClient,
        response: {
          201: answer(
            'Registered',
            { $ref: 'CreatedClient#' },
            { etag: 'as of GET', location: 'path of the client' },
          ),
          default: refusal,
        },
      },
    },
    async handler(request, reply) {
      const registration = toRegistration(request.body as Static<typeof NewClient>);
      const by = administratorOf(request);
      const key = creationKey(request);
      const {
        client,
        shown,
        isRepeated = false,
      } = key === undefined
        ? await issuer.clients.create(registration, by)
        : await issuer.clients.createOnce(registration, key, by);
      const registered = clientView(client, issuer.defaultAudience);
      const view = { ...registered, ...clientTimes(client, issuer.now()) };
      reply.code(201).headers({
        location: `${request.server.prefix}/clients/${client.clientId}`,
        etag: entityTag(registered),
      });
      if (isRepeated) reply.header('idempotency-replayed', 'true');
      if (!isRepeated || !usesSecret(client.authMethod))
        return reply.send({ ...view, ...credentialView(shown) });
      return reply.send({
        ...view,
        notice:
          'the secret was in the first answer to this Idempotency-Key and is kept nowhere; rotate it if that was lost',
      });
    },
  };
}

function listClients(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'listClients',
        summary: 'List clients, ordered by id',
        querystring: Page,
        response: {
          200: answer(
            'A page',
            Type.Object({
              clients: Type.Array(Type.Unsafe({ $ref: 'Client#' })),
              next_cursor: Type.Optional(Type.String({ description: 'there when more follow' })),
            }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const { limit = DEFAULT_PAGE_CLIENTS, cursor, ...asked } = request.query as Page;
      const after = readClientCursor(cursor);
      const nowMs = issuer.now();
      const { clients, nextAfter } =
        asked.selector === undefined
          ? await issuer.clients.list({ limit, after, filter: readFilter(asked) })
          : await issuer.selectedClients.list({ selector: onlySelector(asked), limit, after });
      return {
        clients: clients.map((client) => ({
          ...clientView(client, issuer.defaultAudience),
          ...clientTimes(client, nowMs),
        })),
        ...nextOf(nextAfter),
      };
    },
  };
}

function getClient(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'getClient',
        summary: 'Show a client',
        params,
        response: { 200: shownClient('The client'), default: refusal },
      },
    },
    async handler(request, reply) {
      const found = await issuer.clients.find(clientIdOf(request));
      return found === undefined ? unknownClient() : showClient(found, issuer, reply);
    },
  };
}

function deleteClient(issuer: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'deleteClient',
        summary: 'Delete a client and revoke its tokens',
        params,
        headers: ifMatch,
        response: { 204: { type: 'null', description: 'Deleted' }, default: refusal },
      },
    },
    async handler(request, reply) {
      const isExpected = precondition(request, issuer);
      const [clientId, by] = [clientIdOf(request), administratorOf(request)];
      if (isExpected !== undefined) await issuer.clientChanges.deleteExpected(clientId, isExpected, by);
      else if (!(await issuer.clients.delete(clientId, by))) unknownClient();
      return reply.code(204).send();
    },
  };
}

/** The key, also as the quoted string of the draft. */
function creationKey({ headers }: FastifyRequest): string | undefined {
  const value = headers['idempotency-key'];
  if (value === undefined) return undefined;
  const key = /^"(.*)"$/.exec(String(value))?.[1] ?? String(value);
  if (!creationKeyPattern.test(key)) invalid('Idempotency-Key must be 1 to 255 visible ASCII characters');
  return key;
}

function readFilter({ group, label, state }: Pick<Page, 'group' | 'label' | 'state'>): ClientFilter {
  const [name, value] = label === undefined ? [] : splitLabel(label);
  return {
    group,
    label: name === undefined || value === undefined ? undefined : { name, value },
    isQuarantined: state === undefined ? undefined : state === 'quarantined',
  };
}

function splitLabel(label: string): [string, string] {
  const equals = label.indexOf('=');
  return equals < 1
    ? invalid('label must be like name=value')
    : [label.slice(0, equals), label.slice(equals + 1)];
}

/** What the other filters say a selector can say too. */
function onlySelector({ selector = '', group, label, state }: Omit<Page, 'limit' | 'cursor'>): string {
  const other = group ?? label ?? state;
  return other === undefined ? selector : invalid('put group, label and state into the selector');
}

function unknownClient(): never {
  throw new FleetgateError('client_unknown', 'there is no such client');
}

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
