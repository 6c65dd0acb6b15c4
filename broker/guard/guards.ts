import { afterEnd } from './after-end.ts';
import { batchedWrites } from './batched-writes.ts';
import { beforeAuthentication } from './before-authentication.ts';
import { brokerErrors } from './broker-errors.ts';
import { cleanSession } from './clean-session.ts';
import { closedRegistration } from './closed-registration.ts';
import { connectDeadline } from './connect-deadline.ts';
import { connectForm } from './connect-form.ts';
import { duplicateFilters } from './duplicate-filters.ts';
import { grantedQos } from './granted-qos.ts';
import type { Guard } from './guard.ts';
import { highestQos } from './highest-qos.ts';
import { inboundStore } from './inbound-store.ts';
import { keptPayloads } from './kept-payloads.ts';
import { knownAcknowledgements } from './known-acknowledgements.ts';
import { packetForm } from './packet-form.ts';
import { packetSize } from './packet-size.ts';
import { queueBound } from './queue-bound.ts';
import { queuedOnce } from './queued-once.ts';
import { releasedMessages } from './released-messages.ts';
import { restoredSubscriptions } from './restored-subscriptions.ts';
import { retainedLookUp } from './retained-look-up.ts';
import { retainedMessages } from './retained-messages.ts';
import { slowReader } from './slow-reader.ts';
import { storedSubscriptions } from './stored-subscriptions.ts';
import { takeover } from './takeover.ts';
import { unqueuedMessages } from './unqueued-messages.ts';
import { unsentMessages } from './unsent-messages.ts';
import { unsubscribeOrder } from './unsubscribe-order.ts';
import { websocketBuffer } from './websocket-buffer.ts';

/** All that stands in front of the host. The order matters only where two wrap the same method. */
export const guards: readonly Guard[] = Object.freeze([
  brokerErrors,
  connectDeadline,
  batchedWrites,
  packetSize,
  websocketBuffer,
  // The end is known before the form is checked, and duplicates are looked for in what is well-formed.
  afterEnd,
  packetForm,
  duplicateFilters,
  beforeAuthentication,
  connectForm,
  cleanSession,
  takeover,
  closedRegistration,
  unsubscribeOrder,
  storedSubscriptions,
  restoredSubscriptions,
  // Next to the persistence: all that the others ask of it goes through here.
  knownAcknowledgements,
  // What retainedMessages does not store is not to be found.
  retainedLookUp,
  // What others leave out needs no copy; retainedMessages knows a message by the payload that came.
  keptPayloads,
  // Wraps the clearing that unsentMessages corrects, and must see its result.
  queueBound,
  // What this leaves out is not counted.
  queuedOnce,
  releasedMessages,
  unsentMessages,
  // Behind unsentMessages, which wants to know what is not in the queue.
  unqueuedMessages,
  inboundStore,
  retainedMessages,
  highestQos,
  // Lowers what the one before has delivered.
  grantedQos,
  slowReader,
]);

/** What stands in front of the host's own persistence, and has no place where sessions are in Redis. */
const ofMemory: ReadonlySet<Guard> = new Set([
  knownAcknowledgements,
  keptPayloads,
  queueBound,
  queuedOnce,
  releasedMessages,
  unsentMessages,
  unqueuedMessages,
  inboundStore,
  retainedMessages,
]);

/** All that stands in front of a host whose sessions are in Redis; `cluster` is behind the take-over of its own. */
export function guardsOfCluster(cluster: Guard): readonly Guard[] {
  return Object.freeze([...guards.filter((guard) => !ofMemory.has(guard)), cluster]);
}
