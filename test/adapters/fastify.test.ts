import { bearerAuth } from '@fleetgate/fastify';
import { fastify } from 'fastify';
import { expect, onTestFinished, test } from 'vitest';
import { testIssuer } from '../support/broker-tokens.ts';

const issuer = testIssuer();
const options = (audience: string) => ({ issuer: issuer.name, audience, keys: { keySet: issuer.jwks() } });
const bearer = (audience: string) => ({
  authorization: `Bearer ${issuer.token({ claims: { aud: [audience] } })}`,
});

function app() {
  const made = fastify();
  onTestFinished(() => made.close());
  return made;
}

test('a hook of the instance guards every route below it, and what is not there', async () => {
  const guarded = app();
  await guarded.register(bearerAuth, options('inventory'));
  guarded.addHook('onRequest', guarded.requireToken);
  guarded.get('/', async (request) => request.auth?.clientId);
  expect((await guarded.inject('/')).statusCode).toBe(401);
  expect((await guarded.inject('/missing')).statusCode).toBe(401);
  const answer = await guarded.inject({ url: '/', headers: bearer('inventory') });
  expect([answer.statusCode, answer.body]).toEqual([200, 'device-1']);
});

test('two parts of a service take tokens of two audiences, each its own', async () => {
  const both = app();
  for (const audience of ['inventory', 'ledger']) {
    await both.register(async (part) => {
      await part.register(bearerAuth, options(audience));
      part.get(`/${audience}`, { onRequest: part.requireToken }, async () => 'ok');
    });
  }
  const statusOf = async (url: string, audience: string) =>
    (await both.inject({ url, headers: bearer(audience) })).statusCode;
  expect(await statusOf('/inventory', 'inventory')).toBe(200);
  expect(await statusOf('/ledger', 'ledger')).toBe(200);
  expect(await statusOf('/inventory', 'ledger')).toBe(401);
  expect(await statusOf('/ledger', 'inventory')).toBe(401);
});

test('options that cannot be meant keep the service from starting', async () => {
  const wrong = app();
  wrong.register(bearerAuth, { ...options('inventory'), audence: 'x' } as never);
  await expect(wrong.ready()).rejects.toThrow(/did you mean audience\?/);
});
