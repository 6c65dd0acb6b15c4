import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { startIssuer } from '@fleetgate/issuer';
import { decodeJwt } from 'jose';
import * as oauth from 'oauth4webapi';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { MAX_APPS } from '../../issuer/apps/app-id.ts';
import { openSqliteRegistry } from '../../issuer/registry/sqlite/registry.ts';
import { createApp } from '../support/app-fixture.ts';
import { adminKey, issuerFixture, issuerOptions, temporaryDirectory } from '../support/issuer-fixture.ts';
import { openFeed } from '../support/revocation-reader.ts';

/** Status and body of a request whose path nothing on the way makes straight. */
function rawGet(base: string, path: string): Promise<number> {
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    request({ hostname, port, path }, (response) => {
      response.resume().once('end', () => resolve(response.statusCode ?? 0));
    })
      .once('error', reject)
      .end();
  });
}

const errorOf = async (response: Response) => ((await response.json()) as { error?: string }).error;

async function auditOf(file: string) {
  const registry = await openSqliteRegistry(file);
  const events = await registry.listEvents({ limit: 1000 });
  await registry.close();
  return events.map(({ actor, action, target, result }) => [actor, action, target, result]);
}

describe('an app', () => {
  test('is made with an admin key that is told this once, and listed without it', async () => {
    const { call, issuer } = await issuerFixture();
    const answer = await call('POST', '/v1/apps', { app_id: 'plant-1' });
    expect([answer.status, answer.headers.get('location')]).toEqual([201, '/v1/apps/plant-1']);
    const app = { app_id: 'plant-1', issuer: `${issuer.url}/appid-plant-1` };
    expect(await answer.json()).toEqual({ ...app, admin_key: expect.stringMatching(/^[\w-]{43}$/) });
    expect(await (await call('GET', '/v1/apps')).json()).toEqual({ apps: [app] });
    expect(await (await call('GET', '/v1/apps/plant-1')).json()).toEqual(app);
  });

  test.each(['', 'Plant', 'a_b', 'a.b', '..', 'a/b', 'public', 'x'.repeat(65), 'ä', 'a\u0000'])(
    'is not called %j',
    async (appId) => {
      const { call, directory } = await issuerFixture();
      const answer = await call('POST', '/v1/apps', { app_id: appId });
      expect([answer.status, await errorOf(answer)]).toEqual([400, 'invalid_request']);
      expect(existsSync(join(directory, 'apps'))).toBe(false);
    },
  );

  test('is made once, also by two who ask at once', async () => {
    const { call } = await issuerFixture();
    const answers = await Promise.all([1, 2, 3].map(() => call('POST', '/v1/apps', { app_id: 'a' })));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409]);
    expect(await (await call('GET', '/v1/apps')).json()).toMatchObject({ apps: [{ app_id: 'a' }] });
  });

  test('that nobody made is nowhere, and no request makes it', async () => {
    const fixture = await issuerFixture();
    const { call, issuer, directory } = fixture;
    await createApp(fixture, 'known');
    for (const path of ['/oauth/token', '/.well-known/jwks.json', '/revocations', '']) {
      expect((await fetch(`${issuer.url}/appid-unknown${path}`, { method: 'POST' })).status, path).toBe(404);
    }
    expect((await fetch(`${issuer.url}/.well-known/oauth-authorization-server/appid-unknown`)).status).toBe(
      404,
    );
    for (const path of ['/v1/clients', '/recipe/oauth/clients', '/v1/apps', '']) {
      const answer = await call('POST', `/appid-unknown${path}`, {});
      expect([answer.status, await errorOf(answer)], path).toEqual([404, 'app_unknown']);
    }
    expect(readdirSync(join(directory, 'apps')).sort()).toEqual(['known']);
  });

  test('has files of its own, for nobody else to read', async () => {
    const fixture = await issuerFixture();
    await createApp(fixture, 'a');
    const directory = join(fixture.directory, 'apps', 'a');
    const modes = [directory, join(directory, 'admin.key'), join(directory, 'fleetgate.db')].map(
      (file) => statSync(file).mode & 0o777,
    );
    expect(modes).toEqual([0o700, 0o600, 0o600]);
    expect(statSync(join(fixture.directory, 'apps')).mode & 0o777).toBe(0o700);
  });

  test('is found by its metadata, and its tokens name it', async () => {
    const fixture = await issuerFixture();
    const app = await createApp(fixture, 'a');
    const { client_id, client_secret } = await app.register({ scope: 'telemetry.write' });
    for (const algorithm of ['oauth2', 'oidc'] as const) {
      const insecure = { [oauth.allowInsecureRequests]: true };
      const url = new URL(app.url);
      const server = await oauth.processDiscoveryResponse(
        url,
        await oauth.discoveryRequest(url, { algorithm, ...insecure }),
      );
      expect(server.token_endpoint).toBe(`${app.url}/oauth/token`);
      const result = await oauth.processClientCredentialsResponse(
        server,
        { client_id },
        await oauth.clientCredentialsGrantRequest(
          server,
          { client_id },
          oauth.ClientSecretBasic(client_secret),
          new URLSearchParams(),
          insecure,
        ),
      );
      const bearer = new Request(app.url, { headers: { authorization: `Bearer ${result.access_token}` } });
      const claims = await oauth.validateJwtAccessToken(server, bearer, 'mqtt', insecure);
      expect(claims).toMatchObject({ iss: app.url, sub: client_id });
    }
  });

  test('is reached behind a proxy that keeps the path of the issuer, and one that strips it', async () => {
    const fixture = await issuerFixture({ url: 'https://auth.example.com/base' });
    const app = await createApp(fixture, 'a');
    expect(app.url).toBe('https://auth.example.com/base/appid-a');
    const listener = `http://127.0.0.1:${fixture.issuer.port}`;
    for (const path of [
      '/appid-a/.well-known/oauth-authorization-server',
      '/base/appid-a/.well-known/openid-configuration',
      '/.well-known/oauth-authorization-server/base/appid-a',
      '/.well-known/oauth-authorization-server/appid-a',
    ]) {
      expect(await (await fetch(`${listener}${path}`)).json(), path).toMatchObject({ issuer: app.url });
    }
  });

  test('is ready by itself', async () => {
    const fixture = await issuerFixture();
    const app = await createApp(fixture, 'a');
    expect((await fetch(`${app.url}/readyz`)).status).toBe(200);
  });

  test.each([
    '/appid-a/../appid-b/.well-known/jwks.json',
    '/appid-a/appid-b/.well-known/jwks.json',
    '/appid-a%2f..%2fappid-b/.well-known/jwks.json',
    '//appid-b/.well-known/jwks.json',
    '/APPID-B/.well-known/jwks.json',
    '/appid-B/.well-known/jwks.json',
    '/appid-/.well-known/jwks.json',
    '/appid-b',
    '/appid-b/',
    '/appid-.deleted/.well-known/jwks.json',
  ])('is not reached by %s', async (path) => {
    const fixture = await issuerFixture();
    for (const appId of ['a', 'b']) await createApp(fixture, appId);
    expect(await rawGet(fixture.issuer.url, path)).toBe(404);
    // The path that does.
    expect(await rawGet(fixture.issuer.url, '/appid-b/.well-known/jwks.json')).toBe(200);
  });

  test('names a new client by the path it has there', async () => {
    const app = await createApp(await issuerFixture(), 'a');
    const answer = await app.call('POST', '/v1/clients', { client_id: 'sensor-1' });
    expect(answer.headers.get('location')).toBe('/appid-a/v1/clients/sensor-1');
    expect((await app.call('GET', '/v1/clients/sensor-1')).status).toBe(200);
  });

  // Each is two files that are synced.
  test('counts: no more than the limit are made', { timeout: 60_000 }, async () => {
    const { call } = await issuerFixture();
    for (let i = 0; i < MAX_APPS; i += 1) {
      expect((await call('POST', '/v1/apps', { app_id: `app-${i}` })).status).toBe(201);
    }
    const answer = await call('POST', '/v1/apps', { app_id: 'one-more' });
    expect(await errorOf(answer)).toBe('not_supported');
  });

  test('needs a place: an issuer without a directory for apps makes none', async () => {
    const fixture = await issuerFixture({ appsDirectory: undefined as never });
    const answer = await fixture.call('POST', '/v1/apps', { app_id: 'a' });
    expect(await errorOf(answer)).toBe('not_supported');
  });
});

describe('the log of an app', () => {
  test('has a line for each request, with the app, and never a key, secret or token', async () => {
    const lines: string[] = [];
    const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) });
    const fixture = await issuerFixture({ log });
    const app = await createApp(fixture, 'a');
    const client = await app.register({ client_id: 'sensor-1' });
    const { access_token } = (await (await app.tokenFor(client)).json()) as { access_token: string };
    await fetch(`${app.url}/oauth/token?client_secret=${client.client_secret}`, { method: 'POST' });
    await fetch(`${app.url}/${access_token}`);
    const requests = lines
      .map((line) => JSON.parse(line))
      .filter(({ msg, app: id }) => msg === 'request' && id);
    expect(requests.map(({ app: id, route, status }) => [id, route, status])).toEqual([
      ['a', '/appid-a/v1/clients', 201],
      ['a', '/appid-a/oauth/token', 200],
      ['a', '/appid-a/oauth/token', 400],
      ['a', 'none', 404],
    ]);
    for (const secret of [app.adminKey, client.client_secret, access_token]) {
      expect(lines.join('')).not.toContain(secret);
    }
  });
});

test('limits hold in an app: a body that is too long, and a method that is not there', async () => {
  const app = await createApp(await issuerFixture(), 'a');
  const long = await app.requestToken({ grant_type: 'x'.repeat(70_000) });
  expect([long.status, await errorOf(long)]).toEqual([413, 'invalid_request']);
  const wrong = await fetch(`${app.url}/oauth/token`);
  expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST']);
});

test('where no app can be written the answer is 503, and the issuer serves on', async () => {
  const fixture = await issuerFixture();
  const place = join(fixture.directory, 'apps');
  writeFileSync(place, 'in the way');
  const refused = await fixture.call('POST', '/v1/apps', { app_id: 'a' });
  expect([refused.status, await errorOf(refused)]).toEqual([503, 'temporarily_unavailable']);
  expect((await fixture.tokenFor(await fixture.register({}))).status).toBe(200);
  rmSync(place);
  await createApp(fixture, 'a');
});

describe('deleting an app', () => {
  test('waits until its clients are deleted', async () => {
    const fixture = await issuerFixture();
    const app = await createApp(fixture, 'a');
    await app.register({ client_id: 'sensor-1' });
    const refused = await fixture.call('DELETE', '/v1/apps/a');
    expect([refused.status, await errorOf(refused)]).toEqual([409, 'app_not_empty']);
    expect((await fetch(`${app.url}/.well-known/jwks.json`)).status).toBe(200);
    await app.call('DELETE', '/v1/clients/sensor-1');
    expect((await fixture.call('DELETE', '/v1/apps/a')).status).toBe(204);
    expect((await fetch(`${app.url}/.well-known/jwks.json`)).status).toBe(404);
    expect((await app.call('GET', '/v1/clients')).status).toBe(404);
    expect(await errorOf(await fixture.call('DELETE', '/v1/apps/a'))).toBe('app_unknown');
  });

  test('ends its readers of revocations after they were told the last', async () => {
    const fixture = await issuerFixture();
    const app = await createApp(fixture, 'a');
    const token = await app.token({ client_id: 'reader', scope: 'fleetgate.revocations' });
    await app.register({ client_id: 'sensor-1' });
    const reader = await openFeed(app.url, token);
    await reader.untilReady();
    await app.call('DELETE', '/v1/clients/sensor-1');
    expect(await reader.nextRevocation()).toMatchObject({ kind: 'client', client_id: 'sensor-1' });
    await app.call('DELETE', '/v1/clients/reader');
    expect((await fixture.call('DELETE', '/v1/apps/a')).status).toBe(204);
    await reader.ended();
  });

  test('keeps its audit trail on the disk, and nothing of it in an app of the same name', async () => {
    const fixture = await issuerFixture();
    const first = await createApp(fixture, 'a');
    const token = await first.token({ client_id: 'reader', scope: 'fleetgate.revocations' });
    await first.call('DELETE', '/v1/clients/reader');
    await fixture.call('DELETE', '/v1/apps/a');

    const [kept = ''] = readdirSync(join(fixture.directory, 'apps', '.deleted'));
    const audit = await auditOf(join(fixture.directory, 'apps', '.deleted', kept, 'fleetgate.db'));
    expect(audit).toContainEqual(['admin:default', 'client.delete', 'reader', 'ok']);

    const second = await createApp(fixture, 'a');
    expect(second.adminKey).not.toBe(first.adminKey);
    expect((await first.call('GET', '/v1/clients')).status).toBe(401);
    await second.register({ client_id: 'reader', scope: 'fleetgate.revocations' });
    expect((await openFeed(second.url, token)).response.status).toBe(401);
  });
});

test('the audit trail of the default app has what was done to apps, also what was refused; an app has its own acts', async () => {
  const fixture = await issuerFixture();
  const app = await createApp(fixture, 'a');
  await fixture.call('POST', '/v1/apps', { app_id: 'a' });
  await fixture.call('POST', '/v1/apps', { app_id: 'A\n' });
  await app.register({ client_id: 'sensor-1' });
  await fixture.call('DELETE', '/v1/apps/a');
  const acts = await auditOf(fixture.database);
  expect(acts.filter(([, action]) => !String(action).startsWith('key.'))).toEqual([
    ['admin:default', 'app.create', 'a', 'ok'],
    ['admin:default', 'app.create', 'a', 'registry_conflict'],
    ['admin:default', 'app.create', undefined, 'invalid_request'],
    ['admin:default', 'app.delete', 'a', 'app_not_empty'],
  ]);
  const own = await auditOf(join(fixture.directory, 'apps', 'a', 'fleetgate.db'));
  expect(own.filter(([, action]) => !String(action).startsWith('key.'))).toEqual([
    ['admin:default', 'client.create', 'sensor-1', 'ok'],
  ]);
});

describe('a start', () => {
  async function restart(directory: string) {
    const issuer = await startIssuer(issuerOptions(directory, { url: 'http://127.0.0.1:1' }));
    return { issuer, at: `http://127.0.0.1:${issuer.port}` };
  }

  test('opens the apps that were made, with their clients and keys', async () => {
    const fixture = await issuerFixture();
    const app = await createApp(fixture, 'a');
    const { client_id, client_secret } = await app.register({ client_id: 'sensor-1' });
    const keys = await (await fetch(`${app.url}/.well-known/jwks.json`)).json();
    await fixture.issuer.close();

    const { issuer, at } = await restart(fixture.directory);
    const token = await fetch(`${at}/appid-a/oauth/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'client_credentials', client_id, client_secret }),
    });
    const { access_token } = (await token.json()) as { access_token: string };
    const keysNow = await (await fetch(`${at}/appid-a/.well-known/jwks.json`)).json();
    await issuer.close();
    expect(decodeJwt(access_token).iss).toBe('http://127.0.0.1:1/appid-a');
    expect(keysNow).toEqual(keys);
  });

  test('leaves alone what is no app, and forgets one whose making was cut off', async () => {
    const directory = await temporaryDirectory();
    const apps = join(directory, 'apps');
    mkdirSync(join(apps, '.unfinished', 'half'), { recursive: true });
    mkdirSync(join(apps, 'Not_An_App'));
    writeFileSync(join(apps, 'note'), '');
    const { issuer, at } = await restart(directory);
    for (const name of ['half', 'Not_An_App', 'note']) {
      expect((await fetch(`${at}/appid-${name}/.well-known/jwks.json`)).status).toBe(404);
    }
    await issuer.close();
    expect(readdirSync(apps).sort()).toEqual(['Not_An_App', 'note']);
  });

  test('is refused when an app cannot be opened, and leaves nothing open', async () => {
    const directory = await temporaryDirectory();
    mkdirSync(join(directory, 'apps', 'broken'), { recursive: true });
    writeFileSync(join(directory, 'apps', 'broken', 'fleetgate.db'), 'no database');
    await expect(restart(directory)).rejects.toMatchObject({ code: 'registry_unavailable' });
    expect(existsSync(join(directory, 'fleetgate.db-wal'))).toBe(false);
  });
});

test('closing ends the readers of all apps and answers what is in flight', async () => {
  const fixture = await issuerFixture();
  const readers = [];
  for (const appId of ['a', 'b']) {
    const app = await createApp(fixture, appId);
    const reader = await openFeed(app.url, await app.token({ scope: 'fleetgate.revocations' }));
    await reader.untilReady();
    readers.push(reader);
  }
  const startedMs = Date.now();
  await fixture.issuer.close();
  expect(Date.now() - startedMs).toBeLessThan(5000);
  for (const reader of readers) await reader.ended();
});

test('the default admin key is the one that manages apps', async () => {
  const fixture = await issuerFixture();
  const app = await createApp(fixture, 'a');
  for (const [method, path] of [
    ['POST', '/v1/apps'],
    ['GET', '/v1/apps'],
    ['DELETE', '/v1/apps/a'],
  ] as const) {
    const body = method === 'POST' ? { app_id: 'b' } : undefined;
    expect((await fixture.call(method, path, body, { 'api-key': app.adminKey })).status).toBe(401);
    // Nor is there such a route within an app.
    expect((await app.call(method, path, body)).status).toBe(404);
  }
  expect((await app.call('GET', '/v1/clients', undefined, { 'api-key': adminKey })).status).toBe(401);
});
