import { FleetgateError } from '@fleetgate/shared';

/** A refusal that stays one when it is asked again. */
export class EnrollmentRefusedError extends FleetgateError {
  override readonly name = 'EnrollmentRefusedError';
}
