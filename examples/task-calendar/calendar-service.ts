/**
 * The calendar service: an HTTP API that creates events for whoever brings an access token with the scope
 * `event.create` and the audience `event`. It verifies as the SuperTokens machine-to-machine guide does, and knows
 * of Fleetgate only the address of the key set.
 *
 *   ISSUER_URL=http://127.0.0.1:8080 PORT=3001 node calendar-service.ts
 */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as jose from 'jose';

const issuerUrl = process.env['ISSUER_URL'] ?? 'http://127.0.0.1:8080';
const keys = jose.createRemoteJWKSet(new URL(`${issuerUrl}/auth/jwt/jwks.json`));

async function mayCreateEvents(jwt: string): Promise<boolean> {
  try {
    const { payload } = await jose.jwtVerify(jwt, keys, {
      audience: 'event',
      requiredClaims: ['stt', 'scp'],
    });
    return payload['stt'] === 1 && (payload['scp'] as string[]).includes('event.create');
  } catch {
    return false;
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text;
}

const server = createServer(async (request, response) => {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ');
  const body = await bodyOf(request);
  if (scheme !== 'Bearer' || token === undefined || !(await mayCreateEvents(token))) {
    response.writeHead(401, { 'www-authenticate': 'Bearer', 'content-type': 'application/json' });
    response.end('{"error":"unauthorized"}');
    return;
  }
  response.writeHead(201, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ created: JSON.parse(body) }));
});

server.listen(Number(process.env['PORT'] ?? 3001), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(`calendar service on http://127.0.0.1:${port}`);
});
process.once('SIGTERM', () => server.close());
