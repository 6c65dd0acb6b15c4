import type { ClientAuthentication } from './client-auth.ts';
import { proveBySecret } from './client-secret.ts';

/** `client_id` and `client_secret` in the body (RFC 6749 §2.3.1). */
export const clientSecretPost = (({ clientId, clientSecret }) => {
  if (clientSecret === undefined) return undefined;
  return {
    method: 'client_secret_post',
    clientId: clientId ?? '',
    prove: (client, { now }) => proveBySecret(clientSecret, client, now()),
  };
}) satisfies ClientAuthentication;
