import { beforeEach, expect, test } from 'vitest';
import { type AppFixture, createApp } from '../support/app-fixture.ts';
import { type IssuerFixture, issuerFixture, type RegisteredClient } from '../support/issuer-fixture.ts';
import { exchange, openTo } from '../support/raw-http.ts';

// Paths as they are sent, which a library of HTTP would put in order.

let fixture: IssuerFixture;
let app: AppFixture;
let ofDefault: RegisteredClient;
let ofApp: RegisteredClient;
beforeEach(async () => {
  fixture = await issuerFixture();
  app = await createApp(fixture, 'a');
  await createApp(fixture, 'b');
  ofDefault = await fixture.register({ client_id: 'sensor-1' });
  ofApp = await app.register({ client_id: 'sensor-1' });
});

async function statusAt(path: string, client: RegisteredClient, host = 'issuer.example'): Promise<number> {
  const { client_id, client_secret } = client;
  const body = new URLSearchParams({ grant_type: 'client_credentials', client_id, client_secret }).toString();
  const head = [
    `POST ${path} HTTP/1.1`,
    `Host: ${host}`,
    'Content-Type: application/x-www-form-urlencoded',
    `Content-Length: ${body.length}`,
    'Connection: close',
  ];
  const [answer] = await exchange(openTo(fixture.issuer.port), `${head.join('\r\n')}\r\n\r\n${body}`);
  return answer?.status ?? 0;
}

test.each([
  ['//oauth/token', 404],
  ['/oauth/token/', 404],
  ['/oauth//token', 404],
  ['/oauth/token;x', 404],
  ['/oauth%2ftoken', 404],
  ['/OAUTH/TOKEN', 404],
  ['/x/../oauth/token', 404],
  ['/oauth/token?client_id=x', 400],
  ['/appid-a/oauth/token', 401],
  ['/oauth/token', 200],
])('a client of the issuer is answered at %s with %i', async (path, status) => {
  expect(await statusAt(path, ofDefault)).toBe(status);
});

test.each([
  ['/oauth/token', 401],
  ['/appid-b/oauth/token', 401],
  ['/appid-A/oauth/token', 404],
  ['/appid-a/../oauth/token', 404],
  ['/appid-b/../appid-a/oauth/token', 404],
  ['/appid-b/..%2fappid-a/oauth/token', 404],
  ['/appid-b/appid-a/oauth/token', 404],
  ['//appid-a/oauth/token', 404],
  ['/appid-a%2foauth/token', 404],
  ['/appid-a%00/oauth/token', 404],
  ['/appid-__proto__/oauth/token', 404],
  ['/appid-a/oauth/token', 200],
])('a client of an app is answered at %s with %i', async (path, status) => {
  expect(await statusAt(path, ofApp)).toBe(status);
});

test('the host that a request names is in nothing that is answered', async () => {
  for (const path of [
    '/.well-known/oauth-authorization-server',
    '/appid-a/.well-known/openid-configuration',
  ]) {
    const head = [
      `GET ${path} HTTP/1.1`,
      'Host: evil.example',
      'X-Forwarded-Host: evil.example',
      'Forwarded: host=evil.example;proto=https',
      'Connection: close',
    ];
    const [answer] = await exchange(openTo(fixture.issuer.port), `${head.join('\r\n')}\r\n\r\n`);
    expect(answer).toMatchObject({ status: 200, body: expect.stringContaining('token_endpoint') });
    expect(answer?.body).not.toContain('evil');
  }
  expect(await statusAt('http://evil.example/appid-b/oauth/token', ofApp)).toBe(401);
});
