import type { Guard } from './guard.ts';

const nothing = Buffer.alloc(0);

/**
 * Of a QoS 2 message that was published only its packet identifier is kept until PUBREL, to know it when it comes again.
 * The host keeps all of it, and its own limit counts anew for each connection: one persistent session could hold 65,535
 * packets of the largest size.
 */
export const storedMessages: Guard = {
  name: 'of an incoming QoS 2 message only its identifier is stored',
  install({ broker: { persistence } }) {
    const store = persistence.incomingStorePacket;
    persistence.incomingStorePacket = (client, packet) =>
      store.call(persistence, client, { ...packet, topic: '', payload: nothing });
  },
};
