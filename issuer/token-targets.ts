import { type AccessTokenClaims, FleetgateError, OAuthError } from '@fleetgate/shared';
import { checkTokenClaimNames } from './token-claims.ts';

/** A resource server that reads a claim of its own: what it makes of a token is decided when the token is made. */
export interface TokenTarget {
  /** Tokens for this audience hold the claim, whoever else they are for. */
  readonly audience: string;
  /** Name of the claim. */
  readonly claim: string;
  /** The value for a token of these claims, or in words why there can be no such token. Pure. */
  readonly valueFor: (claims: AccessTokenClaims) => TargetValue;
}

export type TargetValue = { readonly value: unknown } | { readonly refused: string };

/** Token targets an issuer may have: as many as a token has audiences. */
const MAX_TARGETS = 16;

/**
 * The claims that a token holds for the targets it names.
 * @throws OAuthError `invalid_scope` where one cannot hold its scopes, `invalid_target` where two read one claim
 */
export function targetClaims(
  targets: readonly TokenTarget[],
  claims: AccessTokenClaims,
): Readonly<Record<string, unknown>> {
  const held: Record<string, unknown> = {};
  for (const { audience, claim, valueFor } of targets) {
    if (!claims.aud.includes(audience)) continue;
    if (Object.hasOwn(held, claim)) {
      throw new OAuthError(
        'invalid_target',
        `two of the audiences read the claim ${claim}; ask for one of them`,
      );
    }
    const made = valueFor(claims);
    if ('refused' in made) {
      throw new OAuthError(
        'invalid_scope',
        `no token for audience '${audience}' can hold this: ${made.refused}`,
      );
    }
    held[claim] = made.value;
  }
  return held;
}

/** @throws FleetgateError `config_invalid` */
export function checkTokenTargets(targets: readonly TokenTarget[], tokenClaims: readonly string[]): void {
  if (targets.length > MAX_TARGETS) invalid(`must have at most ${MAX_TARGETS} entries`);
  checkTokenClaimNames(targets.map(({ claim }) => claim));
  for (const [index, { audience, claim }] of targets.entries()) {
    if (audience === '') invalid('must name an audience each');
    if (targets.findIndex((other) => other.audience === audience) !== index) {
      invalid(`names the audience ${audience} twice`);
    }
    if (tokenClaims.includes(claim)) {
      invalid(`has the claim ${claim}, which token_claims copies from metadata; leave it out there`);
    }
  }
}

function invalid(message: string): never {
  throw new FleetgateError('config_invalid', `token_targets ${message}`);
}
