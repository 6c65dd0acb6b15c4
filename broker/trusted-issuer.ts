import { checkNames } from '@fleetgate/shared';
import { checkTokenIssuer, type TokenIssuer, tokenIssuerNames } from '@fleetgate/verifier';
import { checkIntrospection, type IntrospectionSettings } from './introspection/introspection.ts';
import type { RevocationFeedOptions } from './revocation-source.ts';

/** An issuer whose tokens the broker accepts, and how it learns what that issuer took back. */
export interface TrustedIssuer extends TokenIssuer {
  /** Asks the issuer about the tokens of live sessions, where nothing else tells of revocations. Default: not. */
  readonly introspection?: IntrospectionSettings;
  /** Where its revocations come from. Default: nowhere; its tokens are good until they expire. */
  readonly revocations?: RevocationFeedOptions;
}

const issuerNames = [...tokenIssuerNames, 'introspection', 'revocations'];

/**
 * What of an issuer is the verifier's.
 * @throws TypeError for a name nobody knows, or an introspection that cannot work
 */
export function tokenIssuerOf(trusted: TrustedIssuer): TokenIssuer {
  checkNames(trusted, issuerNames, 'issuer.');
  const { introspection, revocations: _, ...issuer } = trusted;
  if (introspection !== undefined) checkIntrospection(issuer.issuer, introspection);
  return issuer;
}

/**
 * Whether this issuer can be trusted as it is given, for a caller that wants to know which of several cannot.
 * @throws TypeError
 */
export function checkTrustedIssuer(trusted: TrustedIssuer): void {
  checkTokenIssuer(tokenIssuerOf(trusted));
}
