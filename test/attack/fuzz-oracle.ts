import type { IPublishPacket, ISubackPacket, Packet } from 'mqtt-packet';
import {
  type ModelAttempt,
  type ModelPolicy,
  type ModelToken,
  modelDecide,
} from '../broker/authorization/model.ts';
import type { RawClient } from '../support/broker-raw-client.ts';

/** One connection, and what it may be judged by while renewals are under way. */
export interface Link {
  readonly raw: RawClient;
  readonly mqttId: string;
  /** Every token that may count in this round; the first has counted from its beginning. None: nothing may come. */
  tokens: ModelToken[];
  /** Renewals of this round that must succeed, by packet identifier, in their order. */
  readonly renewals: Map<number, ModelToken>;
  readonly subscribes: Map<number, readonly { topic: string; qos: 0 | 1 | 2 }[]>;
  /** It was sent bytes that nobody can foretell the effect of. */
  isNoisy: boolean;
  /** Packets that were looked at. */
  read: number;
}

export function createLink(raw: RawClient, mqttId: string, tokens: ModelToken[]): Link {
  return { raw, mqttId, tokens, renewals: new Map(), subscribes: new Map(), isNoisy: false, read: 0 };
}

/** A message that was sent, and whether its sender might send it. */
interface Sent {
  readonly topic: string;
  readonly attempt: ModelAttempt;
  readonly link: Link;
  isAllowed: boolean | undefined;
}

export type Oracle = ReturnType<typeof createOracle>;

/** What must have happened at least so often in a run; what did not happen was not tested. */
const happenings = [
  'published',
  'delivered',
  'delivered as retained',
  'filter granted',
  'filter refused',
  'renewed',
  'connected',
  'connected to a session that is kept',
  'not connected',
  'taken over',
  'noise',
  'policy changed',
] as const;

/** Recomputes with the naive model everything that clients get. */
export function createOracle(first: ModelPolicy) {
  const violations: string[] = [];
  const counts = new Map<string, number>(happenings.map((what) => [what, 0]));
  const count = (what: (typeof happenings)[number]) => void counts.set(what, (counts.get(what) ?? 0) + 1);
  /** By payload; each is sent once. */
  const sent = new Map<string, Sent>();
  /** The policies that may count in this round. */
  let inForce: ModelPolicy[] = [first];

  const outcomes = (tokens: readonly ModelToken[], attempt: ModelAttempt) =>
    inForce.flatMap((policy) => tokens.map((token) => modelDecide(policy, token, attempt) === 'allowed'));
  const mayBeAllowed = (tokens: readonly ModelToken[], attempt: ModelAttempt) =>
    outcomes(tokens, attempt).includes(true);
  const mayBeRefused = (tokens: readonly ModelToken[], attempt: ModelAttempt) =>
    outcomes(tokens, attempt).includes(false);

  /** Looks at all that arrived since it was called last, and answers as a client does. */
  function judge(link: Link): void {
    const { raw } = link;
    for (; link.read < raw.received.length; link.read += 1) {
      const packet = raw.received[link.read] as Packet;
      const answer = (cmd: 'puback' | 'pubrec' | 'pubcomp') =>
        raw.send({ cmd, messageId: packet.messageId as number });
      if (packet.cmd === 'suback' && !link.isNoisy) judgeAnswer(link, packet);
      if (packet.cmd === 'pubrel') answer('pubcomp');
      if (packet.cmd !== 'publish') continue;
      judgeDelivery(link, packet);
      if (packet.qos === 2) answer('pubrec');
      // Some are never acknowledged, and come again.
      if (packet.qos === 1 && Number(packet.payload[0]) % 5 > 0) answer('puback');
    }
  }

  function judgeDelivery({ mqttId, tokens }: Link, { topic, payload, retain }: IPublishPacket): void {
    if (topic === '$fleetgate/session' && tokens.length > 0) return;
    count(retain ? 'delivered as retained' : 'delivered');
    if (!mayBeAllowed(tokens, { action: 'receive', topic })) violations.push(`${mqttId} got ${topic}`);
    const message = sent.get(payload.toString());
    // Of the witness, or of noise, which may have changed its topic.
    if (message === undefined || message.link.isNoisy) return;
    if (message.topic !== topic) violations.push(`a message to ${message.topic} arrived as ${topic}`);
    if (message.isAllowed === false) violations.push(`${message.link.mqttId} sent to ${topic}`);
  }

  function judgeAnswer(link: Link, { messageId: id, granted }: ISubackPacket): void {
    const asked = link.subscribes.get(id as number) ?? [];
    if (asked.length !== granted.length) {
      violations.push(`${link.mqttId} got ${granted.length} answers to ${asked.length} filters`);
    }
    for (const [i, { topic: filter, qos }] of asked.entries()) {
      if (filter === '$fleetgate/session') continue;
      const attempt = { action: 'subscribe', filter, qos } as const;
      const isGranted = granted[i] !== 0x80;
      count(isGranted ? 'filter granted' : 'filter refused');
      const isRight = isGranted ? mayBeAllowed(link.tokens, attempt) : mayBeRefused(link.tokens, attempt);
      if (!isRight) violations.push(`${link.mqttId} asked for ${filter} and got ${granted[i]}`);
    }
  }

  return {
    violations,
    counts,
    count,
    mayBeAllowed,
    judge,
    /** Another policy may count from now on, until the round is over only that. */
    followPolicy(next: ModelPolicy): void {
      inForce.push(next);
      count('policy changed');
    },
    note(payload: string, link: Link, attempt: ModelAttempt & { action: 'publish' }): void {
      sent.set(payload, { topic: attempt.topic, attempt, link, isAllowed: undefined });
    },
    /** The answer to a CONNECT whose will has `payload`; `undefined` when it was closed without one. */
    judgeConnect(
      { mqttId, tokens }: Link,
      {
        code,
        payload,
        hasWill,
        isBad,
      }: { code: number | undefined; payload: string; hasWill: boolean; isBad: boolean },
    ): void {
      count(code === 0 ? 'connected' : 'not connected');
      if (code === 0 && isBad) violations.push(`${mqttId} got in with a token that is not for it`);
      const will = sent.get(payload) as Sent;
      const isAllowed = mayBeAllowed(tokens, will.attempt);
      if (code === 0 && hasWill && !isAllowed)
        violations.push(`${mqttId} got in with a will to ${will.topic}`);
      // One that was refused has no will; one that was closed may have been let in and taken over.
      will.isAllowed = hasWill && isAllowed && (code === 0 || code === undefined);
    },
    /** Before deliveries of this round are judged. */
    judgeSent(): void {
      for (const message of sent.values()) {
        message.isAllowed ??= mayBeAllowed(message.link.tokens, message.attempt);
      }
    },
    /** What counts from here on: of renewals the last that was acknowledged, of policies the last. */
    conclude(links: readonly Link[]): void {
      for (const link of links) {
        const acknowledged = acknowledgedBy(link);
        let [token] = link.tokens;
        for (const [id, next] of link.renewals) {
          if (!acknowledged.has(id)) continue;
          token = next;
          count('renewed');
        }
        link.tokens = token === undefined ? [] : [token];
        link.renewals.clear();
        link.subscribes.clear();
      }
      inForce = inForce.slice(-1);
    },
  };
}

/** Packet identifiers of a client that the broker has acknowledged. */
export function acknowledgedBy({ raw }: Link): ReadonlySet<number> {
  return new Set(
    raw.received.filter(({ cmd }) => cmd === 'puback').map(({ messageId }) => messageId as number),
  );
}
