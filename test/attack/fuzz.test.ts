import { parsePolicy } from '@fleetgate/broker';
import type { IPublishPacket } from 'mqtt-packet';
import { expect, onTestFinished, test } from 'vitest';
import type { ModelPolicy } from '../broker/authorization/model.ts';
import { publishPacket, startTestBroker, subscribe, type TestBroker } from '../support/broker-fixture.ts';
import { createClients } from './fuzz-clients.ts';
import { createOracle } from './fuzz-oracle.ts';
import { randomPolicy, seeded } from './random-grants.ts';

/** Rounds of one run, and the time after which it does not begin another. */
const ROUNDS = 500;
const MAX_RUN_MS = 8_000;

/** Policies of one run; it begins with the first. */
const POLICIES = 12;

const givenSeed = process.env['FLEETGATE_FUZZ_SEED'];
const seed = givenSeed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(givenSeed);

test.each(['disconnect', 'drop'] as const)(
  'whatever clients send, each gets what it may and no more (denied_publish: %s)',
  async (deniedPublish) => {
    process.stdout.write(
      `FLEETGATE_FUZZ_SEED=${seed} gives this run again (denied_publish: ${deniedPublish})\n`,
    );
    const unexpected: unknown[] = [];
    const note = (error: unknown) => void unexpected.push(error);
    process.on('uncaughtException', note).on('unhandledRejection', note);
    onTestFinished(() => void process.off('uncaughtException', note).off('unhandledRejection', note));

    const random = seeded(seed);
    const policies = Array.from({ length: POLICIES }, () => {
      const model = randomPolicy(random);
      return { model, parsed: parsePolicy(JSON.stringify(model), 'policy.yaml') };
    });
    const [first] = policies as [{ model: ModelPolicy; parsed: ReturnType<typeof parsePolicy> }];
    const broker = await startTestBroker({ policy: first.parsed, deniedPublish, clientIdBinding: 'prefix' });
    const oracle = createOracle(first.model);
    const clients = createClients(broker, random, oracle, policies);
    const witness = await createWitness(broker);

    const endMs = performance.now() + MAX_RUN_MS;
    let rounds = 0;
    while (rounds < ROUNDS && performance.now() < endMs) {
      await Promise.all([clients.round(), witness.round(rounds)]);
      rounds += 1;
    }

    expect(oracle.violations).toEqual([]);
    expect(unexpected).toEqual([]);
    expect(witness.got).toEqual(Array.from({ length: rounds }, (_, i) => `${i}`));
    // What did not happen was not tested.
    for (const [what, count] of oracle.counts) expect([what, count >= rounds / 50]).toEqual([what, true]);
    await broker.auth.setPolicy(undefined);
    await broker.servesOthers();
  },
  60_000,
);

/** One who keeps to the rules, and has to get what it sends in spite of all the others, once. */
async function createWitness(broker: TestBroker) {
  const scope = ['mqtt:publish:witness/#', 'mqtt:subscribe:witness/#', 'exempt'];
  const open = () => broker.session('witness', { clean: false }, broker.token('witness', { scope }));
  let client = await open();
  await subscribe(client, ['witness/#', 'witness/+', '+/#']);
  const got: string[] = [];
  return {
    got,
    async round(number: number): Promise<void> {
      if (number % 10 === 9) {
        await client.end();
        client = await open();
      }
      client.send(publishPacket(`witness/${number}`, `${number}`, { qos: 1 }));
      const packets = [await client.next('publish'), ...(await client.settle())] as IPublishPacket[];
      for (const packet of packets) {
        if (packet.cmd !== 'publish') continue;
        got.push(packet.payload.toString());
        if (packet.qos === 1) client.send({ cmd: 'puback', messageId: packet.messageId as number });
      }
      await client.settle();
    },
  };
}
