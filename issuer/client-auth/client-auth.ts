import type { FleetgateError } from '@fleetgate/shared';
import type { ClientRecord, Registry } from '../registry/registry.ts';
import type { ClientSecret } from '../secrets.ts';
import type { ClientRequest } from '../token-request.ts';

/** What proofs are checked with. */
export interface ClientAuthContext {
  readonly registry: Pick<Registry, 'findClient' | 'recordSecretUse'>;
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
   */
  prove(client: ClientRecord | undefined, context: ClientAuthContext): Proof;
}

/** What an attempt came to. */
export type Proof =
  /** With the secret it was proven by, where it was one. */
  | { readonly isProven: true; readonly secret?: ClientSecret }
  /** `reason` is for the audit trail alone: all that is not proven gets one answer. */
  | { readonly isProven: false; readonly reason?: FleetgateError };

/** One method of client authentication: its attempt, or `undefined` when the request does not use it. */
export type ClientAuthentication = (request: ClientRequest) => AuthenticationAttempt | undefined;
