import { FleetgateError, OAuthError } from '@fleetgate/shared';
import type { RequestRecorded } from '../registry/enrollment-registry.ts';

/** What is said of an enrollment that is closed. */
export const closedWords = {
  enrollment_revoked: 'the enrollment has been revoked; ask for another',
  enrollment_expired: 'the enrollment has expired; ask for another',
} as const;

/** @throws FleetgateError unless it was recorded */
export function expectRecorded({ outcome }: RequestRecorded): void {
  switch (outcome) {
    case 'recorded':
      return;
    case 'exhausted':
      throw exhausted();
    case 'closed':
      throw new FleetgateError('enrollment_revoked', closedWords.enrollment_revoked);
    case 'known':
    case 'conflict':
      throw new FleetgateError(
        'enrollment_conflict',
        'a client of this id is registered already; delete it, or let the enrollment replace credentials',
      );
  }
}

export const exhausted = () =>
  new FleetgateError(
    'enrollment_exhausted',
    'the claim code has been used as often as it may be; ask for another',
  );

export const refused = (reason: string | undefined) =>
  new FleetgateError(
    'enrollment_refused',
    reason === undefined || reason === ''
      ? 'the device was refused'
      : `the device was refused: ${reason.slice(0, 200)}`,
  );

export function refuseCredential(message: string): never {
  throw new FleetgateError('enrollment_credential_invalid', message);
}

export function invalid(message: string): never {
  throw new OAuthError('invalid_request', message);
}
