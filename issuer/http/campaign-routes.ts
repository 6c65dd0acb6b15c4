import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import type { Administrator } from '../clients.ts';
import type { Campaign } from '../fleet/campaigns.ts';
import type { Issuer } from '../open-issuer.ts';
import { administratorOf } from './admin-access.ts';
import {
  CampaignView,
  campaignView,
  deviceView,
  NewCampaign,
  planOf,
  recordView,
  rotatedView,
} from './campaign-wire.ts';
import { Credential } from './credential-wire.ts';
import { answer, refusal } from './openapi.ts';
import { addRoute, type MethodRoute } from './routes.ts';
import { nextOf, readClientCursor } from './selection-routes.ts';

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

const tags = ['fleet'];
const params = Type.Object({ campaign_id: Type.String() });
const idOf = ({ params }: FastifyRequest) => (params as { campaign_id: string }).campaign_id;

const Batch = Type.Object(
  {
    campaign_key: Type.String({ description: 'as the creation of the campaign answered it' }),
    batch: Type.Integer({ minimum: 1, description: 'the next one, or the one under way again' }),
  },
  { additionalProperties: false },
);

const Reason = Type.Object(
  { reason: Type.String({ description: 'why, for people' }) },
  { additionalProperties: false },
);

const page = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_PAGE })),
  cursor: Type.Optional(Type.String()),
};
const Page = Type.Object(page, { additionalProperties: false });
const DevicePage = Type.Object(
  { ...page, batch: Type.Optional(Type.Integer({ minimum: 1, description: 'Default: all' })) },
  { additionalProperties: false },
);
const nextCursor = Type.Optional(Type.String({ description: 'there when more follow' }));

/** `/v1/campaigns`. */
export function campaignRoutes(app: FastifyInstance, issuer: Issuer): void {
  const { campaigns } = issuer;
  app.addSchema(CampaignView);
  addRoute(app, '/campaigns', { POST: createCampaign(issuer), GET: listCampaigns(issuer) });
  addRoute(app, '/campaigns/:campaign_id', { GET: showCampaign(issuer) });
  addRoute(app, '/campaigns/:campaign_id/batches', { POST: rotateBatch(issuer) });
  addRoute(app, '/campaigns/:campaign_id/devices', { GET: listDevices(issuer) });
  addRoute(app, '/campaigns/:campaign_id/pause', {
    POST: change('pauseCampaign', 'Begin no further batch', Reason, (id, by, body) =>
      campaigns.pause(id, (body as Static<typeof Reason>).reason, by),
    ),
  });
  addRoute(app, '/campaigns/:campaign_id/resume', {
    POST: change('resumeCampaign', 'Go on with the next batch', undefined, (id, by) =>
      campaigns.resume(id, by),
    ),
  });
  addRoute(app, '/campaigns/:campaign_id/cancel', {
    POST: change('cancelCampaign', 'End a campaign; secrets it made stay', undefined, (id, by) =>
      campaigns.cancel(id, by),
    ),
  });
}

function createCampaign({ campaigns }: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'createCampaign',
        summary: 'Begin to rotate the secrets of many clients',
        description:
          'Ask for its batches next. From `campaign_key` the new secrets are derived: keep it as you would keep them until the campaign is done. Clients without a secret are passed over.',
        body: NewCampaign,
        response: {
          201: answer(
            'Begun',
            Type.Object({
              ...CampaignView.properties,
              campaign_key: Type.String({ description: 'shown this once' }),
            }),
            { location: 'path of the campaign' },
          ),
          default: refusal,
        },
      },
    },
    async handler(request, reply) {
      const plan = planOf(request.body as Static<typeof NewCampaign>);
      const { campaign, key } = await campaigns.create(plan, administratorOf(request));
      return reply
        .code(201)
        .header('location', `${request.server.prefix}/campaigns/${campaign.record.id}`)
        .send({ ...campaignView(campaign), campaign_key: key });
    },
  };
}

function rotateBatch({ campaigns, defaultAudience }: Issuer): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId: 'rotateBatch',
        summary: 'Rotate the secrets of the next batch',
        description:
          'It begins when the one before is settled; 409 until then. Ask for the same batch again where the answer was lost. No clients: there are no more, and the campaign is done.',
        params,
        body: Batch,
        response: {
          200: answer(
            'The batch, with the new secrets',
            Type.Object({
              campaign: Type.Unsafe({ $ref: 'Campaign#' }),
              devices: Type.Array(
                Type.Object({
                  client_id: Type.String(),
                  auth_method: Type.String(),
                  audience: Type.Array(Type.String()),
                  secret_id: Type.String(),
                  ...Credential.properties,
                }),
              ),
            }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const { campaign_key: key, batch } = request.body as Static<typeof Batch>;
      const { campaign, devices } = await campaigns.rotate(
        idOf(request),
        { key, batch },
        administratorOf(request),
      );
      return {
        campaign: campaignView(campaign),
        devices: devices.map((one) => rotatedView(one, defaultAudience)),
      };
    },
  };
}

function listCampaigns({ campaigns }: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'listCampaigns',
        summary: 'List campaigns, from new to old',
        querystring: Page,
        response: {
          200: answer(
            'A page',
            Type.Object({
              campaigns: Type.Array(
                Type.Object({ campaign_id: Type.String() }, { additionalProperties: true }),
              ),
              next_cursor: nextCursor,
            }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const { limit = DEFAULT_PAGE, cursor } = request.query as Static<typeof Page>;
      const found = await campaigns.list({ before: cursor, limit: limit + 1 });
      const shown = found.slice(0, limit);
      return {
        campaigns: shown.map(recordView),
        ...(found.length > limit && { next_cursor: shown.at(-1)?.id }),
      };
    },
  };
}

function showCampaign({ campaigns }: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'getCampaign',
        summary: 'Show a campaign',
        params,
        response: { 200: answer('The campaign', { $ref: 'Campaign#' }), default: refusal },
      },
    },
    handler: async (request) => campaignView(await campaigns.find(idOf(request))),
  };
}

function listDevices({ campaigns }: Issuer): MethodRoute {
  return {
    openTo: ['provisioner', 'auditor'],
    options: {
      schema: {
        tags,
        operationId: 'listCampaignDevices',
        summary: 'List the clients of a campaign so far, ordered by id',
        params,
        querystring: DevicePage,
        response: {
          200: answer(
            'A page',
            Type.Object({
              devices: Type.Array(
                Type.Object({
                  client_id: Type.String(),
                  batch: Type.Integer(),
                  state: Type.Enum(['confirmed', 'waiting', 'failed']),
                  secret_id: Type.Optional(Type.String()),
                  error: Type.Optional(Type.String({ description: 'why it could not be rotated' })),
                }),
              ),
              next_cursor: nextCursor,
            }),
          ),
          default: refusal,
        },
      },
    },
    async handler(request) {
      const { limit = DEFAULT_PAGE, cursor, batch } = request.query as Static<typeof DevicePage>;
      const page = { batch, after: readClientCursor(cursor), limit: limit + 1 };
      const found = await campaigns.devices(idOf(request), page);
      const devices = found.slice(0, limit);
      return {
        devices: devices.map(deviceView),
        ...nextOf(found.length > limit ? devices.at(-1)?.clientId : undefined),
      };
    },
  };
}

function change(
  operationId: string,
  summary: string,
  body: typeof Reason | undefined,
  act: (id: string, by: Administrator, body: unknown) => Promise<Campaign>,
): MethodRoute {
  return {
    openTo: ['provisioner'],
    options: {
      schema: {
        tags,
        operationId,
        summary,
        params,
        ...(body !== undefined && { body }),
        response: { 200: answer('The campaign', { $ref: 'Campaign#' }), default: refusal },
      },
    },
    handler: async (request) =>
      campaignView(await act(idOf(request), administratorOf(request), request.body)),
  };
}
