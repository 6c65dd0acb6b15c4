import { duplexPair } from 'node:stream';
import { fleetgate } from '@fleetgate/broker';
import { Aedes } from 'aedes';
import { expect, onTestFinished, test } from 'vitest';
import { publishPacket, startTestBroker, subscribe } from '../support/broker-fixture.ts';
import { connackOf, connectPacket, rawClientOn } from '../support/broker-raw-client.ts';
import { testIssuer } from '../support/broker-tokens.ts';

const issuer = testIssuer();
const issuers = [{ issuer: issuer.name, keys: { jwks: issuer.jwks } }];
const token = (clientId: string) =>
  issuer.token({
    clientId,
    scope: [`mqtt:publish:devices/${clientId}/#`, `mqtt:subscribe:devices/${clientId}/#`],
  });

async function aedesWith(hooks: object): Promise<Aedes> {
  const aedes = await Aedes.createBroker(hooks);
  onTestFinished(() => new Promise<void>((resolve) => aedes.close(resolve)));
  return aedes;
}

function clientOf(handle: (stream: never) => unknown) {
  const [ours, theirs] = duplexPair();
  handle(theirs as never);
  return rawClientOn(ours);
}

test('an Aedes of one’s own is guarded by its hooks and attach', async () => {
  const auth = fleetgate({ issuers });
  onTestFinished(() => auth.close());
  const aedes = await aedesWith({ ...auth.hooks });
  auth.attach(aedes);
  const client = clientOf(aedes.handle);
  expect(await connackOf(client, connectPacket('device-1', token('device-1')))).toBe(0);
  expect(await subscribe(client, ['devices/device-1/x', '#'])).toEqual([1, 0x80]);
  const other = clientOf(aedes.handle);
  expect(await connackOf(other, connectPacket('device-2', token('device-1'), { username: '' }))).toBe(2);
});

test('before attach everything is refused', async () => {
  const auth = fleetgate({ issuers });
  const aedes = await aedesWith({ ...auth.hooks });
  expect(await connackOf(clientOf(aedes.handle), connectPacket('device-1', token('device-1')))).toBe(
    'closed',
  );
});

test('a connection that goes past the guarded handle is refused', async () => {
  const auth = fleetgate({ issuers });
  const aedes = await aedesWith({ ...auth.hooks });
  const { handle } = aedes;
  auth.attach(aedes);
  expect(await connackOf(clientOf(handle), connectPacket('device-1', token('device-1')))).toBe('closed');
});

test('after close everything is refused', async () => {
  const auth = fleetgate({ issuers });
  const aedes = await aedesWith({ ...auth.hooks });
  auth.attach(aedes);
  const client = clientOf(aedes.handle);
  expect(await connackOf(client, connectPacket('device-1', token('device-1')))).toBe(0);
  auth.close();
  expect(await subscribe(client, ['devices/device-1/x'])).toEqual([0x80]);
  client.send(publishPacket('devices/device-1/x', 'x'));
  await client.closed;
  expect(await connackOf(clientOf(aedes.handle), connectPacket('device-1', token('device-1')))).toBe(
    'closed',
  );
});

test('a broker that was not made with the hooks, or is none, or is attached twice, is a mistake', async () => {
  const auth = fleetgate({ issuers });
  expect(() => auth.attach({} as Aedes)).toThrow(TypeError);
  const { authorizeForward: _left, ...rest } = auth.hooks;
  const forgetful = await aedesWith({ ...rest });
  expect(() => auth.attach(forgetful)).toThrow(TypeError);
  const aedes = await aedesWith({ ...auth.hooks });
  auth.attach(aedes);
  expect(() => auth.attach(aedes)).toThrow(TypeError);
});

test('what is thrown inside a hook is a denial', async () => {
  let isBroken = false;
  const broker = await startTestBroker({
    now: () => {
      if (isBroken) throw new Error('broken clock');
      return Date.now();
    },
  });
  const publisher = await broker.session('device-1');
  const client = await broker.session('device-2');
  await subscribe(client, ['devices/device-2/#']);
  isBroken = true;
  expect(await subscribe(client, ['devices/device-2/a'])).toEqual([0x80]);
  expect(await broker.connack('device-3', broker.token('device-3'))).toBe(3);
  publisher.send(publishPacket('devices/device-1/x', 'x'));
  await publisher.closed;
  isBroken = false;
  expect(await broker.refusal({ action: 'publish' })).toMatchObject({ reason: 'internal_error' });
  expect(await client.settle()).toEqual([]);
  await broker.servesOthers();
});

test('a persistence that fails while a session enters closes that connection alone', async () => {
  const broker = await startTestBroker();
  const { persistence } = broker.aedes as unknown as { persistence: Record<string, () => Promise<never>> };
  const { cleanSubscriptions } = persistence;
  persistence['cleanSubscriptions'] = () => Promise.reject(new Error('store is away'));
  expect(await broker.connack('device-1', broker.token('device-1'))).toBe('closed');
  Object.assign(persistence, { cleanSubscriptions });
  expect(await broker.connack('device-1', broker.token('device-1'))).toBe(0);
  await broker.servesOthers();
});
