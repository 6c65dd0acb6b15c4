import type { Guard } from './guard.ts';

/**
 * A filter that was given up is forgotten at once. The host forgets it a turn of the event loop later, and a SUBSCRIBE
 * that comes between then loses its record: what it registered goes on delivering after every UNSUBSCRIBE and after
 * the connection, and is never freed.
 */
export const unsubscribeOrder: Guard = {
  name: 'a filter given up and taken again leaves nothing behind',
  install({ broker }) {
    const unsubscribe = broker.unsubscribe;
    broker.unsubscribe = (topic, deliver, done) => {
      unsubscribe.call(broker, topic, deliver, () => {});
      done?.();
    };
    return undefined;
  },
};
