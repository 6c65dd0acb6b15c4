import { TokenError } from '@fleetgate/shared';

/** @throws TokenError `token_claim_invalid` */
export function invalidClaim(message: string): never {
  throw new TokenError('token_claim_invalid', message);
}
