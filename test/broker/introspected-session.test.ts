import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { publishPacket, startTestBroker, until } from '../support/broker-fixture.ts';
import { connackOf, connectPacket } from '../support/broker-raw-client.ts';
import { testIssuer } from '../support/broker-tokens.ts';

/** An introspection endpoint (RFC 7662) that takes tokens for active unless they are among `inactive`. */
async function startEndpoint() {
  const inactive = new Set<string>();
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const token = new URLSearchParams(body).get('token') ?? '';
    asked.push(token);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ active: !inactive.has(token) }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { endpoint: `http://127.0.0.1:${port}/introspect`, inactive, asked };
}

async function startBroker() {
  const endpoint = await startEndpoint();
  const issuer = testIssuer();
  const introspection = { endpoint: endpoint.endpoint, clientId: 'broker', clientSecret: 'secret' };
  const broker = await startTestBroker({
    issuers: [{ issuer: issuer.name, keys: { jwks: issuer.jwks }, introspection }],
  });
  const scope = ['mqtt:publish:devices/device-1/#'];
  return { broker, ...endpoint, token: () => issuer.token({ clientId: 'device-1', scope }) };
}

test('a session whose token the issuer calls inactive ends, and the token is refused from then on', async () => {
  const { broker, inactive, token } = await startBroker();
  const text = token();
  inactive.add(text);
  const client = await broker.raw();
  expect(await connackOf(client, connectPacket('device-1', text))).toBe(0);
  await client.closed;
  expect(await broker.refusal({ action: 'session' })).toMatchObject({ reason: 'token_revoked' });
  expect(await broker.connack('device-1', text)).toBe(4);
});

test('an active one goes on, and its issuer is asked about the token it is renewed with', async () => {
  const { broker, asked, inactive, token } = await startBroker();
  const [first, second] = [token(), token()];
  const client = await broker.session('device-1', {}, first);
  await until(() => asked.includes(first));
  expect(await client.settle()).toEqual([]);
  inactive.add(second);
  client.send(publishPacket('$fleetgate/token', second, { qos: 1 }));
  await client.closed;
  expect(asked).toEqual([first, second]);
  expect(broker.log()).not.toContain(second);
});
