import type { Guard } from './guard.ts';

/**
 * Nothing behind a CONNECT is read before it was answered. The host resumes by itself once the session stands;
 * whoever is refused is closed. `preConnect` must stay synchronous for this to hold. The hooks deny whoever has no
 * session besides, so neither depends on the other.
 */
export const beforeAuthentication: Guard = {
  name: 'nothing is served before CONNACK',
  connect(client) {
    client.pause();
    return undefined;
  },
};
