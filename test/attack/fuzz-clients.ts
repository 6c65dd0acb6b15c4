import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Policy } from '@fleetgate/broker';
import { generate, type IConnackPacket, type IPublishPacket, type Packet } from 'mqtt-packet';
import type { ModelPolicy, ModelToken } from '../broker/authorization/model.ts';
import { allFilters, allTopics } from '../shared/topic-model.ts';
import { messageId, publishPacket, type TestBroker, until } from '../support/broker-fixture.ts';
import { connectPacket } from '../support/broker-raw-client.ts';
import { acknowledgedBy, createLink, type Link, type Oracle } from './fuzz-oracle.ts';
import { type Random, randomToken } from './random-grants.ts';

/** MQTT client ids that the clients `a` and `b` may have where they are bound by prefix. */
const mqttIds = ['a', 'a.1', 'b', 'b.1'];

/** Renewals of one client in one round: no more than are sure to be taken. */
const MAX_RENEWALS = 3;

const shortTopics = ['a', 'b', 'a/b', 'b/a', 'a/a/b'];
const shortFilters = ['#', 'a/#', 'b/#', '+/+', 'a/b', '+', '$fleetgate/session'];

/**
 * Clients that send whatever `random` draws. Everything is drawn before anything is waited for, so that one seed gives
 * the same packets again.
 */
export function createClients(
  broker: TestBroker,
  random: Random,
  oracle: Oracle,
  policies: readonly { readonly model: ModelPolicy; readonly parsed: Policy }[],
) {
  let links: Link[] = [];
  const mint = ({ clientId, scopes, claims, group }: ModelToken) =>
    broker.token(clientId, { scope: scopes, claims: { ...claims, group } });
  const qos = () => random.pick([0, 1, 1, 2] as const);

  /** A message nobody sent before. */
  function message(tokens: readonly ModelToken[]) {
    const payload = random.bytes(random.pick([6, 12])).toString('hex');
    const draw = () => {
      const topic = random.pick(random.chance(0.7) ? shortTopics : allTopics);
      return {
        action: 'publish',
        topic,
        qos: qos(),
        retain: random.chance(0.2),
        bytes: payload.length,
      } as const;
    };
    let attempt = draw();
    // Mostly what may be sent: a refused message ends the session, and then nothing else is tried.
    const isKnowing = random.chance(0.8);
    for (let i = 0; i < 20 && isKnowing && !oracle.mayBeAllowed(tokens, attempt); i += 1) attempt = draw();
    return { payload, attempt };
  }

  function mutated(bytes: Uint8Array): Uint8Array {
    const copy = Buffer.from(bytes);
    const changes = 1 + random.int(4);
    for (let i = 0; i < changes; i += 1) copy[random.int(copy.length)] = random.int(256);
    if (random.chance(0.2)) return copy.subarray(0, random.int(copy.length));
    return random.chance(0.2) ? Buffer.concat([copy, random.bytes(random.int(20))]) : copy;
  }

  /** Another text than `token`, by one character. */
  function forged(token: string): string {
    const at = random.int(token.length);
    const other = random.pick([...'ABCDEFGHabcdefgh0123_-.'].filter((character) => character !== token[at]));
    return token.slice(0, at) + other + token.slice(at + 1);
  }

  function connect(mqttId: string): () => Promise<void> {
    const clientId = mqttId.charAt(0);
    const token = randomToken(random, clientId);
    const isForged = random.chance(0.1);
    const isForeign = random.chance(0.1);
    const id = isForeign ? (clientId === 'a' ? 'b' : 'a') : mqttId;
    const clean = random.chance(0.3);
    const hasWill = random.chance(0.3);
    const { payload, attempt } = message([token]);
    const { topic, qos, retain } = attempt;
    const packet = connectPacket(id, isForged ? forged(mint(token)) : mint(token), {
      username: '',
      clean,
      ...(hasWill ? { will: { topic, payload: Buffer.from(payload), qos, retain } } : {}),
    });
    const isNoisy = random.chance(0.1);
    const bytes = isNoisy ? mutated(generate(packet)) : generate(packet);
    return async () => {
      const raw = await broker.raw();
      const link = createLink(raw, id, [token]);
      links.push(link);
      raw.write(bytes);
      if (isNoisy) {
        link.isNoisy = true;
        oracle.count('noise');
        return;
      }
      oracle.note(payload, link, attempt);
      const answer = (await raw.next('connack').catch(() => undefined)) as IConnackPacket | undefined;
      const code = answer?.returnCode;
      oracle.judgeConnect(link, { code, payload, hasWill, isBad: isForged || isForeign });
      if (code === 0 && !clean) oracle.count('connected to a session that is kept');
    };
  }

  /** Bytes from one who never connects, and to whom nothing may come. */
  function intrude(): () => Promise<void> {
    const bytes = random.chance(0.5) ? random.bytes(1 + random.int(300)) : generate(publishPacket('a', 'x'));
    return async () => {
      const link = createLink(await broker.raw(), 'nobody', []);
      link.isNoisy = true;
      links.push(link);
      link.raw.write(bytes);
    };
  }

  /** Some packets of one client, in one segment. */
  function act(link: Link): void {
    const count = 1 + random.int(6);
    const packets = Array.from({ length: count }, () => randomPacket(link)).filter(
      (one) => one !== undefined,
    );
    let bytes: Uint8Array = Buffer.concat(packets.map((packet) => generate(packet)));
    if (random.chance(0.08) && bytes.length > 0) {
      link.isNoisy = true;
      oracle.count('noise');
      bytes = random.chance(0.5) ? mutated(bytes) : Buffer.concat([bytes, random.bytes(1 + random.int(200))]);
    }
    link.raw.write(bytes);
  }

  function randomPacket(link: Link): Packet | undefined {
    const draw = random.int(10);
    if (draw < 3) return publish(link);
    if (draw < 5) return subscribe(link);
    if (draw < 6) {
      return { cmd: 'unsubscribe', messageId: messageId(), unsubscriptions: [random.pick(allFilters), '#'] };
    }
    if (draw < 8) return renew(link);
    if (draw < 9) return renewBadly(link.mqttId.charAt(0));
    return random.pick<Packet>([
      { cmd: 'pingreq' },
      { cmd: 'pubrel', messageId: messageId() },
      { cmd: 'puback', messageId: messageId() },
      { cmd: 'disconnect' },
      publishPacket('$SYS/x/new/clients', link.mqttId),
    ]);
  }

  function publish(link: Link): IPublishPacket {
    const { payload, attempt } = message(link.tokens);
    oracle.note(payload, link, attempt);
    oracle.count('published');
    return publishPacket(attempt.topic, payload, { qos: attempt.qos, retain: attempt.retain });
  }

  function subscribe(link: Link): Packet {
    const subscriptions = Array.from({ length: 1 + random.int(3) }, () => ({
      topic: random.pick(random.chance(0.6) ? shortFilters : allFilters),
      qos: qos(),
    }));
    const id = messageId();
    link.subscribes.set(id, subscriptions);
    return { cmd: 'subscribe', messageId: id, subscriptions };
  }

  function renew(link: Link): IPublishPacket | undefined {
    if (link.renewals.size >= MAX_RENEWALS) return undefined;
    const token = randomToken(random, link.mqttId.charAt(0));
    const packet = publishPacket('$fleetgate/token', mint(token), { qos: 1 });
    link.renewals.set(packet.messageId as number, token);
    link.tokens.push(token);
    return packet;
  }

  function renewBadly(clientId: string): IPublishPacket {
    const other = clientId === 'a' ? 'b' : 'a';
    const texts = [mint(randomToken(random, other)), forged(mint(randomToken(random, clientId))), ''];
    return publishPacket('$fleetgate/token', random.pick(texts), { qos: random.pick([0, 1]) });
  }

  /** Until everything sent in this round has been dealt with, and what it led to has arrived. */
  async function settle(): Promise<void> {
    const isQuiet = ({ raw, isNoisy }: Link) => !isNoisy && !raw.stream.destroyed;
    await until(() =>
      links.every(
        (link) => !isQuiet(link) || acknowledgedBy(link).isSupersetOf(new Set(link.renewals.keys())),
      ),
    );
    // A message goes through some turns of the event loop between its decision and the socket.
    for (let i = 0; i < 3; i += 1) {
      await Promise.all(links.filter(isQuiet).map(({ raw }) => raw.settle().catch(() => {})));
    }
  }

  return {
    /** Everybody does something at once; then all that came of it is judged. */
    async round(): Promise<void> {
      const started: (() => Promise<void>)[] = [];
      for (const mqttId of mqttIds) {
        const live = links.find((link) => link.mqttId === mqttId && !link.raw.stream.destroyed);
        if (live !== undefined) act(live);
        if (random.chance(0.1)) live?.raw.stream.destroy();
        const isTakenOver = random.chance(0.05);
        if (live !== undefined && isTakenOver) oracle.count('taken over');
        if (live === undefined || isTakenOver) started.push(connect(mqttId));
      }
      if (random.chance(0.2)) started.push(intrude());
      if (random.chance(0.2)) {
        const { model, parsed } = random.pick(policies);
        const turns = random.int(40);
        oracle.followPolicy(model);
        // In the middle of what the others are at.
        started.push(async () => {
          for (let i = 0; i < turns; i += 1) await nextTurn();
          await broker.auth.setPolicy(parsed);
        });
      }
      await Promise.all(started.map((start) => start()));
      await settle();
      oracle.judgeSent();
      for (const link of links) oracle.judge(link);
      for (const { isNoisy, raw } of links) if (isNoisy) raw.stream.destroy();
      links = links.filter(({ raw }) => !raw.stream.destroyed);
      // What the acknowledgements lead to belongs to this round too.
      await settle();
      for (const link of links) oracle.judge(link);
      oracle.conclude(links);
    },
  };
}
