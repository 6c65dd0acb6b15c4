import { matches } from '@fleetgate/shared';
import type { Guard } from './guard.ts';
import type { HostClient } from './host.ts';

/**
 * Of several filters that match a message the one of the highest QoS delivers it [MQTT-3.3.5-1]. The host delivers by
 * the one it comes to first, and lowers the QoS to that of the filter that is the topic itself. Sent at QoS 0, the copy
 * that was queued is never acknowledged.
 */
export const highestQos: Guard = {
  name: 'a message that a filter of QoS 1 or 2 takes is not sent at QoS 0',
  install({ broker: { persistence } }) {
    const update = persistence.outgoingUpdate;
    persistence.outgoingUpdate = (client, packet) => {
      // Only what a filter of QoS 1 or 2 took comes here.
      if (packet.cmd === 'publish' && packet.qos === 0) packet.qos = 1;
      return update.call(persistence, client, packet);
    };
    return undefined;
  },
  enter({ client }, _context, proceed) {
    const { deliver0 } = client;
    client.deliver0 = (packet, done) => {
      const { qos = 0, topic = '' } = packet as { qos?: number; topic?: string };
      if (qos > 0 && isTakenAtMore(client, topic)) setImmediate(done);
      else deliver0(packet, done);
    };
    proceed();
  },
};

function isTakenAtMore({ subscriptions }: HostClient, topic: string): boolean {
  for (const filter in subscriptions) {
    if ((subscriptions[filter]?.qos ?? 0) > 0 && matches(filter, topic)) return true;
  }
  return false;
}
