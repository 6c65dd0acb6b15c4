import type { ClientRecord } from '../registry/registry.ts';
import type { ClientRequest } from '../token-request.ts';

/** What a request says of who asks, by one method of authentication. */
export interface AuthenticationAttempt {
  readonly method: string;
  /** As claimed; unchecked. */
  readonly clientId: string;
  /**
   * Whether it is proven. For an unknown client (`undefined`) the answer is no, after the same work as for a wrong
   * proof, so that time does not tell who is registered.
   */
  isProven(client: ClientRecord | undefined): boolean;
}

/** One method of client authentication: its attempt, or `undefined` when the request does not use it. */
export type ClientAuthentication = (request: ClientRequest) => AuthenticationAttempt | undefined;
