import { FleetgateError } from '@fleetgate/shared';
import type { ClientAuthentication } from './client-auth.ts';
import { clientSecretBasic } from './client-secret-basic.ts';
import { clientSecretPost } from './client-secret-post.ts';
import { privateKeyJwt } from './private-key-jwt.ts';

/** The methods that a request uses by what it holds, by their registered name (RFC 7591 §2). */
export const clientAuthMethods: ReadonlyMap<string, ClientAuthentication> = new Map<
  string,
  ClientAuthentication
>([
  ['client_secret_basic', clientSecretBasic],
  ['client_secret_post', clientSecretPost],
  ['private_key_jwt', privateKeyJwt],
]);

/** The methods by the certificate of the connection (RFC 8705 §2), which a request may also have by the way. */
export const certificateAuthMethods = ['tls_client_auth', 'self_signed_tls_client_auth'] as const;

const registeredMethods: readonly string[] = [
  ...clientAuthMethods.keys(),
  ...certificateAuthMethods,
  'oscore',
];

/** The method of a client registered without one. */
export const DEFAULT_AUTH_METHOD = 'client_secret_basic';

const secretMethods: readonly string[] = ['client_secret_basic', 'client_secret_post'];

/** Whether clients of this method have a secret, or a context, that is made here. */
export const usesSecret = (method: string): boolean => method === 'oscore' || secretMethods.includes(method);

/**
 * Whether a client that is registered for one method may be proven by another: a secret may be sent either way, and
 * which certificate is wanted says the registration.
 */
export function isProvenBy(registered: string, used: string): boolean {
  const families: readonly (readonly string[])[] = [secretMethods, certificateAuthMethods];
  return registered === used || families.some((one) => one.includes(registered) && one.includes(used));
}

/** @throws FleetgateError `not_supported`, naming the methods that exist */
export function checkAuthMethod(method: string): void {
  if (registeredMethods.includes(method)) return;
  const known = registeredMethods.join(', ');
  throw new FleetgateError('not_supported', `this auth_method is not supported; it may be one of ${known}`);
}
