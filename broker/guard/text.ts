import { topicFilterProblem, topicNameProblem } from '@fleetgate/shared';

/**
 * Whether text off the wire may be what the sender meant. The host decodes invalid UTF-8 to U+FFFD and lets NUL
 * pass; both must close the connection [MQTT-1.5.3-1] [MQTT-1.5.3-2], and a U+FFFD that was sent as such, which
 * nobody needs in a name, goes with them.
 */
export function looksDecoded(text: string): boolean {
  return !text.includes('\uFFFD') && !text.includes('\0');
}

/** Whether a topic name off the wire is well-formed. */
export function isWireTopic(topic: unknown): topic is string {
  return typeof topic === 'string' && !topic.includes('\uFFFD') && topicNameProblem(topic) === undefined;
}

/** Whether a topic filter off the wire is well-formed. */
export function isWireFilter(filter: unknown): filter is string {
  return typeof filter === 'string' && !filter.includes('\uFFFD') && topicFilterProblem(filter) === undefined;
}
