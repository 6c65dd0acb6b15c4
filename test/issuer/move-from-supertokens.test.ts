import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { runCommand } from '../support/fleetgate-process.ts';
import { adminKey, issuerFixture, type RegisteredClient } from '../support/issuer-fixture.ts';

const script = join(import.meta.dirname, '../../examples/move-from-supertokens/move-clients.ts');

/** A client as SuperTokens answers it, with its secret. */
const client = (clientId: string, more: Record<string, unknown>) => ({
  status: 'OK',
  clientId,
  clientSecret: 'qX3~vB9_kL.27zRtNw-YcF4mHs',
  clientName: '',
  scope: '',
  redirectUris: null,
  authorizationCodeGrantAccessTokenLifespan: null,
  authorizationCodeGrantIdTokenLifespan: null,
  authorizationCodeGrantRefreshTokenLifespan: null,
  clientCredentialsGrantAccessTokenLifespan: null,
  implicitGrantAccessTokenLifespan: null,
  implicitGrantIdTokenLifespan: null,
  refreshTokenGrantAccessTokenLifespan: null,
  refreshTokenGrantIdTokenLifespan: null,
  refreshTokenGrantRefreshTokenLifespan: null,
  enableRefreshTokenRotation: false,
  tokenEndpointAuthMethod: 'client_secret_basic',
  clientUri: '',
  allowedCorsOrigins: [],
  audience: [],
  grantTypes: ['client_credentials'],
  responseTypes: ['code'],
  logoUri: '',
  policyUri: '',
  tosUri: '',
  createdAt: '2026-01-31T12:00:00Z',
  updatedAt: '2026-01-31T12:00:00Z',
  metadata: {},
  ...more,
});

/** A core that answers as SuperTokens does, a client on each page of its list, and its address. */
async function superTokens(clients: readonly ReturnType<typeof client>[], key: string): Promise<string> {
  const server = createServer(({ url = '', headers }, response) => {
    const { pathname, searchParams } = new URL(url, 'http://core');
    const index = Number(searchParams.get('pageToken') ?? 0);
    const { clientSecret: _secret, status: _status, ...listed } = clients[index] as (typeof clients)[number];
    const answer =
      pathname === '/recipe/oauth/clients/list'
        ? {
            status: 'OK',
            clients: [listed],
            ...(index + 1 < clients.length ? { nextPaginationToken: String(index + 1) } : {}),
          }
        : clients.find(({ clientId }) => clientId === searchParams.get('clientId'));
    response.writeHead(headers['api-key'] === key ? 200 : 401, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer));
  });
  await new Promise<void>((listening) => {
    server.listen(0, '127.0.0.1', listening);
  });
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('clients of a SuperTokens core are moved with their secrets, once, and those that cannot be are named', async () => {
  const { admin, directory, call, tokenFor } = await issuerFixture();
  const old = await superTokens(
    [
      client('stcl_1', {
        scope: 'telemetry.write',
        clientCredentialsGrantAccessTokenLifespan: '30m0s',
      }),
      client('public-app', { tokenEndpointAuthMethod: 'none' }),
      client('stcl_2', { metadata: { team: 'x' } }),
    ],
    'old-key',
  );
  const keyFiles = { old: join(directory, 'old.key'), new: join(directory, 'new.key') };
  writeFileSync(keyFiles.old, 'old-key\n');
  writeFileSync(keyFiles.new, `${adminKey}\n`);
  const env = {
    SUPERTOKENS_URL: old,
    SUPERTOKENS_KEY_FILE: keyFiles.old,
    FLEETGATE_URL: admin,
    FLEETGATE_KEY_FILE: keyFiles.new,
  };
  const first = await runCommand(process.execPath, [script], { env });
  expect(first.stderr).toBe('');
  expect(first.stdout).toMatch(/^stcl_1: moved\npublic-app: .*auth_method.*\nstcl_2: moved\n$/);
  expect(first.code).toBe(1);

  const moved = { client_id: 'stcl_1', client_secret: 'qX3~vB9_kL.27zRtNw-YcF4mHs' } as RegisteredClient;
  expect(await (await tokenFor(moved)).json()).toMatchObject({ expires_in: 1800, scope: 'telemetry.write' });
  expect(await (await call('GET', '/v1/clients/stcl_2')).json()).toMatchObject({ metadata: { team: 'x' } });

  const again = await runCommand(process.execPath, [script], { env });
  expect(again.stdout).toMatch(/^stcl_1: there already\npublic-app: .*\nstcl_2: there already\n$/);
});
