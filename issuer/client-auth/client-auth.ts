import type { FleetgateError } from '@fleetgate/shared';
import type { UsedAssertion } from '../registry/assertions.ts';
import type { ClientRecord, Registry } from '../registry/registry.ts';
import type { ClientSecret } from '../secrets.ts';
import type { ClientRequest } from '../token-request.ts';
import type { ClientKeys } from './client-keys.ts';

/** What proofs are checked with. */
export interface ClientAuthContext {
  readonly registry: Pick<Registry, 'findClient' | 'recordSecretUse' | 'useAssertion'>;
  /** The keys that clients are registered with. */
  readonly clientKeys: ClientKeys;
  /** `iss`, which an assertion names as its audience. */
  readonly issuerUrl: () => string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** What a request says of who asks, by one method of authentication. */
export interface AuthenticationAttempt {
  readonly method: string;
  /** As claimed; unchecked. */
  readonly clientId: string;
  /**
   * Whether it is proven now. For an unknown client (`undefined`) it is not, after the same work as for a
   * wrong proof, so that time does not tell who is registered.
   * @throws OAuthError `temporarily_unavailable` when it cannot be told now
   */
  prove(client: ClientRecord | undefined, context: ClientAuthContext): Proof | Promise<Proof>;
}

/** What an attempt came to. */
export type Proof =
  /**
   * With the secret it was proven by; or the certificate: tokens are bound to its `x5t#S256` (RFC 8705 §3); or the
   * assertion, if nobody used it before.
   */
  | {
      readonly isProven: true;
      readonly secret?: ClientSecret;
      readonly certificateThumbprint?: string;
      readonly assertion?: UsedAssertion;
    }
  /** `reason` is for the audit trail alone: all that is not proven gets one answer. */
  | { readonly isProven: false; readonly reason?: FleetgateError };

/** One method of client authentication: its attempt, or `undefined` when the request does not use it. */
export type ClientAuthentication = (request: ClientRequest) => AuthenticationAttempt | undefined;
