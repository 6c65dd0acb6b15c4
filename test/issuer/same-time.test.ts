import { randomBytes } from 'node:crypto';
import { expect, onTestFinished, test } from 'vitest';
import { openIssuer } from '../../issuer/open-issuer.ts';
import { resolveOptions } from '../../issuer/options.ts';
import type { TokenRequest } from '../../issuer/token-request.ts';
import { clientAssertion, clientKeyPair } from '../support/client-assertion.ts';
import { basic, issuerOptions, temporaryDirectory } from '../support/issuer-fixture.ts';

const ISSUER = 'http://127.0.0.1';
const ROUNDS = 300;
/**
 * Between the medians of two kinds of refusal. Work that is left out for one of them, a signature or a row of the
 * audit trail, is more.
 */
const MAX_RATIO = 1.35;

const pair = clientKeyPair();
const another = clientKeyPair();
const byAssertion = (clientAssertionText: string) => ({
  clientAssertion: clientAssertionText,
  clientAssertionType: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
});
const secretOf = () => randomBytes(32).toString('base64url');

test.each<[string, (() => Partial<TokenRequest>)[]]>([
  [
    'secret',
    [
      () => basic('by-secret', secretOf()),
      () => basic('nobody', secretOf()),
      () => basic('by-assertion', secretOf()),
    ],
  ],
  [
    'assertion',
    [
      () => byAssertion(clientAssertion(another, 'by-assertion', ISSUER)),
      () => byAssertion(clientAssertion(another, 'nobody', ISSUER)),
      () => byAssertion(clientAssertion(another, 'by-secret', ISSUER)),
    ],
  ],
])(
  'a wrong %s of a client, and one of a client nobody knows, are refused in the same time',
  // Work that is left out is left out each time; a machine that is busy with something else is so once.
  { retry: 3 },
  async (_name, kinds) => {
    const issuer = await openIssuer(resolveOptions(issuerOptions(await temporaryDirectory())), () => ISSUER);
    onTestFinished(() => issuer.close());
    const by = { keyName: 'default', address: undefined, requestId: undefined };
    await issuer.clients.create({ clientId: 'by-secret' }, by);
    await issuer.clients.create(
      { clientId: 'by-assertion', authMethod: 'private_key_jwt', jwks: pair.jwks },
      by,
    );

    const times = kinds.map((): number[] => []);
    // In turns, so that a slow moment of the machine is one of all of them.
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [index, kind] of kinds.entries()) {
        const request: TokenRequest = {
          // Each from elsewhere, where no limit is met.
          caller: { address: `10.${index}.${round >> 8}.${round & 255}`, requestId: undefined },
          clientId: undefined,
          clientSecret: undefined,
          authorization: undefined,
          grantType: 'client_credentials',
          scope: undefined,
          audience: [],
          ...kind(),
        };
        const startMs = performance.now();
        await expect(issuer.issue(request)).rejects.toMatchObject({ code: 'invalid_client' });
        (times[index] as number[]).push(performance.now() - startMs);
      }
    }
    const medians = times.map((all) => all.sort((a, b) => a - b)[ROUNDS / 2] as number);
    expect(Math.max(...medians) / Math.min(...medians)).toBeLessThan(MAX_RATIO);
  },
);
