import type { Guard } from './guard.ts';

/**
 * A CONNECT that fails wipes nothing. The host ends a clean session when its connection closes, also of one that
 * never authenticated, and by client id: anyone could empty anyone's store. So until it has authenticated a
 * connection counts as one that keeps its session.
 */
export const cleanSession: Guard = {
  name: 'a refused CONNECT leaves the stored session alone',
  authenticating(client) {
    const { clean } = client;
    client.clean = false;
    return () => {
      client.clean = clean;
    };
  },
};
