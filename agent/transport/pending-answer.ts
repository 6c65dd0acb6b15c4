import { FleetgateError, isIdentifier } from '@fleetgate/shared';
import type { EnrollmentAnswer } from '../enrollment.ts';

const DEFAULT_RETRY_SECONDS = 30;

/** Ours. A timer of Node that is set for more than 24 days fires at once. */
const MAX_RETRY_SECONDS = 3600;

/**
 * What a device that waits for approval was answered, over whatever it came.
 * @throws FleetgateError `token_response_invalid` for a client id that is none: it is shown on a terminal
 */
export function pendingAnswer(clientId: unknown, retryAfterSeconds: unknown): EnrollmentAnswer {
  if (!isIdentifier(clientId)) {
    throw new FleetgateError('token_response_invalid', 'the answer names no client that waits');
  }
  const seconds = Number.isFinite(retryAfterSeconds) ? Number(retryAfterSeconds) : DEFAULT_RETRY_SECONDS;
  return {
    status: 'pending',
    clientId,
    retryAfterSeconds: Math.min(MAX_RETRY_SECONDS, Math.max(1, seconds)),
  };
}
