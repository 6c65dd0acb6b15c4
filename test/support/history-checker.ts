import type {
  Acknowledged,
  Connected,
  Fault,
  FaultKind,
  History,
  Received,
  Sent,
  Subscribed,
} from './history.ts';

export interface Verdict {
  /** Acknowledged, and not received by one whose persistent session had a subscription to it before it was sent. */
  readonly lost: readonly Loss[];
  /** QoS 2 from end to end, and taken as new more than once. */
  readonly doubled: readonly Receipt[];
  /** Received for the first time behind what its publisher sent later, both through one connection and owed. */
  readonly reordered: readonly Receipt[];
  /** Received though the token of the connection does not cover the topic. */
  readonly outside: readonly Receipt[];
  /** Filters that the token does not cover and a broker granted, and the other way round. */
  readonly misjudged: readonly Subscribed[];
  /** Sent and never acknowledged, or of QoS 2 and never completed. */
  readonly unfinished: readonly string[];
  /** Devices whose session was forgotten. */
  readonly forgotten: readonly string[];
  readonly counts: Counts;
}

export interface Loss {
  readonly message: string;
  readonly qos: 1 | 2;
  readonly subscriber: string;
  readonly broker: number;
  readonly acknowledgedMs: number;
  /** The fault that explains it, by what docs/scaling.md says; without one it should not have happened. */
  readonly explainedBy?: FaultKind;
}

export interface Receipt {
  readonly message: string;
  readonly topic: string;
  readonly subscriber: string;
  readonly broker: number;
}

export interface Counts {
  readonly sent: number;
  readonly acknowledged: number;
  /** Deliveries that were owed: a message to each of its subscribers. */
  readonly owed: number;
  readonly received: number;
  /** Deliveries at QoS 1 beyond the first. */
  readonly repeated: number;
}

export interface CheckOptions {
  /** What a Redis that is killed forgets, at most: 0 with `appendfsync always`. */
  readonly forgottenMs: number;
}

/** Judges a history that ended with all up and every queue drained. */
export function checkHistory({ events, faults }: History, options: CheckOptions): Verdict {
  const sent = new Map<string, Sent>();
  const acknowledged = new Map<string, Acknowledged>();
  const completed = new Set<string>();
  const subscriptions = new Map<string, Subscribed[]>();
  const received = new Map<string, Received[]>();
  const connections = new Map<string, number>();
  /** The connection, counted by device, a message was sent through for the first time. */
  const sentThrough = new Map<string, number>();
  /** Those that were acknowledged through it. */
  const sentOnce = new Set<string>();
  const arrivals = new Map<string, Received[]>();
  const grantsNow = new Map<string, readonly string[]>();
  const grantsEver = new Map<string, Set<readonly string[]>>();
  const outside: Receipt[] = [];
  const misjudged: Subscribed[] = [];
  const forgotten: string[] = [];
  let receipts = 0;

  for (const event of events) {
    switch (event.kind) {
      case 'connected':
        connections.set(event.device, (connections.get(event.device) ?? 0) + 1);
        grantsNow.set(event.device, event.grants);
        noteGrants(grantsEver, event);
        break;
      case 'session_forgotten':
        forgotten.push(event.device);
        break;
      case 'subscribed':
        if ((event.code === 128) === event.isGranted) misjudged.push(event);
        if (event.code !== 128) append(subscriptions, event.filter, event);
        break;
      case 'sent':
        sent.set(event.message, event);
        sentThrough.set(event.message, connections.get(event.device) ?? 0);
        break;
      case 'acknowledged':
        if (acknowledged.has(event.message)) break;
        acknowledged.set(event.message, event);
        if (sentThrough.get(event.message) === connections.get(event.device)) sentOnce.add(event.message);
        break;
      case 'completed':
        completed.add(event.message);
        break;
      case 'received': {
        receipts += 1;
        const copies = append(received, `${event.device} ${event.message}`, event);
        if (copies === 1) append(arrivals, event.device, event);
        if (!covers(grantsNow.get(event.device) ?? [], event.topic)) outside.push(receiptOf(event));
        break;
      }
    }
  }

  const subscribersOf = cached((topic: string) => subscribersTo(topic, subscriptions));
  const isAlwaysGranted = (device: string, topic: string) =>
    [...(grantsEver.get(device) ?? [])].every((grants) => covers(grants, topic));
  const places = new Map([...sent.keys()].map((message, n) => [message, n]));
  const lost: Loss[] = [];
  const doubled: Receipt[] = [];
  let [owed, repeated] = [0, 0];
  for (const publication of sent.values()) {
    const { message, topic, qos, atMs } = publication;
    const acknowledgement = acknowledged.get(message);
    for (const [subscriber, subscription] of subscribersOf(topic)) {
      const copies = received.get(`${subscriber} ${message}`) ?? [];
      if (qos === 2 && subscription.code === 2 && copies.length > 1)
        doubled.push(receiptOf(copies[1] as Received));
      else repeated += Math.max(0, copies.length - 1);
      const isOwed =
        acknowledgement !== undefined && subscription.atMs < atMs && isAlwaysGranted(subscriber, topic);
      if (!isOwed) continue;
      owed += 1;
      if (copies.length > 0) continue;
      lost.push(lossOf(publication, acknowledgement, subscriber, faults, options));
    }
  }
  const reordered = [...arrivals.values()].flatMap((inOrder) => {
    const latest = new Map<string, number>();
    return inOrder.filter(({ device, message, topic }) => {
      const publication = sent.get(message);
      const subscribedMs = subscribersOf(topic).get(device)?.atMs ?? Number.POSITIVE_INFINITY;
      if (publication === undefined || !sentOnce.has(message) || subscribedMs >= publication.atMs)
        return false;
      const through = `${publication.device} ${sentThrough.get(message)}`;
      const place = places.get(message) as number;
      const isBehind = place < (latest.get(through) ?? -1);
      if (!isBehind) latest.set(through, place);
      return isBehind;
    });
  });
  const unfinished = [...sent.values()]
    .filter(({ message, qos }) => !(qos === 1 ? acknowledged.has(message) : completed.has(message)))
    .map(({ message }) => message);
  return {
    lost,
    doubled,
    reordered: reordered.map(receiptOf),
    outside,
    misjudged,
    unfinished,
    forgotten,
    counts: { sent: sent.size, acknowledged: acknowledged.size, owed, received: receipts, repeated },
  };
}

function lossOf(
  { message, qos }: Sent,
  { broker, atMs }: Acknowledged,
  subscriber: string,
  faults: readonly Fault[],
  { forgottenMs }: CheckOptions,
): Loss {
  const loss = { message, qos, subscriber, broker, acknowledgedMs: atMs };
  const fault = faults.find(
    ({ kind, beganMs }) => kind === 'redis_killed' && atMs < beganMs && atMs >= beganMs - forgottenMs,
  );
  return fault === undefined ? loss : { ...loss, explainedBy: fault.kind };
}

/** Of each device the earliest subscription that matches; its highest QoS counts. */
function subscribersTo(
  topic: string,
  subscriptions: ReadonlyMap<string, readonly Subscribed[]>,
): ReadonlyMap<string, Subscribed> {
  const found = new Map<string, Subscribed>();
  for (const filter of filtersMatching(topic)) {
    for (const one of subscriptions.get(filter) ?? []) {
      const known = found.get(one.device);
      found.set(
        one.device,
        known === undefined
          ? one
          : {
              ...known,
              atMs: Math.min(known.atMs, one.atMs),
              code: Math.max(known.code, one.code),
            },
      );
    }
  }
  return found;
}

function covers(grants: readonly string[], topic: string): boolean {
  return filtersMatching(topic).some((filter) => grants.includes(filter));
}

/** All filters that match the topic, `$` aside: 47 of one with four levels. Written apart from what is tested. */
const filtersMatching = cached((topic: string): string[] => {
  const levels = topic.split('/');
  const all: string[] = ['#'];
  let prefixes: string[] = [''];
  for (const [n, level] of levels.entries()) {
    prefixes = prefixes.flatMap((prefix) => [`${prefix}${level}`, `${prefix}+`]);
    all.push(...prefixes.map((prefix) => `${prefix}/#`));
    if (n === levels.length - 1) all.push(...prefixes);
    prefixes = prefixes.map((prefix) => `${prefix}/`);
  }
  return all;
});

function noteGrants(all: Map<string, Set<readonly string[]>>, { device, grants }: Connected): void {
  const known = all.get(device) ?? new Set();
  const isKnown = [...known].some((one) => one.join('\n') === grants.join('\n'));
  all.set(device, isKnown ? known : known.add(grants));
}

function receiptOf({ message, topic, device, broker }: Received): Receipt {
  return { message, topic, subscriber: device, broker };
}

/** How many there are then. */
function append<Value>(lists: Map<string, Value[]>, key: string, value: Value): number {
  const list = lists.get(key);
  if (list !== undefined) return list.push(value);
  lists.set(key, [value]);
  return 1;
}

function cached<Value>(make: (key: string) => Value): (key: string) => Value {
  const values = new Map<string, Value>();
  return (key) => {
    const known = values.get(key);
    if (known !== undefined) return known;
    const made = make(key);
    values.set(key, made);
    return made;
  };
}
