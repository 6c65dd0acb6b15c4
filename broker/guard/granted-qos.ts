import { Readable } from 'node:stream';
import { matches } from '@fleetgate/shared';
import type { Guard } from './guard.ts';
import type { HostClient, HostPersistence } from './host.ts';

/**
 * No message is sent at a QoS above the one its filter was granted [MQTT-3.8.4-6]. The host lowers it only for the
 * filter that is the very topic, and not for what waited in the queue. What was sent before is sent again as it was.
 */
export const grantedQos: Guard = {
  name: 'a message is sent at no more than the QoS that was granted',
  install({ broker: { persistence, opts } }) {
    // A store of the broker's own does so itself, and knows what was sent before.
    if (opts.persistence !== undefined) return undefined;
    const queue = persistence.outgoingStream;
    persistence.outgoingStream = (client) => {
      const stored = queue.call(persistence, client);
      return client.clean ? stored : Readable.from(lowered(client, stored));
    };
    return undefined;
  },
  enter({ client }, _context, proceed) {
    const { deliverQoS } = client;
    client.deliverQoS = (packet, done) => {
      const message = packet as Message;
      message.qos = grantedOf(client, message);
      deliverQoS(message, done);
    };
    proceed();
  },
};

interface Message {
  qos?: number;
  topic?: string;
  messageId?: number | undefined;
}

async function* lowered(
  client: HostClient,
  stored: ReturnType<HostPersistence['outgoingStream']>,
): AsyncGenerator<object> {
  for await (const packet of stored as AsyncIterable<Message>) {
    const qos = packet.messageId === undefined ? grantedOf(client, packet) : packet.qos;
    yield qos === packet.qos ? packet : { ...packet, qos };
  }
}

/**
 * The QoS that a message goes out at. Filters of QoS 0 deliver by another way, so what can be too much is 2 for filters
 * of QoS 1; of none that is left it was queued for one that was given up.
 */
export function grantedOf({ subscriptions }: HostClient, { qos = 0, topic = '' }: Message): number {
  if (qos < 2) return qos;
  let granted = 0;
  for (const filter in subscriptions) {
    const of = subscriptions[filter]?.qos ?? 0;
    if (of > granted && matches(filter, topic)) granted = of;
  }
  return granted === 1 ? 1 : qos;
}
