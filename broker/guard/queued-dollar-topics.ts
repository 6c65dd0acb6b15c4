import { matches } from '@fleetgate/shared';
import type { Guard } from './guard.ts';

const DOLLAR = 0x24;

/**
 * A message whose topic begins with `$` is not queued for a filter that begins with a wildcard [MQTT-4.7.2-1]. The host
 * queues it and never sends it, so it takes the place of a message that would be sent; and what a client has
 * acknowledged for nothing, as a token that was refused, goes to such a topic.
 */
export const queuedDollarTopics: Guard = {
  name: 'a topic that begins with $ is not queued for a wildcard',
  install({ broker: { persistence } }) {
    const enqueue = persistence.outgoingEnqueueCombi;
    persistence.outgoingEnqueueCombi = (subscriptions, packet) => {
      const reached =
        packet.topic.charCodeAt(0) === DOLLAR
          ? subscriptions.filter(({ topic }) => matches(topic, packet.topic))
          : subscriptions;
      return enqueue.call(persistence, reached, packet);
    };
    return undefined;
  },
};
