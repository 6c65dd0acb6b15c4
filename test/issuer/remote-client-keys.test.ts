import { beforeEach, describe, expect, test } from 'vitest';
import { remoteClientKeys } from '../../issuer/client-auth/remote-client-keys.ts';
import {
  assertionForm,
  type ClientKeyPair,
  clientAssertion,
  clientKeyPair,
} from '../support/client-assertion.ts';
import { issuerFixture } from '../support/issuer-fixture.ts';
import { type Answer, fakeClock, httpServer, jsonServer } from '../support/verifier-fixture.ts';

const first = clientKeyPair('ES256', 'k1');
const second = clientKeyPair('EdDSA', 'k2');
const away: Answer = { status: 503 };
const setOf = (...pairs: ClientKeyPair[]): Answer => ({
  body: { keys: pairs.map(({ publicJwk }) => publicJwk) },
});

/** A set whose answer can be changed, and a reader of it on a clock of its own. */
async function changingSet(answer: Answer | undefined) {
  const state = { answer };
  const server = await jsonServer(() => state.answer);
  const clock = fakeClock();
  const remote = remoteClientKeys({ log: undefined, monotonicMs: clock.ms });
  const uri = `${server.origin}/jwks.json`;
  /** The ids of the keys there are, or the code of the refusal. */
  const ids = (keyId?: string) =>
    remote.keysAt(uri, keyId).then(
      (keys) => keys.map((key) => key.keyId),
      (error: { code: string }) => error.code,
    );
  return { state, server, clock, ids };
}

describe('keys at an address', () => {
  test('are fetched when they are first needed, once for many at once', async () => {
    const { server, ids } = await changingSet(setOf(first));
    expect(server.requests).toHaveLength(0);
    const all = await Promise.all(Array.from({ length: 20 }, () => ids('k1')));
    expect(all).toEqual(Array.from({ length: 20 }, () => ['k1']));
    expect(server.requests).toHaveLength(1);
  });

  test('are fetched again for a key that is not among them, at most every 30 s', async () => {
    const { state, server, clock, ids } = await changingSet(setOf(first));
    expect(await ids('k1')).toEqual(['k1']);
    state.answer = setOf(first, second);
    for (const keyId of ['k2', 'k3', 'k4']) expect(await ids(keyId)).toEqual(['k1']);
    expect(server.requests).toHaveLength(1);
    clock.pass(31);
    expect(await ids('k2')).toEqual(['k1', 'k2']);
    expect(await ids('k5')).toEqual(['k1', 'k2']);
    expect(server.requests).toHaveLength(2);
  });

  test('that are no longer there are taken for no more than 5 minutes', async () => {
    const { state, clock, ids } = await changingSet(setOf(first, second));
    await ids();
    state.answer = setOf(second);
    clock.pass(299);
    expect(await ids('k1')).toEqual(['k1', 'k2']);
    clock.pass(2);
    expect(await ids('k1')).toEqual(['k2']);
  });

  test('are used for an hour more while their server is away, and then no longer', async () => {
    const { state, clock, ids } = await changingSet(setOf(first));
    await ids();
    state.answer = away;
    clock.pass(3600);
    expect(await ids('k1')).toEqual(['k1']);
    clock.pass(301);
    expect(await ids('k1')).toBe('temporarily_unavailable');
    state.answer = setOf(first);
    clock.pass(31);
    expect(await ids('k1')).toEqual(['k1']);
  });

  test('are asked for by a growing pause while they cannot be had', async () => {
    const { server, clock, ids } = await changingSet(away);
    for (const [pause, requests] of [
      [0, 1],
      [0.9, 1],
      [0.2, 2],
      [1.9, 2],
      [0.2, 3],
      [30, 4],
    ] as const) {
      clock.pass(pause);
      expect(await ids()).toBe('temporarily_unavailable');
      expect(server.requests).toHaveLength(requests);
    }
  });
});

describe('an answer counts for nothing', () => {
  test.each<[string, Answer | undefined]>([
    ['that is a redirect', { status: 302, headers: { location: 'http://127.0.0.1:1/' } }],
    ['that is an error', { status: 500, body: setOf(first).body ?? {} }],
    ['that is HTML', { ...setOf(first), headers: { 'content-type': 'text/html' } }],
    ['that is no JSON', { body: '{' }],
    ['that is no key set', { body: [] }],
    ['with 17 keys', setOf(...Array.from({ length: 17 }, () => first))],
    ['over 128 KiB', { body: { keys: [], padding: 'x'.repeat(131_072) } }],
    ['that never came', undefined],
  ])('%s', async (_what, answer) => {
    const { ids } = await changingSet(answer);
    expect(await ids()).toBe('temporarily_unavailable');
  });

  test('when a redirect leads to a good one, which is not asked', async () => {
    const good = await jsonServer(() => setOf(first));
    const { ids } = await changingSet({ status: 307, headers: { location: `${good.origin}/` } });
    expect(await ids()).toBe('temporarily_unavailable');
    expect(good.requests).toHaveLength(0);
  });

  test('whose body does not end within 5 s', async () => {
    const slow = await httpServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"keys":[');
    });
    const beganMs = performance.now();
    const remote = remoteClientKeys({ log: undefined });
    await expect(remote.keysAt(`${slow.origin}/`, undefined)).rejects.toMatchObject({
      code: 'temporarily_unavailable',
    });
    expect(performance.now() - beganMs).toBeLessThan(7000);
  });

  test('of a key that is private, weak or symmetric, while the one beside it is used', async () => {
    const spoiled = [
      { ...first.publicJwk, kid: 'private', d: first.privateKey.export({ format: 'jwk' }).d },
      { kty: 'oct', k: 'AAAA', kid: 'oct' },
      { ...second.publicJwk, kid: 'enc', use: 'enc' },
      7,
    ];
    const { ids } = await changingSet({ body: { keys: [...spoiled, second.publicJwk] } });
    expect(await ids()).toEqual(['k2']);
  });

  test('of a public key whose private half is beside it', async () => {
    const shown = { ...first.publicJwk, kid: 'x', d: first.privateKey.export({ format: 'jwk' }).d };
    const { ids } = await changingSet({ body: { keys: [first.publicJwk, shown] } });
    expect(await ids()).toEqual([]);
  });
});

describe('a client with its keys elsewhere', () => {
  let answer: Answer;
  beforeEach(() => {
    answer = setOf(first);
  });

  async function client() {
    const keys = await jsonServer(() => answer);
    const fixture = await issuerFixture();
    const registered = await fixture.register({
      client_id: 'dev-1',
      auth_method: 'private_key_jwt',
      jwks_uri: `${keys.origin}/jwks.json`,
    });
    const ask = async (by: ClientKeyPair, header = {}) => {
      const assertion = clientAssertion(by, 'dev-1', fixture.issuer.url, { header });
      return (await fixture.requestToken(assertionForm(assertion))).status;
    };
    return { registered, keys, ask };
  }

  test('gets a token by any of them and by no other', async () => {
    answer = setOf(first, second);
    const { registered, keys, ask } = await client();
    expect(registered).toMatchObject({ jwks_uri: `${keys.origin}/jwks.json` });
    expect(registered).not.toHaveProperty('client_secret');
    expect(await ask(first)).toBe(200);
    expect(await ask(second)).toBe(200);
    expect(await ask(clientKeyPair('ES256', 'k1'))).toBe(401);
    expect(keys.requests).toHaveLength(1);
  });

  test('is asked to come back while they cannot be had', async () => {
    answer = away;
    const { ask } = await client();
    expect(await ask(first)).toBe(503);
  });
});
