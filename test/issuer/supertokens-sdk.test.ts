import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { type AppFixture, createApp, defaultApp } from '../support/app-fixture.ts';
import { runCommand } from '../support/fleetgate-process.ts';
import {
  adminKey,
  hasApps,
  type IssuerFixture,
  issuerFixture,
  type RegisteredClient,
} from '../support/issuer-fixture.ts';

const backend = join(import.meta.dirname, '../support/supertokens-backend.ts');

/** What SuperTokens' backend SDK answers to each call, with `uri` as its core. */
async function sdk(uri: string, key: string, ...calls: readonly [name: string, ...args: unknown[]][]) {
  const input = [key, ...calls.map((call) => JSON.stringify(call))].join('\n');
  const { code, stdout, stderr } = await runCommand(process.execPath, [backend, uri], { input });
  expect([code, stderr]).toEqual([0, '']);
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

describe.each(hasApps ? ['', '/appid-x'] : [''])(
  "SuperTokens' backend SDK, with the admin listener%s as its core,",
  (prefix) => {
    let fixture: IssuerFixture;
    let app: AppFixture;
    let core: string;
    beforeEach(async () => {
      fixture = await issuerFixture();
      app = prefix === '' ? defaultApp(fixture, adminKey) : await createApp(fixture, 'x');
      core = `${fixture.admin}${prefix}`;
    });

    test('creates a client that gets a token, changes it, finds it, lists it, revokes its tokens and deletes it', async () => {
      const given = {
        clientId: 'calendar',
        clientName: 'Calendar',
        scope: 'event.create event.view',
        audience: ['event'],
        grantTypes: ['client_credentials'],
        clientCredentialsGrantAccessTokenLifespan: '30m',
      };
      const [created] = await sdk(core, app.adminKey, ['createOAuth2Client', given]);
      expect(created).toMatchObject({ status: 'OK', client: given });
      const { clientSecret, ...client } = created.client;
      const token = await app.tokenFor({
        client_id: 'calendar',
        client_secret: clientSecret,
      } as RegisteredClient);
      expect(await token.json()).toMatchObject({ expires_in: 1800, scope: 'event.create event.view' });

      const [updated, found, listed, revoked, removed, gone, empty] = await sdk(
        core,
        app.adminKey,
        ['updateOAuth2Client', { clientId: 'calendar', scope: 'event.view', metadata: { team: 'x' } }],
        ['getOAuth2Client', 'calendar'],
        ['getOAuth2Clients', { pageSize: 10, clientName: 'Calendar' }],
        ['revokeTokensByClientId', 'calendar'],
        ['deleteOAuth2Client', { clientId: 'calendar' }],
        ['getOAuth2Client', 'calendar'],
        ['getOAuth2Clients', {}],
      );
      const changed = {
        ...client,
        scope: 'event.view',
        metadata: { team: 'x' },
        updatedAt: expect.any(String),
      };
      expect(updated).toEqual({ status: 'OK', client: changed });
      expect(found).toEqual(updated);
      expect(listed).toEqual({ status: 'OK', clients: [updated.client] });
      expect([revoked, removed]).toEqual([{ status: 'OK' }, { status: 'OK' }]);
      expect(gone).toMatchObject({ status: 'ERROR', error: 'invalid_request' });
      expect(empty).toEqual({ status: 'OK', clients: [] });
    });

    test('verifies tokens by the key set of its core, and asks it whether they were revoked', async () => {
      const token = await app.token({ client_id: 'calendar', scope: 'event.create', audience: ['event'] });
      const needs = { clientId: 'calendar', scopes: ['event.create'], audience: 'event' };
      const other = hasApps ? await createApp(fixture, 'other') : defaultApp(await issuerFixture(), adminKey);
      const foreign = await other.token();
      const answers = await sdk(
        core,
        app.adminKey,
        ['validateOAuth2AccessToken', token, needs, true],
        ['validateOAuth2AccessToken', token, { scopes: ['event.delete'] }],
        ['validateOAuth2AccessToken', foreign],
      );
      expect(answers).toMatchObject([
        { status: 'OK', payload: { client_id: 'calendar', iss: app.url } },
        { thrown: 'The token is missing some required scopes' },
        { thrown: 'no applicable key found in the JSON Web Key Set' },
      ]);
      await app.call('POST', '/v1/revocations', { kind: 'client', client_id: 'calendar' });
      const [revoked] = await sdk(core, app.adminKey, ['validateOAuth2AccessToken', token, needs, true]);
      expect(revoked).toEqual({ thrown: 'The token is expired, invalid or has been revoked' });
    });

    test('follows the pages', async () => {
      for (const id of ['a', 'b', 'c']) await app.register({ client_id: id });
      const [first] = await sdk(core, app.adminKey, ['getOAuth2Clients', { pageSize: 2 }]);
      const { nextPaginationToken: paginationToken } = first;
      const [second] = await sdk(core, app.adminKey, ['getOAuth2Clients', { pageSize: 2, paginationToken }]);
      const pages = [first, second].map(({ clients }) =>
        clients.map((one: { clientId: string }) => one.clientId),
      );
      expect(pages).toEqual([['a', 'b'], ['c']]);
      expect(second.nextPaginationToken).toBeUndefined();
    });

    test('is told what cannot be done, and that its key is wrong', async () => {
      const [refused] = await sdk(core, app.adminKey, ['createOAuth2Client', { scope: 'a  b' }]);
      expect(refused).toEqual({
        status: 'ERROR',
        error: 'invalid_scope',
        errorDescription: expect.any(String),
      });
      const [unknown] = await sdk(core, 'x'.repeat(43), ['getOAuth2Client', 'calendar']);
      expect(unknown.thrown).toContain('status code: 401 and message: Invalid API key');
    });
  },
);
