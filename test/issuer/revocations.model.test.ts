import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AccessTokenClaims } from '@fleetgate/shared';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { openIssuer } from '../../issuer/open-issuer.ts';
import { resolveOptions } from '../../issuer/options.ts';
import { openSqliteRegistry } from '../../issuer/registry/sqlite/registry.ts';
import { issuerOptions } from '../support/issuer-fixture.ts';

const by = { keyName: 'default', address: undefined, requestId: undefined };

/** What happens to one client, on a clock that only goes on. */
const act = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ kind: 'issue' } as const) },
  { weight: 2, arbitrary: fc.constant({ kind: 'revoke' } as const) },
  { weight: 1, arbitrary: fc.constant({ kind: 'delete' } as const) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('issued_before' as const),
      offset: fc.integer({ min: -3, max: 5 }),
      all: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 1500 }) }),
  },
);

test('a revocation hits what was issued before it as it says, and nothing that is issued after it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fleetgate-issuer-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  let nowMs = 1_800_000_000_000;
  const options = resolveOptions(issuerOptions(folder, { now: () => nowMs }));
  const issuer = await openIssuer(options, () => 'http://127.0.0.1:1');
  const registry = await openSqliteRegistry(options.database);
  onTestFinished(async () => {
    await registry.close();
    await issuer.close();
  });
  const register = async (clientId: string) =>
    (await issuer.clients.create({ clientId }, by)).shown.clientSecret;
  const isRevoked = ({ jti, client_id, iat }: AccessTokenClaims) =>
    registry.isRevoked({ tokenId: jti, clientId: client_id, issuedAtSeconds: iat, keyId: 'k' });
  let run = 0;

  await fc.assert(
    fc.asyncProperty(fc.array(act, { minLength: 1, maxLength: 25 }), async (acts) => {
      const clientId = `client-${run}`;
      run += 1;
      // Beyond whatever the run before has revoked of all clients.
      nowMs += 10_000;
      let secret = await register(clientId);
      const issued: AccessTokenClaims[] = [];
      const doomed = new Set<string>();
      for (const one of acts) {
        switch (one.kind) {
          case 'wait':
            nowMs += one.ms;
            break;
          case 'issue': {
            const request = { caller: by, grantType: 'client_credentials', clientId, clientSecret: secret };
            const { access_token } = await issuer.issue({
              ...request,
              authorization: undefined,
              scope: undefined,
              audience: [],
            });
            const [, payload = ''] = access_token.split('.');
            issued.push(JSON.parse(Buffer.from(payload, 'base64url').toString()));
            break;
          }
          case 'revoke':
            await issuer.revocations.revoke({ kind: 'client', clientId }, by);
            for (const { jti } of issued) doomed.add(jti);
            break;
          case 'delete':
            await issuer.clients.delete(clientId, by);
            for (const { jti } of issued) doomed.add(jti);
            secret = await register(clientId);
            break;
          case 'issued_before': {
            const atSeconds = Math.floor(nowMs / 1000) + one.offset;
            const client = one.all ? {} : { clientId };
            await issuer.revocations.revoke({ kind: 'issued_before', atSeconds, ...client }, by);
            // A moment that is not past means all that was issued so far, be its `iat` ahead of the clock.
            for (const { jti, iat } of issued) if (one.offset > 0 || iat < atSeconds) doomed.add(jti);
          }
        }
      }
      for (const claims of issued) {
        expect([claims, await isRevoked(claims)]).toEqual([claims, doomed.has(claims.jti)]);
        expect(claims.nbf).toBeLessThan(nowMs / 1000);
      }
    }),
    { numRuns: 100 },
  );
});
