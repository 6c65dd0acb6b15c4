import Type, { type Static } from 'typebox';
import { MAX_BATCH_SIZE } from '../fleet/campaign-plan.ts';
import type { RotatedDevice } from '../fleet/campaign-secrets.ts';
import type { Campaign, Campaigns } from '../fleet/campaigns.ts';
import type { CampaignPlan, CampaignRecord } from '../registry/campaign-registry.ts';
import { credentialView } from './credential-wire.ts';
import { time } from './secret-wire.ts';
import { selector } from './selection-routes.ts';

// What a person expects: an hour for a batch of a hundred, and a tenth that may fail.
const DEFAULT_BATCH_SIZE = 100;
const DEFAULT_CONFIRM_SECONDS = 3600;
const DEFAULT_PAUSE_RATIO = 0.1;

/** What a campaign is made of. */
export const NewCampaign = Type.Object(
  {
    selector,
    batch_size: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_BATCH_SIZE,
        description: `clients whose secrets are rotated together. Default: ${DEFAULT_BATCH_SIZE}`,
      }),
    ),
    confirm_within_seconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        description: `how long a batch has to use its new secrets. Default: ${DEFAULT_CONFIRM_SECONDS}`,
      }),
    ),
    pause_at: Type.Optional(
      Type.Number({
        description: `share of a batch, up to 1, that makes the campaign pause when it has failed. Default: ${DEFAULT_PAUSE_RATIO}`,
      }),
    ),
    secret_lifetime_seconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        description: 'how long after their making the new secrets end. Default: never',
      }),
    ),
  },
  { additionalProperties: false },
);

const count = (description: string) => Type.Integer({ description });

/** A campaign as it is shown. */
export const CampaignView = Type.Object(
  {
    campaign_id: Type.String(),
    state: Type.Enum(['running', 'paused', 'done', 'cancelled']),
    reason: Type.Optional(Type.String({ description: 'why it is paused' })),
    selector: Type.String(),
    batch_size: Type.Integer(),
    confirm_within_seconds: Type.Integer(),
    pause_at: Type.Number(),
    secret_lifetime_seconds: Type.Optional(Type.Integer()),
    selected: count('clients there were when it began'),
    confirmed: count('those that have used their new secret'),
    failed: count('those that could not be rotated, or did not use it in time'),
    batch: count('the one under way, from 1; 0 before the first'),
    batch_waiting: count('of it, those that have not used their new secret yet'),
    batch_failed: count('of it, those that have failed'),
    batch_until: Type.Optional(Type.String({ format: 'date-time', description: 'until when it has time' })),
    created_by: Type.String({ description: 'name of the API key' }),
    created_at: Type.String({ format: 'date-time' }),
    updated_at: Type.String({ format: 'date-time' }),
  },
  { $id: 'Campaign' },
);

export function planOf(asked: Static<typeof NewCampaign>): CampaignPlan {
  return {
    selector: asked.selector,
    batchSize: asked.batch_size ?? DEFAULT_BATCH_SIZE,
    confirmSeconds: asked.confirm_within_seconds ?? DEFAULT_CONFIRM_SECONDS,
    pauseRatio: asked.pause_at ?? DEFAULT_PAUSE_RATIO,
    secretLifetimeSeconds: asked.secret_lifetime_seconds,
  };
}

export function recordView(record: CampaignRecord) {
  return {
    campaign_id: record.id,
    state: record.state,
    ...(record.state === 'paused' && { reason: record.reason }),
    selector: record.selector,
    batch_size: record.batchSize,
    confirm_within_seconds: record.confirmSeconds,
    pause_at: record.pauseRatio,
    ...(record.secretLifetimeSeconds !== undefined && {
      secret_lifetime_seconds: record.secretLifetimeSeconds,
    }),
    selected: record.selected,
    confirmed: record.confirmed,
    failed: record.failed,
    batch: record.batch,
    created_by: record.createdBy,
    created_at: time(record.createdAtMs),
    updated_at: time(record.updatedAtMs),
  };
}

export function campaignView({ record, batch }: Campaign) {
  const view = recordView(record);
  return {
    ...view,
    confirmed: view.confirmed + batch.confirmed,
    failed: view.failed + batch.failed,
    batch_waiting: batch.waiting,
    batch_failed: batch.failed,
    ...(batch.deadlineMs !== undefined && { batch_until: time(batch.deadlineMs) }),
  };
}

export function rotatedView(
  { clientId, authMethod, audience, secretId, shown }: RotatedDevice,
  defaultAudience: readonly string[],
) {
  return {
    client_id: clientId,
    auth_method: authMethod,
    audience: audience.length > 0 ? audience : defaultAudience,
    secret_id: secretId,
    ...credentialView(shown),
  };
}

type ListedDevice = Awaited<ReturnType<Campaigns['devices']>>[number];

export function deviceView({ clientId, batch, secretId, failure, state }: ListedDevice) {
  return {
    client_id: clientId,
    batch,
    state,
    ...(secretId !== undefined && { secret_id: secretId }),
    ...(failure !== undefined && { error: failure }),
  };
}
