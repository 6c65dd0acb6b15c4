import type { ReasonCode } from '@fleetgate/shared';
import type { Guard } from './guard.ts';
import type { WirePacket } from './host.ts';
import { isWireFilter, isWireTopic } from './text.ts';

/**
 * Filters one SUBSCRIBE or UNSUBSCRIBE may hold, unless the limit of subscriptions is higher: each costs an answer
 * and maybe a log line, and a packet of a megabyte holds 200,000.
 */
export const MAX_FILTERS_PER_PACKET = 1_000;

/** Not a packet of MQTT: the host destroys the connection of whoever sends it. */
const MALFORMED = 'malformed';

/** Every packet is looked at once between the host's parser and the host, and what is malformed closes the connection. */
export const packetForm: Guard = {
  name: 'a malformed packet closes the connection',
  packet(packet, client, { limits, report, sessions }) {
    const reason = packetProblem(packet, Math.max(MAX_FILTERS_PER_PACKET, limits.maxSubscriptionsPerClient));
    if (reason === undefined) return;
    packet.cmd = MALFORMED;
    const clientId = sessions.byClient.get(client)?.principal.clientId;
    const address = sessions.connections.get(client)?.address;
    report({ action: 'packet', reason, clientId, address });
  },
};

function packetProblem(packet: WirePacket, maxFilters: number): ReasonCode | undefined {
  switch (packet.cmd) {
    case 'publish':
      if (!isWireTopic(packet.topic)) return 'topic_malformed';
      return packet.qos === 0 ? undefined : messageIdProblem(packet);
    case 'subscribe':
      return messageIdProblem(packet) ?? filtersProblem(packet.subscriptions, maxFilters, topicOf);
    case 'unsubscribe':
      return messageIdProblem(packet) ?? filtersProblem(packet.unsubscriptions, maxFilters, itself);
    default:
      return undefined;
  }
}

// [MQTT-2.3.1-1]; the host's parser gives -1 for one that is cut off.
function messageIdProblem({ messageId }: WirePacket): ReasonCode | undefined {
  return messageId !== undefined && messageId > 0 ? undefined : 'protocol_refused';
}

function filtersProblem<Item>(
  items: readonly Item[] | undefined,
  maxFilters: number,
  filterOf: (item: Item) => unknown,
): ReasonCode | undefined {
  // At least one [MQTT-3.8.3-3] [MQTT-3.10.3-2].
  if (items === undefined || items.length === 0) return 'protocol_refused';
  if (items.length > maxFilters) return 'too_many_subscriptions';
  for (const item of items) if (!isWireFilter(filterOf(item))) return 'filter_malformed';
  return undefined;
}

const topicOf = (subscription: { topic: unknown }) => subscription.topic;
const itself = (filter: unknown) => filter;
