import { OAuthError } from '@fleetgate/shared';
import type { CampaignPlan } from '../registry/campaign-registry.ts';

/** Clients of a batch: they are rotated in one act, some 20 ms of the event loop. */
export const MAX_BATCH_SIZE = 500;

/** Longest a batch may have: a device that is off all winter. */
const MAX_CONFIRM_SECONDS = 31_622_400;
const MAX_SECRET_LIFETIME_SECONDS = 10 * 366 * 86_400;

/** @throws OAuthError `invalid_request` */
export function checkPlan({
  batchSize,
  confirmSeconds,
  pauseRatio,
  secretLifetimeSeconds = 1,
}: CampaignPlan): void {
  if (!isWhole(batchSize, MAX_BATCH_SIZE))
    invalid(`batch_size must be a whole number from 1 to ${MAX_BATCH_SIZE}`);
  if (!isWhole(confirmSeconds, MAX_CONFIRM_SECONDS)) {
    invalid(`confirm_within_seconds must be a whole number from 1 to ${MAX_CONFIRM_SECONDS}`);
  }
  if (!(pauseRatio > 0 && pauseRatio <= 1)) invalid('pause_at must be more than 0, and at most 1');
  if (!isWhole(secretLifetimeSeconds, MAX_SECRET_LIFETIME_SECONDS)) {
    invalid(`secret_lifetime_seconds must be a whole number from 1 to ${MAX_SECRET_LIFETIME_SECONDS}`);
  }
}

const isWhole = (value: number, maximum: number) =>
  Number.isSafeInteger(value) && value >= 1 && value <= maximum;

function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
