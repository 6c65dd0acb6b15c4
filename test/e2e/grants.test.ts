import { parsePolicy } from '@fleetgate/broker';
import { expect, test } from 'vitest';
import { publishPacket, startTestBroker, subscribe } from '../support/broker-fixture.ts';
import { issuerFixture } from '../support/issuer-fixture.ts';

const policy = parsePolicy(
  `version: 1
scopes:
  site.write:
    publish: [ 'sites/{claim:site}/#' ]
    subscribe: [ 'sites/{claim:site}/#' ]
  event.create:
    publish: [ events/# ]
    subscribe: [ events/# ]
`,
  'policy.yaml',
);

/** An issuer that copies `site` into its tokens, and a broker that trusts it. */
async function start() {
  const fixture = await issuerFixture({ tokenClaims: ['site'] });
  const keys = { jwks: () => fixture.issuer.jwks() };
  const broker = await startTestBroker({ issuers: [{ issuer: fixture.issuer.url, keys }], policy });
  const session = async (client: Record<string, unknown>, scope?: string) => {
    const registered = await fixture.register(client);
    const response = await fixture.tokenFor(registered, scope === undefined ? {} : { scope });
    const { access_token } = (await response.json()) as { access_token: string };
    return broker.session(registered.client_id, {}, access_token);
  };
  return { broker, session };
}

test('a claim from the metadata of a client fills a placeholder of the policy', async () => {
  const { broker, session } = await start();
  const one = await session({ client_id: 'one', scope: 'site.write', metadata: { site: 'plant-7' } });
  expect(await subscribe(one, ['sites/plant-7/a', 'sites/plant-8/a'])).toEqual([1, 0x80]);
  one.send(publishPacket('sites/plant-8/a', 'x', { qos: 1 }));
  await one.closed;
  expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason: 'no_rule' });
});

test('without the claim the rule does not apply', async () => {
  const { session } = await start();
  const none = await session({ client_id: 'none', scope: 'site.write', metadata: { tier: 'a' } });
  expect(await subscribe(none, ['sites/plant-7/a', 'sites/none/a'])).toEqual([0x80, 0x80]);
});

test('a scope below a pattern grants what the policy says once it is asked for by name', async () => {
  const { session } = await start();
  const named = await session({ client_id: 'named', scope: 'event.*' }, 'event.create');
  expect(await subscribe(named, ['events/a'])).toEqual([1]);
  const unasked = await session({ client_id: 'unasked', scope: 'event.*' });
  expect(await subscribe(unasked, ['events/a'])).toEqual([0x80]);
});
