import { isLiveSecret } from '../secrets.ts';
import type { ClientAuthentication } from './client-auth.ts';
import { secretEnded } from './client-secret.ts';

/**
 * OSCORE (RFC 9203 §5): whoever made the request holds the keys of this client's context. The transport has seen to that;
 * what is left is whether the context is one of the client's still.
 */
export const oscoreAuth = (({ oscore }) => {
  if (oscore === undefined) return undefined;
  return {
    method: 'oscore',
    clientId: oscore.clientId,
    prove(client, { now }) {
      const secret = client?.secrets.find(({ secretId }) => secretId === oscore.secretId);
      if (secret === undefined) return { isProven: false };
      return isLiveSecret(secret, now())
        ? { isProven: true, secret }
        : { isProven: false, reason: secretEnded() };
    },
  };
}) satisfies ClientAuthentication;
