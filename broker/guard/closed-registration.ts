import type { Guard } from './guard.ts';

/**
 * A connection that closed on its way in is not registered. The host would list it for good, count it, and close the
 * next connection of that id for it.
 */
export const closedRegistration: Guard = {
  name: 'a connection that has closed is not registered',
  install({ broker }) {
    const register = broker.registerClient;
    broker.registerClient = (client) => {
      if (!client.closed) register.call(broker, client);
    };
    return undefined;
  },
};
