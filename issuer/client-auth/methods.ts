import { FleetgateError } from '@fleetgate/shared';
import type { ClientAuthentication } from './client-auth.ts';
import { clientSecretBasic } from './client-secret-basic.ts';
import { clientSecretPost } from './client-secret-post.ts';

/** The methods of client authentication that exist, by their registered name (RFC 7591 §2). */
export const clientAuthMethods: ReadonlyMap<string, ClientAuthentication> = new Map([
  ['client_secret_basic', clientSecretBasic],
  ['client_secret_post', clientSecretPost],
]);

/** The method of a client registered without one. */
export const DEFAULT_AUTH_METHOD = 'client_secret_basic';

/** @throws FleetgateError `not_supported`, naming the methods that exist */
export function checkAuthMethod(method: string): void {
  if (clientAuthMethods.has(method)) return;
  const known = Array.from(clientAuthMethods.keys()).join(', ');
  throw new FleetgateError('not_supported', `this auth_method is not supported; it may be one of ${known}`);
}
